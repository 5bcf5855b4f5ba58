"""The vendors, as a real server to import into: `python -m pipeline.simulator sim-express`.

An independent witness, written from the vendors' API pages alone: it imports nothing of `pipeline`
outside this folder and nothing outside imports it, so that one mistake can't cancel itself.
"""
