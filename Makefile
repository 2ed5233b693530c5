# Every target sets up what it needs by itself. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
export PYTHONPATH := $(CURDIR)/local
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LAMBDA := $(VENV)/lambda
DEPENDENCIES := build/.dependencies
TEMPLATE := build/package/sam.json
CODE := app.py chalicelib lambda_package local tests docs $(wildcard demo benchmarks deploy)
SOURCES := app.py $(shell find chalicelib -type f -not -name '*.pyc') $(wildcard .chalice/*.json)
UNIT := tests/plans tests/jobs tests/backup tests/retention tests/replication tests/recovery tests/inventory tests/test_settings.py
SCRIPTS := $(shell git ls-files -co --exclude-standard '*.sh' .ci/run)
# One line of progress, without a comma; standard output is left to what a target is asked for.
say = @printf '\033[1m%s\033[0m\n' '$(1)' >&2

.PHONY: help setup format check lint types imports shell cfn policies test unit coverage docs package lock deploy destroy preflight doctor local demo figures transfer bench-snapshots bench-launches clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything a checkout needs

$(READY): requirements.txt requirements-dev.txt requirements.lock lambda_package/compiler/package-lock.json
	$(call say,setting up $(VENV): once and about two minutes)
	$(call say,1 of 3: a virtual environment)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Farshore needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	$(call say,2 of 3: the packages of requirements-dev.txt)
	@rm -f $(VENV)/.failed
	@sed 's/ --hash.*//' requirements.lock > $(VENV)/constraints.txt
	@{ $(BIN)/pip install --disable-pip-version-check -c $(VENV)/constraints.txt -r requirements-dev.txt || touch $(VENV)/.failed; } | \
	  awk '/^Collecting/ && ++n % 20 == 0 {print "  " n " found"; fflush()} \
	    /^Installing/ {print "  " n " found; installing them"; fflush()}' >&2
	@test ! -e $(VENV)/.failed && $(BIN)/pip check --disable-pip-version-check >&2
	$(call say,3 of 3: the wheels that go to Lambda and the compiler of their bytecode)
	@rm -rf $(LAMBDA) && mkdir -p $(LAMBDA)/compiler
	@$(BIN)/python -m lambda_package download $(LAMBDA)
	@cp lambda_package/compiler/package*.json $(LAMBDA)/compiler
	@cd $(LAMBDA)/compiler && PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	@touch $@

format: $(READY) ## write the code the way the formatter wants it
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

check: lint types imports shell cfn policies test ## everything that must hold before a commit

lint: $(READY) ## format and style
	$(call say,ruff)
	@$(BIN)/ruff format --check --quiet --diff $(CODE)
	@$(BIN)/ruff check $(CODE)

types: $(READY) ## mypy, strict
	$(call say,mypy)
	@$(BIN)/mypy --strict $(CODE)

imports: $(READY) ## who may import whom
	$(call say,import-linter)
	@$(BIN)/lint-imports --no-cache

shell: $(READY) ## the shell scripts
	$(call say,shellcheck)
	@$(BIN)/shellcheck $(SCRIPTS)

cfn: $(TEMPLATE) ## the packaged template and the DR region's
	$(call say,cfn-lint)
	@$(BIN)/cfn-lint $(TEMPLATE) .chalice/dr-region.yaml deploy/region.yaml

policies: $(TEMPLATE) ## the policies: their grammar, and what AWS knows of actions, resources and keys
	$(call say,parliament and the service authorization reference)
	@$(BIN)/python -m tests.policies.lint

test: $(TEMPLATE) ## the tests, in parallel; ARGS="-k words" picks some
	$(call say,pytest)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

docs: $(READY) ## write the tables of keys and the editors' schema from the declarations
	@$(BIN)/python -m docs.write

package: $(TEMPLATE) ## the template and the zip that are deployed, in build/package; needs no network
	@ls -l $(<D)/sam.json $(<D)/deployment.zip | awk '{printf "  %-30s %6.2f MB\n", $$NF, $$5 / 1e6}'

lock: $(READY) ## pin anew what the zip carries, from requirements.txt
	@$(BIN)/python -m lambda_package lock $(LAMBDA)

$(DEPENDENCIES): $(READY) requirements.lock $(wildcard lambda_package/*.py lambda_package/compiler/*)
	$(call say,packaging: the dependencies)
	@$(BIN)/python -m lambda_package dependencies $(LAMBDA)
	@touch $@

$(TEMPLATE): $(DEPENDENCIES) $(SOURCES)
	$(call say,packaging: the app)
	@$(BIN)/python -m lambda_package package $(LAMBDA)

# Settings come from deploy/STAGE.env; what is set on the command line takes precedence.
preflight: $(READY) ## whether STAGE=prod can be deployed: settings, names, secrets, quotas; nothing is made
	@deploy/preflight.sh

deploy: $(TEMPLATE) ## deploy STAGE=prod, with its DR regions; asks before it changes a stack, DRY_RUN=1 shows the commands
	@deploy/deploy.sh

destroy: $(READY) ## delete the stacks of STAGE=prod, and what they hold only with DATA=delete CONFIRM=prod
	@deploy/destroy.sh

unit: $(READY) ## the tests that need no local cloud; VENV and PYTHON choose another interpreter
	$(call say,pytest: without the local cloud on $(shell $(PYTHON) -V))
	@$(BIN)/python -m pytest -q -n auto $(UNIT)

coverage: $(TEMPLATE) ## the tests, and how much of each package of the app they run; each file: build/coverage.json
	$(call say,pytest with coverage)
	@$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=json:build/coverage.json $(ARGS)
	@$(BIN)/python -m tests.support.coverage_table build/coverage.json

doctor: $(READY) ## whether the deployed STAGE=prod can do its work; CANARY=plan backs one up, JSON=1 for the document
	@$(BIN)/python -m deploy.doctor

local: $(TEMPLATE) ## an AWS on this machine with Farshore on it; AWS_PORT, API_PORT, CONTROL_PORT choose its ports
	@exec $(BIN)/python -P -m stage

demo: $(TEMPLATE) ## the whole story on the local cloud; JSON=1 for one document on standard output
	@exec $(BIN)/python -m demo

figures: $(TEMPLATE) ## what it costs: AWS calls, lines, imports; JSON=1 for one document on standard output
	@exec $(BIN)/python -m benchmarks.figures

transfer: $(READY) ## how fast a file goes off-site, beside what the machine can do; MIB=1024 for a larger one
	@exec $(BIN)/python -m benchmarks.transfer $(MIB)

bench-snapshots: $(TEMPLATE) ## how a fleet's snapshots start; INSTANCES="1000 10000", SERVICE=each or one, JSON=1
	@exec $(BIN)/python -m benchmarks.snapshots

bench-launches: $(TEMPLATE) ## how many launches at once come up with their data; INSTANCES=100
	@exec $(BIN)/python -m benchmarks.launches $(INSTANCES)

clean: ## remove what was built, keep .venv
	rm -rf build .chalice/deployments .pytest_cache .mypy_cache .ruff_cache .hypothesis
