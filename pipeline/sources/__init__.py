"""Where rows come from: one file per inventory format, each a `contracts.Source` found by name.

A source reads its file as a stream, in its order and in bounded memory: rows it can tell apart go on
as columns, each one it cannot as a BrokenRow; only a file that cannot be read on is an error.
"""
