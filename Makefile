# make profile | make test | make parity | make lint | make bench: each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: profile test parity lint bench bench-measuring bench-export bench-parity coverage docs clean
.DELETE_ON_ERROR:

profile: $(VENV)/.ready
	$(BIN)/keronyx profile unet --providers cuda,cpu

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest

parity: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -m parity --parity-size 320x400

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/floor.py
	$(BIN)/python benchmarks/export_memory.py

bench-measuring: $(VENV)/.ready-dev
	$(BIN)/python benchmarks/measuring.py

coverage: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.coverage

bench-export: $(VENV)/.ready-bench
	$(BIN)/python -m benchmarks.coverage > /dev/null || true
	$(BIN)/python -m benchmarks.export_speed

bench-parity: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python benchmarks/bisecting.py

docs: $(VENV)/.ready-dev
	$(BIN)/python docs/generate.py

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "keronyx needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu]'
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,dev]'
	touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,dev,bench]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
