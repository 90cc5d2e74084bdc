# The same commands that CI runs. Everything happens in .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check fuzz sanitize docs bench clean
.DELETE_ON_ERROR:

demo: .venv/ready        ## train a character LSTM on Python's own source, and look into it, in about three minutes
	$(BIN)/python scripts/demo.py

test: .venv/ready        ## the suite without what takes more than twenty seconds
	$(BIN)/python -m pytest -n 2

test-all: .venv/ready    ## the whole suite
	$(BIN)/python -m pytest -n 2 -m "not fuzz"

check: .venv/ready       ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

FUZZ_SECONDS ?= 600
fuzz: .venv/ready        ## damaged files, run folders, options, for FUZZ_SECONDS (600)
	THROUGHTIME_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz -m fuzz

sanitize: .venv/ready    ## compiled scans under the address and undefined-behaviour sanitizers
	scripts/sanitize

docs: .venv/ready        ## run the commands of README and docs, check their links
	$(BIN)/python -m pytest tests/test_docs.py

bench: .venv/bench       ## every measurement that needs no data set, as ratios to named peers
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/language.py
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/tasks.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/vocabulary.py

.venv/ready: pyproject.toml scripts/install.py
	$(PYTHON) scripts/install.py
	@touch $@

.venv/bench: .venv/ready
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[bench]"
	@touch $@

clean:
	rm -rf .venv build dist
