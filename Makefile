# `make help` lists what there is. Everything runs from the virtual environment .venv, which `make setup` keeps current.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo ui test check format docs clean

BIN := .venv/bin
SOURCES := airflow_dataflow dags tests benchmarks tools

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## Make or update the virtual environment .venv, with EXTRAS="hdfs postgres …" more; nothing happens when it is current
	@for python in $${PYTHON:-python3.11 python3 python3.12 python3.13}; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exec "$$python" tools/set_up.py $(EXTRAS); fi; \
	done; \
	echo "error: Python 3.11 or later is needed and was not found; on Debian 12 run 'apt-get install python3 python3-venv'," \
	  "elsewhere name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1

demo: setup ## Run some nights of the data flow under a real Airflow; with TIERS=hdfs on a real HDFS, too; on your own file with INPUT=file TEXT=column LABEL=column [ID=column]
	@$(BIN)/dataflow demo $${TIERS:+--tiers "$$TIERS"} $${INPUT:+--input "$$INPUT"} $${TEXT:+--text "$$TEXT"} $${LABEL:+--label "$$LABEL"} $${ID:+--id "$$ID"}

ui: setup ## Start Airflow with the demo's DAGs, print the address and the log-in, and stay until Ctrl-C; TIERS=hdfs as above
	@$(BIN)/dataflow demo --ui $${TIERS:+--tiers "$$TIERS"}

test: override EXTRAS += all
test: check ## Run every check and every test, on an environment with every extra
	@$(BIN)/python -m pytest --ignore tests/architecture --durations 10

check: setup ## Run ruff, mypy --strict and the rules about who may import whom
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/architecture

format: setup ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

docs: setup ## Write the pages of docs/reference that are made from the code
	@$(BIN)/python tools/reference.py

clean: ## Remove the virtual environment, the demo's files and what tools left behind
	@rm -rf .venv .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse metastore_db derby.log
