VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The first interpreter of that version; asked only when an environment has to be made.
IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c '$(IS_311)' 2>/dev/null && echo $$name && break; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check sync status ui ledger bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything in it, once

demo: $(READY) ## Train the embedded task: python launch.py
	$(BIN)/python launch.py

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest

check: $(READY) ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sync: $(READY) ## Bring to MLflow whatever it has missed of the runs on disk
	$(BIN)/python -m rlcotrain.tracking sync outputs multirun

status: $(READY) ## Show how a sweep stands: make status SWEEP=first
	@$(BIN)/python -m rlcotrain.sweep status $(SWEEP)

ui: $(READY) ## Look at the runs in a browser
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db

ledger: $(READY) ## Show what each phase of the experiment plan has used
	$(BIN)/python -m rlcotrain.plan.ledger

bench: $(READY) ## Measure learning over seeds; takes minutes
	$(BIN)/python benchmarks/learning.py

clean: ## Remove .venv and caches; runs, sweeps and mlflow.db stay
	rm -rf $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asking for exactly torch==2.13.0 first keeps the install on a CPU build where one is offered.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 found;" \
		"install it or say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
