# Everything a contributor does, on a fresh clone with nothing but Python (3.10 or later) and make.

# The first of these that is Python 3.10 or later; name another one by `make PYTHON=… venv`.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.10,\
  $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check
COMPANIES ?= 200
USERS ?= 5000
TESTS ?= tests
WORKERS ?= 2

# worksteal: the worker that is done takes tests over from the other, so that both end together.
PARALLEL = --numprocesses $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help venv test test-fast test-lowest test-newest test-product fault-table lint check house docs bench demo up down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/ready ## an environment of its own in .venv (made by the other targets too)

# The provider for MySQL and MariaDB asks for a driver that has to be compiled; PyMySQL, which doesn't, serves as well.
# Where the compiled one can be had, the tests run on both.
$(VENV)/ready: pyproject.toml .ci/constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.10 or later found: install one, or name it by make PYTHON=…"; exit 2; }
	@echo "Making $(VENV) with $(PYTHON) (a minute or two, once) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) --constraint .ci/constraints.txt --editable '.[dev,docs]'
	@$(BIN)/python $(PIP) --constraint .ci/constraints.txt --no-deps apache-airflow-providers-mysql
	@$(BIN)/python $(PIP) --constraint .ci/constraints.txt mysqlclient \
	  > /dev/null 2>&1 || echo "mysqlclient can't be compiled here (no MariaDB headers): the tests of that driver are skipped"
	@touch $@

# A real Airflow is several processes, which need the cores for themselves: its tests come after the others, in a pytest
# of their own. pytest ends with 0 when all passed, 1 when some failed and 5 when there was none to run; after anything
# else (2 is Ctrl-C, 4 a folder that isn't there) nothing more is tried.
test: $(VENV)/ready ## all tests, WORKERS=2 at once; those of databases that don't run here are skipped, with a reason
	@$(BIN)/python -m pytest $(PARALLEL) -m "not scheduler and not product" $(TESTS); others=$$?; \
	case $$others in 0|1|5) ;; *) exit $$others ;; esac; \
	$(BIN)/python -m pytest -m scheduler $(TESTS); airflow=$$?; \
	case $$others,$$airflow in 0,5) ;; 1,*) exit 1 ;; *) exit $$airflow ;; esac

# Three on two cores: much of what these tests take is waiting.
test-fast: WORKERS = 3
test-fast: $(VENV)/ready ## the tests that need no database server and no Airflow scheduler: two minutes at most
	@$(BIN)/python -m pytest $(PARALLEL) -m "not scheduler and not databases and not product" $(TESTS)

# The lowest release that pyproject.toml allows of every library that it names; what those need in turn is pinned.
$(VENV)-lowest/ready: pyproject.toml .ci/constraints-lowest.txt .ci/lowest
	@echo "Making $(VENV)-lowest with $(PYTHON) (a minute or two, once) …"
	@$(PYTHON) -m venv --clear $(VENV)-lowest
	@$(VENV)-lowest/bin/python $(PIP) --no-deps --editable .
	@$(VENV)-lowest/bin/python .ci/lowest > $(VENV)-lowest/bounds.txt
	@$(VENV)-lowest/bin/python $(PIP) --constraint $(VENV)-lowest/bounds.txt --constraint .ci/constraints-lowest.txt \
	  --editable '.[dev]'
	@$(VENV)-lowest/bin/python $(PIP) --constraint $(VENV)-lowest/bounds.txt --no-deps apache-airflow-providers-mysql
	@touch $@

test-lowest: WORKERS = 3
test-lowest: $(VENV)-lowest/ready ## test-fast with the lowest versions that pyproject.toml allows
	@$(VENV)-lowest/bin/python -m pytest $(PARALLEL) -m "not scheduler and not databases and not product" $(TESTS)

# Made anew each time: what was newest yesterday tells nothing.
test-newest: WORKERS = 3
test-newest: ## test-fast with the newest versions that there are, and which they are
	@echo "Making $(VENV)-newest with $(PYTHON) (a minute or two) …"
	@$(PYTHON) -m venv --clear $(VENV)-newest
	@$(VENV)-newest/bin/python $(PIP) --editable '.[dev]'
	@$(VENV)-newest/bin/python $(PIP) --no-deps apache-airflow-providers-mysql
	@sed 's/ ;.*//' .ci/constraints.txt > $(VENV)-newest/pins.txt
	@echo "Others than in .ci/constraints.txt:" $$($(VENV)-newest/bin/python -m pip freeze --exclude-editable \
	  | grep -v -i -x -F -f $(VENV)-newest/pins.txt || echo none)
	@$(VENV)-newest/bin/python -m pytest $(PARALLEL) -m "not scheduler and not databases and not product" $(TESTS)

# Another product's own release, for its migrations, which take a minute for each of its databases: a worker for each.
# Nothing of it is in this repository. It needs Python 3.11.
$(VENV)-pretix/ready:
	@echo "Making $(VENV)-pretix with $(PYTHON) (half a minute, once) …"
	@$(PYTHON) -m venv --clear $(VENV)-pretix
	@$(VENV)-pretix/bin/python $(PIP) pretix==2026.8.0
	@touch $@

test-product: $(VENV)/ready $(VENV)-pretix/ready ## weeks in the life of a real product (pretix), on PostgreSQL and SQLite
	@HALO_TEST_PRETIX_PYTHON=$(VENV)-pretix/bin/python $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup \
	  -m product $(TESTS)/products

fault-table: $(VENV)/ready ## what each fault of Halo or the network costs, in calls, as a table
	@$(BIN)/python -m pytest -q -s $(TESTS)/faults

lint: $(VENV)/ready ## style, types, layers, complexity and size of functions, files and README
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/house.py --check

# The quickest tests of each of the lower rooms: they need no server and no Airflow.
check: $(VENV)/ready ## what one runs after every few lines: lint, and the quickest tests, in 20 seconds
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -q $(PARALLEL) $(TESTS)/records $(TESTS)/plan/test_loader.py $(TESTS)/api/test_responses.py

house: $(VENV)/ready ## the package's structure in figures; AT=another checkout
	@$(BIN)/python .ci/house.py $(if $(AT),--at $(AT))

bench: $(VENV)/ready ## what it costs and saves, in five minutes; ARGS="--quick", "--full", "--only ledger,peers"
	@$(BIN)/python -m benchmarks.run $(ARGS)

docs: $(VENV)/ready ## the documentation, in docs/_build/index.html; a warning is an error
	@$(BIN)/python docs/generate.py
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build
	@echo "See docs/_build/index.html"

demo: $(VENV)/ready ## a real Airflow brings 200 companies to the sandbox, four minutes at most; COMPANIES=…, USERS=…
	@$(BIN)/python -m demo run --companies $(COMPANIES) --users $(USERS)

up: $(VENV)/ready ## the same, left running: Airflow's UI and the sandbox's page to look around
	@$(BIN)/python -m demo up --companies $(COMPANIES) --users $(USERS)

down: $(VENV)/ready ## stop what `make up` left running
	@$(BIN)/python -m demo down

clean: ## remove what the targets made: environments, .demo, dist, docs/_build, caches
	@test ! -x $(BIN)/python -o ! -d .demo || $(BIN)/python -m demo down
	@rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest $(VENV)-pretix .demo dist build docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
