# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
OPEN_CLIP := .cache/open_clip/.ready
SPACE := .cache/space/.ready
# A worker for each core: tests mostly wait for processes of theirs. Those of a file share its fixtures, in one worker.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup demo small-model lint test test-slow test-conformance check clean

help:
	@echo "make demo              simulate, train, retrieve, caption, export: demo/report.html"
	@echo "make small-model       remake the published small model: rows, weights, scores, card: runs/small/published"
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

# The demo Space in an environment of its own, over .venv: Gradio refuses the Pillow that the package asks for. Playwright
# brings no browser here; the tests use Debian's.
$(SPACE): .venv/.ready model_cards/space_app/requirements.txt model_cards/space_constraints.txt
	$(PYTHON) -m venv --clear .cache/space
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$(.cache/space/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/core.pth"
	grep -v -i "^pillow==" constraints.txt | cat - model_cards/space_constraints.txt > .cache/space/constraints.txt
	.cache/space/bin/python -m pip install --quiet --disable-pip-version-check --constraint .cache/space/constraints.txt \
		--requirement model_cards/space_app/requirements.txt playwright
	command -v chromium || (apt-get update --quiet=2 && apt-get install --quiet=2 --yes chromium fonts-dejavu-core)
	touch $@

demo: .venv/.ready
	$(BIN)/python -m model_cards.demo --output demo --overwrite

# What model_cards/published/ describes; weights of a random start are not the same on every machine to the last bit.
SMALL := runs/small
SMALL_RUN := $(SMALL)/study/infrared-aware--fused-0
small-model: .venv/.ready
	$(BIN)/python -m dataset_scripts build fusionrs --source simulator --num-scenes 3700 --splits.test 1000 \
		--splits.validation 100 --sources.scene-size 128 --output $(SMALL)/fusionrs
	$(BIN)/python -m train.study infrared-aware-text --arms "infrared-aware, fused" --seeds 2 \
		--data $(SMALL)/fusionrs --output $(SMALL)/study
	rm -rf $(SMALL)/published
	$(BIN)/python -m model_cards.publish model $(SMALL_RUN) --repo rsclip/rsclip-small-trimodal --tag v1.0.0 \
		--license apache-2.0 --from-scratch --datasets rsclip/fusionrs-simulated \
		--data-manifest $(SMALL)/fusionrs/manifest.json --results $(SMALL_RUN)/results/retrieval-fusionrs.json \
		--results-datasets $(SMALL)/fusionrs=rsclip/fusionrs-simulated --output $(SMALL)/published

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd model_cards/space_app && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml --explicit-package-bases \
		--cache-dir ../../.mypy_cache/space .

test: lint $(OPEN_CLIP)
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(OPEN_CLIP) $(SPACE)
	$(PYTEST) -m "slow and not gpu"

test-conformance: .venv/.ready
	$(BIN)/python tests/conformance_run.py

check: test-conformance demo test-slow test

clean:
	rm -rf .venv .cache demo runs
