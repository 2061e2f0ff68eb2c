# Every target makes the environment that it needs, if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH_STAMP := $(VENV)/.torch
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-slow lint format bench bench-check clean

help:
	@echo "make demo         run a suite end to end on real embedded images; leaves demo-run/report.html"
	@echo "make test         the tests"
	@echo "make test-slow    the long tests as well"
	@echo "make lint         ruff, mypy, the floors of the house"
	@echo "make bench        speed beside the peers', as ratios in one process"
	@echo "make bench-check  fail when a ratio lost 30% against the stored baseline"

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard medeval/metrics/csrc/*)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[dev]'
	touch $@

# torch is for the reference models and their adapters; the demo and the core need none of it
$(TORCH_STAMP): $(STAMP)
	$(INSTALL) -e '.[torch]'
	touch $@

demo: $(STAMP)
	$(BIN)/medeval run demo --out demo-run --workers 2

test: $(TORCH_STAMP)
	$(BIN)/python -m pytest

test-slow: $(TORCH_STAMP)
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: $(TORCH_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info demo-run medeval/metrics/*.so
