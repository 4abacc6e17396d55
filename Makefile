# The first `make demo` or `make test` installs everything; it needs only Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quick docs bench wheels gpu check format clean services help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed  ## install, then run the sweep of optimizers and write its report
	$(BIN)/python -m evalbench +sweep=optimizers

test: $(VENV)/installed  ## install, then run the whole test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

quick: $(VENV)/installed  ## run the tests that are not marked slow: under a minute on two cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

docs: $(VENV)/installed  ## build the documentation as a site, in ten seconds: build/site/index.html
	$(BIN)/python -m sphinx -q -E -W --keep-going -c docs . build/site

bench: $(VENV)/installed  ## time evalbench and its peers, in twenty minutes; write benchmarks/results.md
	$(BIN)/python -m benchmarks.steps
	$(BIN)/python -m benchmarks.steps --compiled
	$(BIN)/python -m benchmarks.engine --output benchmarks/results.md
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.trackers
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.reading

wheels: $(VENV)/installed  ## collect in .gpu/ what a GPU machine without a network lacks, for `make gpu` there
	$(BIN)/python -m benchmarks.wheels

# It takes the environment if there is one, else this machine's Python with the files of `make wheels`.
gpu:  ## test and time on a CUDA device, in eight minutes; write benchmarks/results-gpu.md
	$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu.py

check: $(VENV)/installed  ## check formatting, lint and types, build the documentation, and run all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) docs
	$(MAKE) test

format: $(VENV)/installed  ## format the code and apply automatic lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Some tests start a server or a browser from Debian's packages; they are skipped without them.
services:  ## install PostgreSQL and Chromium for their tests, on Debian as root
	@lacking=""; \
	command -v pg_ctl >/dev/null || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || lacking="postgresql"; \
	command -v chromium >/dev/null || lacking="$$lacking chromium"; \
	test -z "$$lacking" || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$lacking; } || \
	echo "not installed:$$lacking: their tests will be skipped"

clean:  ## remove the environment and caches, but no results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist

# constraints.txt holds the tested versions, so that two installs are equal.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "evalbench needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench,docs]'
	touch $@
