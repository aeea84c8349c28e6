# Two commands for a fresh machine: `make demo` and `make test`. Everything happens in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two busy processes with two threads each are slower than one: one thread a process, also in the tests.
export OMP_NUM_THREADS ?= 1

.PHONY: demo install test test-slow lint types layers docs check bench clean

demo: $(VENV)/.installed  ## tune a GAN on built-in digits for two minutes; leaves demo/report.html
	$(BIN)/maestune tune gan --data digits --budget 2m --out demo
	@echo "Open demo/report.html"

test: $(VENV)/.installed-dev  ## the tests
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadscope --durations 30

test-slow: $(VENV)/.installed-dev  ## the tests that take minutes
	$(BIN)/python -m pytest -q -m slow --timeout 3600

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .  # what is first-party depends on files that the cache of another does not watch

types: $(VENV)/.installed-dev
	$(BIN)/pyright

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev  ## the tables of hyperparameters and recipes, from the code
	$(BIN)/python docs/generate_tables.py
	$(BIN)/python docs/generate_metrics.py

check: lint types layers test  ## everything that CI checks

bench: $(VENV)/.installed-dev  ## the benchmarks; results go to benchmarks/results
	$(BIN)/python benchmarks/overhead.py

# torch comes first and by its exact version: anything else pulls gigabytes of CUDA packages.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

install: $(VENV)/.installed-dev

clean:
	rm -rf $(VENV) demo runs
