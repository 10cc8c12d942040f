# Needs Python 3.11 or newer and make; everything else comes from PyPI into $(VENV), once.
#   make test PYTHON=python3.12          another interpreter (with VENV=... beside the first)
#   make test ARGS="-k outbox -x"        arguments for pytest
#   make test-postgres DATABASE_URL=...  a PostgreSQL server of yours

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The tests start many processes, which would all compile the same modules.
export PYTHONDONTWRITEBYTECODE :=

VENV ?= .venv
PYTHON ?=
ARGS ?=

# One process of tests more than there are cores: some of the time they wait.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PARALLEL := --numprocesses=$(WORKERS) --dist=worksteal

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

# The versions that are tested, first `python3` itself, then what is newer than those.
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python3.15
TESTED := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

define find_python
found="$(PYTHON)"; \
for check in "$(TESTED)" "$(USABLE)"; do \
  for candidate in $(CANDIDATES); do \
    [ -n "$$found" ] && break 2; \
    if "$$candidate" -c "$$check" >/dev/null 2>&1; then found="$$candidate"; fi; \
  done; \
done; \
if [ -z "$$found" ] || ! "$$found" -c "$(USABLE)"; then \
  echo "Python 3.11 or newer with its venv module is needed and was not found." >&2; \
  echo "Debian and Ubuntu: apt install python3 python3-venv. Or name one: make PYTHON=/path/to/python3.12" >&2; \
  exit 1; \
fi
endef

$(STAMP): requirements.txt
	@$(find_python); \
	if ! "$(BIN)/python" -c "" 2>/dev/null; then \
	  echo "Creating $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv "$(VENV)"; \
	fi
	@echo "Installing the pinned requirements into $(VENV) (once)"
	@# uv takes seconds, but ignores pip's configuration, such as the index of a company.
	@$(PIP) "$$(grep '^uv==' requirements.txt)" \
	  && $(BIN)/uv pip install --quiet --python "$(BIN)/python" -r requirements.txt \
	  || { echo "uv could not install them; pip does"; $(PIP) -r requirements.txt; }
	@touch $@

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1|\2/' \
	  | while IFS='|' read -r target text; do printf '  %-16s %s\n' "$$target" "$$text"; done

.PHONY: install
install: $(STAMP) ## create the virtual environment and install the pinned requirements

.PHONY: demo
demo: $(STAMP) ## real SDKs against a local stub provider, and what was recorded
	$(BIN)/python manage.py demo

.PHONY: serve
serve: $(STAMP) ## the demo, which then stays up: chat page and admin
	$(BIN)/python manage.py demo --serve

.PHONY: check
check: $(STAMP) ## after each edit, within a minute: lint, and the tests that need no process, server or browser
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(PYTEST) --database=sqlite $(PARALLEL) -m "not (process or server or browser or slow or costly)" $(ARGS)

.PHONY: test
test: test-sqlite test-postgres ## before a commit, about five minutes on two cores: SQLite and PostgreSQL

.PHONY: test-sqlite
test-sqlite: $(STAMP) ## the tests on SQLite
	$(PYTEST) --database=sqlite $(PARALLEL) -m "not (browser or costly)" $(ARGS)

.PHONY: test-postgres
test-postgres: $(STAMP) ## the tests of the database on PostgreSQL, psycopg 3 (DATABASE_URL, else a server from pip)
	$(PYTEST) --database=postgres --only-database-tests $(PARALLEL) -m "not (browser or costly or one_driver)" $(ARGS)

# What test-all runs beside the tests above.
PARTS := test-costly-sqlite test-costly-postgres test-psycopg2 test-browser test-sdks test-scenarios

.PHONY: test-all
test-all: test $(PARTS) ## all tests: those above and the parts below, about twenty minutes on two cores

# The files that have such tests: to import all others would take longer than many of these.
COSTLY = $(shell grep -rlE 'mark\.($(1))' --include='test_*.py' \
  --exclude-dir=browser --exclude-dir=scenarios --exclude-dir=sdks tests)

.PHONY: test-costly-sqlite
test-costly-sqlite: $(STAMP) ## whole servers, workers, environments and large data, on SQLite
	$(PYTEST) --database=sqlite $(PARALLEL) -m costly $(ARGS) $(call COSTLY,costly)

.PHONY: test-costly-postgres
test-costly-postgres: $(STAMP) ## the same on PostgreSQL, and whole sites
	$(PYTEST) --database=postgres --only-database-tests $(PARALLEL) -m "costly or one_driver" $(ARGS) $(call COSTLY,costly|one_driver)

.PHONY: test-psycopg2
test-psycopg2: $(STAMP) ## the tests of the database on PostgreSQL, psycopg2
	$(PYTEST) --database=postgres --driver=psycopg2 --only-database-tests $(PARALLEL) -m "not (browser or costly or one_driver)" $(ARGS)

.PHONY: test-browser
test-browser: $(STAMP) ## the pages in a real browser: needs Chromium, says so where it is not
	$(PYTEST) --database=sqlite -m browser $(ARGS) tests/browser

.PHONY: screenshots
screenshots: ## the pictures of docs/, taken by the tests in the browser
	SCREENSHOTS=$(CURDIR)/docs $(MAKE) test-browser ARGS="-k both_themes"

.PHONY: test-matrix
test-matrix: $(STAMP) ## every Python with every Django on every database, and the oldest of all: minutes each (ARGS="--list")
	$(BIN)/nox --session tests floor $(ARGS)

.PHONY: test-sdks
test-sdks: $(STAMP) ## the tests with every SDK, in virtual environments of their own, and docs/sdks.md against them
	$(BIN)/nox $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.sdks.matrix --check)

.PHONY: test-scenarios
test-scenarios: $(STAMP) ## real servers under faults, on PostgreSQL; prints what was lost and what visitors noticed
	$(PYTEST) --database postgres --driver psycopg $(ARGS) tests/scenarios

.PHONY: docs-sdks
docs-sdks: $(STAMP) ## the table of docs/sdks.md, from what the last `test-sdks` has tried
	$(BIN)/python -m tests.sdks.matrix

.PHONY: lock-sdks
lock-sdks: $(STAMP) ## pin the newest releases of the SDKs that the sessions of noxfile.py try
	$(BIN)/nox --session lock

.PHONY: prices
prices: $(STAMP) ## the price table of the package, from the genai-prices that is pinned
	$(BIN)/python -m tools.prices

.PHONY: coverage
coverage: $(STAMP) ## `test` with the coverage of both its runs together
	$(BIN)/coverage erase
	COVERAGE_FILE=.coverage.sqlite $(MAKE) test-sqlite ARGS="--cov --cov-report= $(ARGS)"
	COVERAGE_FILE=.coverage.postgres $(MAKE) test-postgres ARGS="--cov --cov-report= $(ARGS)"
	$(MAKE) coverage-report

.PHONY: coverage-report
coverage-report: $(STAMP)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

.PHONY: lint
lint: $(STAMP) ## ruff, mypy, import contracts, missing migrations, system checks, OpenAPI schema
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

.PHONY: scan
scan: $(STAMP) ## AI call sites of the demo that are not tracked: none but the one that is left so on purpose
	$(BIN)/python manage.py find_uninstrumented project --baseline project/uninstrumented.json --no-cache

.PHONY: audit
audit: $(STAMP) ## known vulnerabilities in what is pinned, from PyPI's advisories
	$(BIN)/nox --session audit $(ARGS)

.PHONY: format
format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(STAMP) ## what is promised beside what is measured, SQLite and PostgreSQL (ARGS=--quick: 3 minutes)
	$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: bench-capture
bench-capture: $(STAMP) ## CPU that capture adds, for each transport
	$(BIN)/python -m benchmarks.capture $(ARGS)

.PHONY: bench-hostile
bench-hostile: $(STAMP) ## what hostile text and hostile answers cost, for each pattern, encoding and stream format
	$(BIN)/python -m benchmarks.hostile $(ARGS)

.PHONY: bench-reports
bench-reports: $(STAMP) ## the commands that read, on a log of a million calls
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.reports $(ARGS)

.PHONY: bench-pages
bench-pages: $(STAMP) ## the pages of the API on a log of a million calls: SQL statements and blocks
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.pages $(ARGS)

.PHONY: bench-admin
bench-admin: $(STAMP) ## the admin's pages, on a log of 100,000 calls and on one of a million
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.admin_pages $(ARGS)

.PHONY: bench-scanner
bench-scanner: $(STAMP) ## a scan of all Python that the virtual environment and its interpreter have
	$(BIN)/python -m benchmarks.scanner $(ARGS)

.PHONY: clean
clean: ## remove what the targets above made, the virtual environment too
	[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf .nox .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build dist .ai_usage_outbox *.sqlite3 *.sqlite3-shm *.sqlite3-wal demo.log
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
