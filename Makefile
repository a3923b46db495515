# Two commands for a newcomer: `make demo` and `make test`. Needs Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

export NO_MKDOCS_2_WARNING := 1 # mkdocs-material speaks of its successor on every run

.PHONY: setup demo test lint types docs docs-check bench soak ci clean

# Any change of what we depend on makes the environment anew.
$(VENV)/.made: pyproject.toml setup.py constraints.txt $(wildcard src/truetape/compiled/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--build-constraint constraints.txt --editable '.[transform,report,frames,ops,browser,keys]' --group test --group lint --group docs
	touch $@

setup: $(VENV)/.made  ## make the environment

demo: $(VENV)/.made  ## fake venues → record 30 s → lake → bars → checks → report
	$(BIN)/truetape demo --to demo

test: $(VENV)/.made  ## the whole test suite
	$(BIN)/python -m pytest -q

lint: $(VENV)/.made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.made
	$(BIN)/mypy

docs: $(VENV)/.made  ## write the generated pages and build the site into site/
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict --quiet

docs-check: $(VENV)/.made
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site

bench: $(VENV)/.made  ## measure, beside other tools, and write docs/benchmarks.md
	$(BIN)/python bench/run.py

soak: $(VENV)/.made  ## kills and chaos for minutes; results go into docs/soak.md
	$(BIN)/python -m pytest -q -s -m soak

# What CI runs (.ci/run): everything, `make test` as the README has it included, in an environment made from nothing.
CI_VENV := build/ci-venv
ci:
	rm -rf $(CI_VENV)
	$(MAKE) VENV=$(CI_VENV) lint types docs-check test

clean:
	rm -rf $(VENV) build site demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
