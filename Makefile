# Every target makes the environment that it needs, if it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.dev
BENCH := .venv-bench/bin
BENCH_STAMP := .venv-bench/.installed
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-slow check-report lint format bench bench-check claims clean

help:
	@echo "make demo         run a suite end to end on real embedded images; leaves demo-run/report.html"
	@echo "make test         the tests"
	@echo "make test-slow    the long tests as well"
	@echo "make check-report the browser tests on the demo's report (skipped where there is no Chromium)"
	@echo "make lint         ruff, mypy, the floors of the house"
	@echo "make bench        speed beside the peers', as ratios in one process"
	@echo "make bench-check  fail when a ratio lost 30% against the stored baseline"
	@echo "make claims       the papers' claims in miniature, all seeds; CLAIM=name runs one"

$(STAMP): pyproject.toml setup.py constraints.txt $(wildcard medeval/metrics/csrc/*)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[demo]'
	touch $@

# tests and linters; torch is for the reference models and their adapters; the demo and the core need none of it
$(DEV_STAMP): $(STAMP)
	$(INSTALL) -e '.[dev,torch]'
	touch $@

demo: $(STAMP)
	$(BIN)/medeval run demo --out demo-run --workers 2

test: $(DEV_STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(DEV_STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "slow or not slow"

check-report: $(DEV_STAMP) demo
	MEDEVAL_REPORT=demo-run/report.html $(BIN)/python -m pytest tests/report/test_browser.py -k given -rs

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The peers bring packages that must not meet the project's own, so they get an environment of their own.
$(BENCH_STAMP): benchmarks/perf/requirements.txt setup.py $(wildcard medeval/metrics/csrc/*)
	test -x $(BENCH)/python || $(PYTHON) -m venv .venv-bench
	$(BENCH)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/perf/requirements.txt -e .
	touch $@

bench: $(BENCH_STAMP)
	mkdir -p .benchmarks
	$(BENCH)/python -m pytest benchmarks/perf/test_segmentation.py -q -o addopts= -o timeout=1200 --benchmark-disable-gc --benchmark-json=.benchmarks/segmentation.json
	$(BENCH)/python benchmarks/perf/ratios.py .benchmarks/segmentation.json
	OMP_NUM_THREADS=1 $(BENCH)/python -m pytest benchmarks/perf/bench_statistics.py benchmarks/perf/bench_sam_prompts.py benchmarks/perf/bench_sam_overlap.py benchmarks/perf/bench_sam_med3d.py -q -s -m "not slow" -o addopts= -o timeout=1200
	$(BENCH)/python benchmarks/perf/bench_llm_harness.py

bench-check: bench
	$(BENCH)/python benchmarks/perf/ratios.py .benchmarks/segmentation.json --check

# settings and seeds stand in benchmarks/claims/*.yaml; figures go to docs/claims.md, runs with reports to runs-claims/
claims: $(DEV_STAMP)
	$(BIN)/python benchmarks/claims/common.py $(CLAIM)

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info demo-run medeval/metrics/*.so
