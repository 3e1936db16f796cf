# Every target creates its environment first; a stamp file records this, so that later calls start at once.
PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
NAME ?=
TEXT ?=
MINUTES ?=
SERVE ?= 1
FROM ?=
DATA ?=
# The demo's flags: `make demo MINUTES=60 SERVE=0` is `sayso demo --minutes 60 --no-serve`.
DEMO_FLAGS := $(if $(MINUTES),--minutes $(MINUTES)) $(if $(FROM),--parent $(FROM)) $(if $(DATA),--data $(DATA)) $(if $(filter 0 no false,$(SERVE)),--no-serve)

.DEFAULT_GOAL := help
.PHONY: demo test bench named lint docs clean help

demo: $(VENV)/.demo ## Run every stage on a small model and serve it: make demo [MINUTES=60] [FROM=smollm2 DATA=FILE] [SERVE=0]
	$(VENV)/bin/sayso demo $(DEMO_FLAGS)

test: $(VENV)/.dev ## Run the tests
	$(VENV)/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev ## Check style, types and the layer contract
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: named $(BENCH_VENV)/.bench ## Run a benchmark against its peer: make bench NAME=generate (some need TEXT=FILE)
	$(BENCH_VENV)/bin/python -m bench.$(NAME) $(TEXT)

named:
	@test -f 'bench/$(NAME).py' || { echo "Choose a benchmark with NAME=, one of: $(BENCHES)"; exit 2; }

docs: $(VENV)/.dev $(VENV)/.docs ## Generate the reference pages and build the site into site/
	$(VENV)/bin/python tools/docs.py
	$(VENV)/bin/sphinx-build -q -W --keep-going -b html docs site

clean: ## Remove the environments and caches, but no life
	rm -rf $(VENV) $(BENCH_VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

BENCHES := $(filter-out acknowledged clock contenders curves detector_cases detector_sample everyday forest harness killed_cycle lens_peer memory menu mover peer people picture postgres servers smollm2 tiny __init__,$(basename $(notdir $(wildcard bench/*.py))))

$(VENV)/.%: pyproject.toml constraints.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@

$(BENCH_VENV)/.%: pyproject.toml constraints.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[$*]'
	@touch $@
