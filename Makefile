# Two commands do everything on a machine with Python 3.11 and make:  make run   make test
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= conf/local.yaml
BUILDINGS ?= 8
FILES ?= 1126
WORKERS ?= 2

# Spark takes its settings, its Java and its Python from here, whatever else the machine has.
SPARK_ENV = unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH; \
	eval "$$($(BIN)/oedi-spark spark-env)";

REQUIREMENTS := requirements/build.txt requirements/dev.txt requirements/jars.txt
# Named after what was installed, so that a changed pin installs again and nothing else does.
STAMP := $(VENV)/.installed-$(shell cat $(REQUIREMENTS) pyproject.toml | cksum | cut -d' ' -f1)

# As many buildings as were asked for, by the generator as it is now: else it is made anew.
SAMPLE := build/sample_lake/.complete-$(BUILDINGS)

.PHONY: help setup run sample look test cluster-test lint format bench package pins clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

setup: $(STAMP) ## Make the virtual environment with everything in it

$(STAMP): $(REQUIREMENTS) pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/jars.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	unset SPARK_HOME SPARK_CONF_DIR PYTHONPATH; eval "$$($(BIN)/oedi-spark spark-env --archive)"; \
		case "$$JAVA_HOME" in "$(abspath $(VENV))"/*) \
			"$$JAVA_HOME/bin/java" -Xshare:dump >/dev/null 2>&1 || true;; esac; \
		timeout 300 $(BIN)/spark-submit spark_jobs/prepare.py >/dev/null 2>&1 \
		|| echo "Spark will start without its class archive, a little slower"
	touch $@

run: $(STAMP) $(SAMPLE) ## Run the main job on a sample lake, and look at the table
	$(SPARK_ENV) spark-submit spark_jobs/etl.py --config $(CONFIG)
	@echo
	@$(BIN)/oedi-spark look --config $(CONFIG)
	@echo
	@echo "Next: $(BIN)/oedi-spark plan --config $(CONFIG)      what a run would read"
	@echo "      $(BIN)/oedi-spark plan --config conf/oedi-public.yaml   the same of the public bucket"
	@echo "      edit $(CONFIG) and 'make run' again; README.md says where everything is"

sample: $(SAMPLE) ## Write the sample lake that make run reads

$(SAMPLE): $(STAMP) oedi_spark/sample/*.py oedi_spark/sample/*.yaml
	rm -rf build/sample_lake
	$(BIN)/oedi-spark sample --out build/sample_lake --buildings $(BUILDINGS) --upgrade 0 --upgrade 1
	@touch $@

look: $(STAMP) ## A few rows of the hourly table and the average day
	@$(BIN)/oedi-spark look --config $(CONFIG)

lint: $(STAMP) ## ruff, its formatter, and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## Lint, types and all tests, in WORKERS processes (2)
	$(SPARK_ENV) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup

cluster-test: $(STAMP) ## The job on a standalone cluster whose workers and tasks die
	$(SPARK_ENV) $(BIN)/python -m pytest tests/cluster

format: $(STAMP) ## Let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## The job beside its peers on FILES building files (1126)
	$(SPARK_ENV) missed=0; \
		$(BIN)/python -m bench.gate || missed=1; \
		$(BIN)/python -m bench.run --files $(FILES) || missed=1; exit $$missed

package: $(STAMP) ## dist/: our wheel, and the zip of wheels for Glue, checked on its versions
	$(BIN)/python -m package.build
	$(BIN)/python -m package.check

pins: $(STAMP) ## Pin the requirement files anew (needs uv)
	requirements/compile.sh

clean: ## Remove what the other targets made
	rm -rf build dist .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
