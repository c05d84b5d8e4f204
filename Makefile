# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
OPEN_CLIP := .cache/open_clip/.ready
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup demo lint test test-slow test-conformance check clean

help:
	@echo "make demo              simulate, train, retrieve, caption, export: demo/report.html"
	@echo "make test              lint, types, and the fast tests"
	@echo "make test-slow         the tests that take longer"
	@echo "make test-conformance  transformers' own common tests on our classes"
	@echo "make check             all of it: what CI runs"

setup: .venv/.ready

# torch first: a resolver that meets it later may pick a build of several gigabytes.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --group dev --editable ".[geo,build,ray]"
	touch $@

# The parity tests read open_clip from a folder of its own: its torchvision would break transformers beside a CPU torch.
$(OPEN_CLIP): .venv/.ready
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .cache/open_clip \
		open_clip_torch==3.3.0 torchvision==0.28.0 ftfy==6.3.1 wcwidth==0.9.4
	touch $@

demo: .venv/.ready
	$(BIN)/python -m model_cards.demo --output demo --overwrite

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint $(OPEN_CLIP)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(OPEN_CLIP)
	$(BIN)/python -m pytest -m "slow and not gpu"

test-conformance: .venv/.ready
	$(BIN)/python tests/conformance_run.py

check: test-conformance demo test-slow test

clean:
	rm -rf .venv .cache demo runs
