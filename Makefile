# Needs make and Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
NAMES ?=
OPTIONS ?=

FRAMEWORKS := mindspore paddle tensorflow
ENVIRONMENTS := $(FRAMEWORKS:%=.venv-frameworks/%.stamp)

.PHONY: setup demo test test-all test-frameworks lint bench fuzz clean

setup: .venv/setup.stamp

demo: .venv/demo.stamp
	$(BIN)/python examples/digits/demo.py

test: setup
	$(PYTEST) -m "not slow and not frameworks"

test-all: setup
	$(PYTEST) -m "not frameworks"

test-frameworks: setup $(ENVIRONMENTS)
	$(BIN)/python -m pytest tests/frameworks -m frameworks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/bench.stamp
	$(BIN)/python bench/bench.py $(if $(NAMES),--models $(NAMES)) $(OPTIONS)

fuzz: setup
	nice $(BIN)/python tests/fuzz/fuzz.py $(OPTIONS)

clean:
	rm -rf .venv .venv-frameworks build .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "ingot needs Python 3.11 or newer with venv (on Debian: apt install python3-venv); name it with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/setup.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/setup.stamp .venv/demo.stamp

.venv-frameworks/%.stamp: tests/frameworks/%.txt | .venv/bin/python
	$(BIN)/python -m venv .venv-frameworks/$*
	.venv-frameworks/$*/bin/python -m pip install --quiet --requirement $<
	touch $@

.venv/bench.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

.venv/demo.stamp: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable . 'onnxruntime>=1.22,<2'
	touch $@
