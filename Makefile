# Everything that one types here; each target first installs what it needs (tools/setup).
.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench clean
PYTHON := .venv/bin/python

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install what is missing
	@sh tools/setup

run: ## a tour: real hosts, a crash, and the end that is true all the same
	@sh tools/setup --with-disks
	@$(PYTHON) -m interlock.tour

test: ## all tests; choose with ARGS="tests/wire -k frames"
	@sh tools/setup --for-tests
	$(PYTHON) -m pytest -n 2 --dist loadscope --durations=15 $(ARGS)

check: ## style, types and the directions of imports
	@sh tools/setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: ## put the code in the form that check wants
	@sh tools/setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bench: ## measure, and print the figures
	@sh tools/setup
	@$(PYTHON) -m bench

clean: ## remove everything that these targets have made
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
