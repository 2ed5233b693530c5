# Every target sets up what it needs. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WHEELS := $(VENV)/wheels
TEMPLATE := build/package/sam.json
SOURCES := app.py $(shell find chalicelib -type f -not -name '*.pyc' 2>/dev/null) $(wildcard .chalice/*.json .chalice/*.yaml) requirements.txt

.PHONY: help setup format check lint types imports shell cfn test package local demo clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything a checkout needs

$(READY): requirements.txt requirements-dev.txt
	@echo "setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(BIN)/pip download --quiet --disable-pip-version-check --dest $(WHEELS) -r requirements.txt
	@touch $@

clean: ## remove what was built, keep .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
