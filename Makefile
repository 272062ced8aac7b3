# `make demo` and `make test` set up everything they need in .venv; nothing else is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tests on two processes, files together (tests/conftest.py): make test WORKERS=0 for one.
WORKERS := 2
SPREAD := --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: help demo test test-slow test-stack test-gpu test-exports test-streaming chaos check format export-files study-docs bench bench-load bench-laws clean
.DELETE_ON_ERROR:

$(VENV)/.user: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("mixlaw needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing mixlaw into $(VENV) (two to four minutes the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.user
	@echo "installing the test tools into $(VENV)"
	@$(PIP) --editable ".[dev]"
	@touch $@

help:                        ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ -/'

demo: $(VENV)/.user          ## the whole job on text that is already on this machine
	@$(BIN)/mixlaw demo

test: $(VENV)/.dev           ## the fast tests
	@$(BIN)/python -m pytest -m "not slow and not gpu and not stack" $(SPREAD)

test-slow: $(VENV)/.dev      ## the tests that take minutes
	@$(BIN)/python -m pytest -m "slow and not gpu and not stack"

test-stack: $(VENV)/.dev     ## a scheduled study on PostgreSQL, Prefect's and MLflow's servers and two workers
	@$(BIN)/python -m pytest -rs -m stack tests/scenarios/stack

test-gpu: $(VENV)/.dev       ## the tests that need an accelerator
	@$(BIN)/python -m pytest -m gpu

# torch brings what its build needs; everything else is pinned as a whole, so nothing is left to resolve.
INTO := f() { $$1 -m pip install --disable-pip-version-check --quiet --constraint $$2 torch && \
	$$1 -m pip install --disable-pip-version-check --quiet --no-deps --requirement $$2; }; f
EXPORTS := .venv-exports

$(EXPORTS)/.ready: constraints-exports.txt
	@test -x $(EXPORTS)/bin/python || $(PYTHON) -m venv $(EXPORTS)
	@echo "installing trainers' loaders into $(EXPORTS) (one to two minutes the first time)"
	@$(INTO) $(EXPORTS)/bin/python constraints-exports.txt
	@$(EXPORTS)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	@touch $@

test-exports: $(EXPORTS)/.ready  ## exports, read by the trainers' own loaders
	@$(EXPORTS)/bin/python -m pytest tests/scenarios/exports -m "not streaming"

STREAMING := .venv-streaming

$(STREAMING)/.ready: constraints-streaming.txt
	@test -x $(STREAMING)/bin/python || $(PYTHON) -m venv $(STREAMING)
	@echo "installing mosaicml-streaming into $(STREAMING) (a minute or two the first time, 1 GB)"
	@$(INTO) $(STREAMING)/bin/python constraints-streaming.txt
	@$(STREAMING)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
	@touch $@

test-streaming: $(STREAMING)/.ready  ## MDS, read by mosaicml-streaming; for the night
	@PYTHONPATH=tests/scenarios/exports/stubs $(STREAMING)/bin/python -m pytest tests/scenarios/exports -m streaming

check: $(VENV)/.dev          ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy --config-file tests/mypy.ini tests benchmarks

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

export-files: $(VENV)/.dev   ## golden files of the exports, and those in docs/exports.md, as the tool writes them
	@$(BIN)/python -m tests.mixing.export.golden_files

study-docs: $(VENV)/.dev     ## table of keys in docs/study.md, JSON Schema, and comments of the example, from the models of the study file
	@$(BIN)/python -m tests.study_files

chaos: $(VENV)/.dev          ## kill -9, and faults of servers, disk and clock, on a real stack; 12 minutes, on a busy machine up to 25
	@$(BIN)/python -m tests.scenarios.chaos

bench: $(VENV)/.dev          ## the figures that README and docs quote
	@$(BIN)/python -m benchmarks.cpt
	@$(BIN)/python -m benchmarks.tokens
	@$(BIN)/python -m benchmarks.trainer
	@$(BIN)/python -m benchmarks.orchestration
	@$(BIN)/python -m benchmarks.exports

bench-load: $(VENV)/.dev     ## a study of 2,000 runs through the real flow, servers and MLflow
	@$(BIN)/python -m benchmarks.load

bench-laws: $(VENV)/.dev     ## laws on public tables beside the peers', and whether intervals cover
	@$(BIN)/python -m benchmarks.laws
	@$(BIN)/python -m benchmarks.coverage

clean:
	rm -rf $(VENV) $(EXPORTS) $(STREAMING) .pytest_cache .mypy_cache .ruff_cache .hypothesis
