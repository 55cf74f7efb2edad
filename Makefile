# Every target installs what it needs into .venv. Only Python 3.11 or later, make and git have to be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint types check docs evaluator torture fuzz hostile mutants soak bench clean

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("simarchive needs Python 3.11 or later: make PYTHON=... demo" if sys.version_info < (3, 11) else 0)'
	@echo "Installing simarchive, and what its demo and tests need, into $(VENV): a few minutes and 1.2 GB, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## put a real simulation store into one file and get it out again
	$(BIN)/python examples/demo.py

test: $(VENV)/.installed  ## run the test suite
	$(BIN)/python -m pytest -q -n auto

lint: $(VENV)/.installed  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## mypy --strict
	$(BIN)/mypy

check: lint types test  ## lint, types and test

evaluator:       ## all tests with OpenFF Evaluator, in the conda environment that is active (docs/environments)
	$(PYTHON) -W ignore -c "import openff.evaluator"
	$(PYTHON) -m pytest -q tests/openff

torture: $(VENV)/.installed  ## 100,000 crash images, 200 real kills, signals at every line (an hour and a half)
	SIMARCHIVE_CRASH_IMAGES=100000 SIMARCHIVE_KILLS=200 $(BIN)/python -m pytest -q tests/journal tests/crash
	SIMARCHIVE_MOMENTS=0 SIMARCHIVE_INTERRUPTS=2000 SIMARCHIVE_CREATION_ROUNDS=200 SIMARCHIVE_NAME_ROUNDS=100 \
		$(BIN)/python -m pytest -q -n 2 tests/strangers

fuzz: $(VENV)/.installed  ## random bytes and damaged containers for five minutes (SIMARCHIVE_FUZZ_SECONDS)
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	$(BIN)/python tests/fuzz/fuzz.py

hostile: $(VENV)/.installed  ## a thousand hand-made hostile containers and 5,000 mutated ones through all commands: hours
	SIMARCHIVE_HOSTILE_CONTAINERS=all $(BIN)/python -m pytest -q -s tests/hostile/test_hostile_containers.py
	SIMARCHIVE_FUZZ_CONTAINERS=5000 $(BIN)/python tests/fuzz/fuzz.py containers

mutants: $(VENV)/.installed  ## 86 changes to the code, one at a time: do tests notice? (an hour; SIMARCHIVE_MUTANTS)
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	$(BIN)/python tests/mutants/mutants.py

soak: $(VENV)/.installed  ## an hour of many processes with kills, full disks and jumping clocks (SIMARCHIVE_SOAK_SECONDS)
	SIMARCHIVE_SOAK_SECONDS=60 $(BIN)/python -m pytest -q tests/journal tests/crash -k "processes"
	SIMARCHIVE_SOAK_SECONDS=$${SIMARCHIVE_SOAK_SECONDS:-1800} $(BIN)/python -m pytest -q -s tests/crash/test_soak.py

bench: $(VENV)/.installed  ## all benchmarks, large (an hour)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks

clean:           ## remove what the targets made
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
