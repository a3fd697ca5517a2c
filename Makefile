# Two commands on a fresh machine: `make serve` and `make test`. Both make .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
MEDIA ?=
DATA ?=
PACK ?=

.PHONY: help serve test lint types unit bench bench-pretraining train-lite clean
.DEFAULT_GOAL := help

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.core  ## install the core and start the server with the shipped model (ARGS="--port 9000")
	@$(BIN)/vicmae serve $(ARGS)

test: lint types unit  ## install everything; run lint, types and all tests

lint: $(VENV)/.everything  ## ruff: style and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.everything  ## mypy, strict
	$(BIN)/mypy

unit: $(VENV)/.everything  ## the test suite (ARGS="-k search")
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.everything  ## run the benchmarks (MEDIA=FOLDER of videos); tables on the screen, JSON in benchmarks/results
	$(BIN)/vicmae bench engine
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/decoding.py
	@if [ -n "$(MEDIA)" ]; then $(BIN)/python -m pip install --quiet --progress-bar off --editable '.[bench]' && $(BIN)/python benchmarks/finding.py $(MEDIA) && $(BIN)/python benchmarks/video.py $(MEDIA); \
		else echo "benchmarks/finding.py needs videos: make bench MEDIA=FOLDER"; fi

bench-pretraining: $(VENV)/.everything  ## ViC-MAE, its rivals and ablations, trained from one start (DATA=FOLDER with pretrain/ and eval/)
	@[ -n "$(DATA)" ] || { echo "benchmarks/pretraining.py needs pictures: make bench-pretraining DATA=FOLDER, with the shards or"; \
		echo "folders to learn from in FOLDER/pretrain and labelled sets with an index.csv in FOLDER/eval"; exit 2; }
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable '.[bench]'
	$(BIN)/python benchmarks/pretraining.py $(DATA)/pretrain --eval $(DATA)/eval $(ARGS)

train-lite: $(VENV)/.everything  ## train the shipped encoder again (PACK=FOLDER with index.csv.gz and shards); goes on after a kill
	@[ -n "$(PACK)" ] || { echo "train-lite needs the pictures to learn from: make train-lite PACK=FOLDER, with shards and index.csv.gz"; exit 2; }
	$(BIN)/python examples/select_from_pack.py $(PACK) -o runs/lite-pictures --where commercial=yes --clips-kept-out 200
	[ -d runs/lite-start ] || $(BIN)/vicmae pretrain copies runs/lite-pictures -o runs/lite-start --cache runs/lite-start-cache \
		--set size=224 --set steps=0
	OMP_WAIT_POLICY=passive $(BIN)/vicmae pretrain copies runs/lite-pictures -o runs/lite --cache runs/lite-cache --init runs/lite-start \
		$(if $(wildcard runs/lite/run.json),--resume) $(ARGS)
	$(BIN)/vicmae export runs/lite -o bundles/vicmae-lite --size 224 --start-share 0.4 --patch-tokens --precision int8-static \
		--calibrate runs/lite-pictures --pictures runs/lite-pictures

clean:  ## remove what the other commands made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vicmae needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 serve"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo 'installing the core into $(VENV), once'
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable .
	@touch $@

$(VENV)/.everything: pyproject.toml | $(BIN)/python
	@echo 'installing everything into $(VENV), once: PyTorch alone takes several gigabytes'
	@$(BIN)/python -m pip install --quiet --progress-bar off --editable '.[train,export,openvino,parquet,dev]'
	@touch $@ $(VENV)/.core
