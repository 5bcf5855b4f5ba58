# Two commands for a newcomer: make demo, make test. Everything else is for those who work on simlift.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test check format bench bench-worst bench-growth profile soak fuzz lock clean
SEEDS  ?= 2000
FIRST  ?= 1
MINUTES ?= 10

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.ready ## 200,000 profiles into the embedded simulator, every row accounted for
	$(BIN)/simlift demo

test: $(VENV)/.ready ## all tests
	$(BIN)/python -m pytest

check: $(VENV)/.ready ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready ## lay the code out
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready ## throughput, CPU and memory beside what people would use otherwise; OPTIONS="--quick"
	$(BIN)/python tests/benchmarks/bench.py $(OPTIONS)

bench-worst: $(VENV)/.ready ## the worst cases: everything refused, lost, tiny ...
	$(BIN)/python tests/benchmarks/worst_cases.py $(OPTIONS)

bench-growth: $(VENV)/.ready ## 1, 10 and 50 million rows, and a chart of them in docs/
	$(BIN)/python tests/benchmarks/growth.py $(OPTIONS)

profile: $(VENV)/.ready ## where the time goes: CPU time per row by stage
	$(BIN)/python tests/benchmarks/where_time_goes.py $(OPTIONS)

soak: $(VENV)/.ready ## SEEDS=N simulated stories from seed FIRST on; a failing one is printed with its replay
	$(BIN)/python tests/simulation/soak.py --seeds $(SEEDS) --first $(FIRST)

fuzz: $(VENV)/.ready ## MINUTES of files made wrong for each source; OPTIONS="--source csv --seed 1"
	$(BIN)/python tests/fuzz/fuzz.py --minutes $(MINUTES) $(OPTIONS)

lock: ## pin what is installed now (names and versions only)
	$(BIN)/python -m pip freeze --exclude-editable | grep -v -E '^(-e|pip|setuptools)' > constraints.txt

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
