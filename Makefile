# Everything that one types here; each target first installs what it needs (tools/setup).
.DEFAULT_GOAL := help
.PHONY: help setup run test kill kill-matrix planted sim nightly histories load check format bench million clean
PYTHON := .venv/bin/python
# what one process has compiled, the next need not
unexport PYTHONDONTWRITEBYTECODE
# how many seeds of the simulator are part of make test
TEST_SEEDS := 2000

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install what is missing
	@sh tools/setup

run: ## a tour: real hosts, a crash, and the end that is true all the same
	@sh tools/setup --with-disks
	@$(PYTHON) -m interlock.tour

test: ## all tests, then the simulator with 2000 seeds; choose tests alone with ARGS="tests/wire -k frames"
	@sh tools/setup --for-tests
	$(PYTHON) -m pytest -n 3 --dist loadscope --no-loadscope-reorder --durations=15 -m "not long" $(ARGS)
	@$(if $(ARGS),,$(PYTHON) -m interlock.sim --seeds $(TEST_SEEDS))

kill: ## real kills at every effect of every verb and flow, as far as make test has no time for them
	@sh tools/setup --for-tests
	$(PYTHON) -m pytest -n 2 --dist load --durations=15 -m long tests

SEEDS ?= 2000
FROM ?= 0
sim: ## the simulator: SEEDS=n FROM=k (2000 from 0); what fails is made small, and told how to see it again
	@sh tools/setup
	@$(PYTHON) -m interlock.sim --seeds $(SEEDS) --from $(FROM)

kill-matrix: ## every flow, agent and start killed at every failpoint; about an hour. ARGS="--list", "--match vm.remove"
	@sh tools/setup --for-tests
	@$(PYTHON) -m tests.killing $(ARGS)

histories: ## real processes under random kills and stops for SECONDS=60, then every check on what is left
	@sh tools/setup --for-tests
	INTERLOCK_HISTORY_S=$(or $(SECONDS),60) $(PYTHON) -m pytest -s -m long tests/killing/test_histories.py

nightly: ## a hundred thousand seeds, ten minutes of histories, and the kill matrix everywhere, the next life killed too
	@sh tools/setup --for-tests
	@$(PYTHON) -m interlock.sim --seeds 100000 --from 1000000
	INTERLOCK_HISTORY_S=600 $(PYTHON) -m pytest -s -m long tests/killing/test_histories.py
	@$(PYTHON) -m tests.killing --also stock --also postgresql --double 1 $(ARGS)

planted: ## plant one small bug after the other, and see that the simulator notices each; choose with ARGS="NAME"
	@sh tools/setup
	@$(PYTHON) -m planted $(ARGS)

load: ## a thousand tasks of one agent at once for a minute, with stops, clears, reconnects and a kill
	@sh tools/setup --for-tests
	INTERLOCK_LOAD_TASKS=1500 INTERLOCK_LOAD_S=60 $(PYTHON) -m pytest -s tests/agent/test_agent_load.py

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

million: ## build a million jobs on both databases, and time what people ask most; some 10 minutes and 5 GB
	@sh tools/setup --for-tests
	@$(PYTHON) -m bench.million $(ARGS)

clean: ## remove everything that these targets have made
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
