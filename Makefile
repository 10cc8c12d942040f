# Needs Python 3.11 or newer and make. Installs everything else from PyPI into $(VENV), once.
#   make test PYTHON=python3.12          use another interpreter (with VENV=... to keep both)
#   make test ARGS="-k outbox -x"        pass arguments to pytest
#   make test-postgres DATABASE_URL=...  use your own PostgreSQL server

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The tests start many processes; without bytecode, each would compile the same modules.
export PYTHONDONTWRITEBYTECODE :=

VENV ?= .venv
PYTHON ?=
ARGS ?=

# One more process than cores, because tests wait some of the time.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PARALLEL := --numprocesses=$(WORKERS) --dist=worksteal

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

# Tested versions, `python3` first, and then newer versions.
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
  echo "Python 3.11 or newer with the venv module was not found." >&2; \
  echo "On Debian and Ubuntu, run: apt install python3 python3-venv. Or name an interpreter: make PYTHON=/path/to/python3.12" >&2; \
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
	@# uv is fast, but ignores pip's configuration, such as a company index.
	@$(PIP) "$$(grep '^uv==' requirements.txt)" \
	  && $(BIN)/uv pip install --quiet --python "$(BIN)/python" -r requirements.txt \
	  || { echo "uv failed; installing with pip"; $(PIP) -r requirements.txt; }
	@touch $@

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1|\2/' \
	  | while IFS='|' read -r target text; do printf '  %-20s %s\n' "$$target" "$$text"; done

.PHONY: install
install: $(STAMP) ## create the virtual environment and install the pinned requirements

.PHONY: demo
demo: $(STAMP) ## run real SDKs with a local stub provider, and verify what was recorded
	$(BIN)/python manage.py demo

.PHONY: serve
serve: $(STAMP) ## run the demo and keep it running: chat page and admin
	$(BIN)/python manage.py demo --serve

.PHONY: check
check: $(STAMP) ## lint, and tests without a process, server or browser: after each edit, within a minute
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy
	$(PYTEST) --database=sqlite $(PARALLEL) -m "not (process or server or browser or slow or costly)" $(ARGS)

.PHONY: test
test: test-sqlite test-postgres ## tests on SQLite and PostgreSQL: before a commit, about five minutes on two cores

.PHONY: test-sqlite
test-sqlite: $(STAMP) ## tests on SQLite
	$(PYTEST) --database=sqlite $(PARALLEL) -m "not (browser or costly)" $(ARGS)

.PHONY: test-postgres
test-postgres: $(STAMP) ## database tests on PostgreSQL with psycopg 3 (DATABASE_URL, or a server from pip)
	$(PYTEST) --database=postgres --only-database-tests $(PARALLEL) -m "not (browser or costly or one_driver)" $(ARGS)

# Additional parts of test-all.
PARTS := test-costly-sqlite test-costly-postgres test-psycopg2 test-browser test-sdks test-scenarios

.PHONY: test-all
test-all: test $(PARTS) ## all tests above and below, except test-matrix: about twenty minutes on two cores

# Only files with such tests, because importing all others takes longer than many of them.
COSTLY = $(shell grep -rlE 'mark\.($(1))' --include='test_*.py' \
  --exclude-dir=browser --exclude-dir=scenarios --exclude-dir=sdks tests)

.PHONY: test-costly-sqlite
test-costly-sqlite: $(STAMP) ## tests with servers, workers, environments and large data, on SQLite
	$(PYTEST) --database=sqlite $(PARALLEL) -m costly $(ARGS) $(call COSTLY,costly)

.PHONY: test-costly-postgres
test-costly-postgres: $(STAMP) ## the same on PostgreSQL, and tests of whole sites
	$(PYTEST) --database=postgres --only-database-tests $(PARALLEL) -m "costly or one_driver" $(ARGS) $(call COSTLY,costly|one_driver)

.PHONY: test-psycopg2
test-psycopg2: $(STAMP) ## database tests on PostgreSQL with psycopg2
	$(PYTEST) --database=postgres --driver=psycopg2 --only-database-tests $(PARALLEL) -m "not (browser or costly or one_driver)" $(ARGS)

.PHONY: test-browser
test-browser: $(STAMP) ## pages in a real browser: needs Chromium, and reports if it is missing
	$(PYTEST) --database=sqlite -m browser $(ARGS) tests/browser

.PHONY: screenshots
screenshots: ## take the screenshots of docs/, with the browser tests
	SCREENSHOTS=$(CURDIR)/docs $(MAKE) test-browser ARGS="-k both_themes"

.PHONY: pictures
pictures: $(STAMP) ## pictures of each admin page with 180,000 calls, and their faults (ARGS="--theme unfold")
	$(BIN)/python -m tools.pictures $(or $(PICTURES),pictures) $(ARGS)

.PHONY: test-matrix
test-matrix: $(STAMP) ## each Python with each Django on each database, and the oldest releases: minutes each (ARGS="--list")
	$(BIN)/nox --session tests floor $(ARGS)

.PHONY: test-sdks
test-sdks: $(STAMP) ## tests with every SDK, in separate virtual environments; compares docs/sdks.md
	$(BIN)/nox $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.sdks.matrix --check)

.PHONY: test-scenarios
test-scenarios: $(STAMP) ## real servers under faults, on PostgreSQL; prints lost calls and client errors
	$(PYTEST) --database postgres --driver psycopg $(ARGS) tests/scenarios

.PHONY: docs-prices
docs-prices: $(STAMP) ## write the table of docs/prices.md from the published prices in the tests
	$(BIN)/python -m tools.published_prices

.PHONY: docs-sdks
docs-sdks: $(STAMP) ## write the tables of docs/sdks.md: the lists of methods, the last test-sdks
	$(BIN)/python -m tests.sdks.method_list
	$(BIN)/python -m tests.sdks.matrix

.PHONY: lock-sdks
lock-sdks: $(STAMP) ## pin the newest SDK releases for the sessions of noxfile.py
	$(BIN)/nox --session lock

.PHONY: prices
prices: $(STAMP) ## write the price table from the pinned genai-prices
	$(BIN)/python -m tools.prices

.PHONY: coverage
coverage: $(STAMP) ## `make test` with the combined coverage of both databases
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
scan: $(STAMP) ## find untracked AI calls in the demo; one is left untracked on purpose
	$(BIN)/python manage.py find_uninstrumented project --baseline project/uninstrumented.json --no-cache

.PHONY: audit
audit: $(STAMP) ## find known vulnerabilities in pinned packages (PyPI advisories)
	$(BIN)/nox --session audit $(ARGS)

.PHONY: dist
dist: $(STAMP) ## build the package into dist/ and check it as PyPI does
	$(BIN)/nox --session dist

.PHONY: format
format: $(STAMP) ## fix and format the code with ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(STAMP) ## targets and measured values on SQLite and PostgreSQL (ARGS=--quick: 3 minutes)
	$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: bench-capture
bench-capture: $(STAMP) ## CPU that capture adds, per transport
	$(BIN)/python -m benchmarks.capture $(ARGS)

.PHONY: bench-sockets
bench-sockets: $(STAMP) ## CPU that capture adds to a message of a websocket
	$(BIN)/python -m benchmarks.sockets $(ARGS)

.PHONY: bench-pricing
bench-pricing: $(STAMP) ## time to price a call
	$(BIN)/python -m benchmarks.pricing $(ARGS)

.PHONY: bench-hostile
bench-hostile: $(STAMP) ## cost of hostile text and answers, per pattern, encoding and stream format
	$(BIN)/python -m benchmarks.hostile $(ARGS)

.PHONY: bench-reports
bench-reports: $(STAMP) ## commands that read, on a log of a million calls
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.reports $(ARGS)

.PHONY: bench-reprice
bench-reprice: $(STAMP) ## reprice_ai_usage on a log of 100,000 calls, beside writers
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.reprice $(ARGS)

.PHONY: bench-pages
bench-pages: $(STAMP) ## API pages on a log of a million calls: SQL statements and blocks
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.pages $(ARGS)

.PHONY: bench-billing
bench-billing: $(STAMP) ## a billing job over HTTP, on a month of a million calls
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.billing $(ARGS)

.PHONY: bench-admin
bench-admin: $(STAMP) ## admin pages, on logs of 100,000 and a million calls
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.admin_pages $(ARGS)

.PHONY: bench-exports
bench-exports: $(STAMP) ## exports of a million calls through gunicorn, and one whose database connection ends
	DATABASE_URL= $(BIN)/python -m tests.databases $(BIN)/python -m benchmarks.exports $(ARGS)

.PHONY: bench-scanner
bench-scanner: $(STAMP) ## scan of all Python code in the virtual environment and its interpreter
	$(BIN)/python -m benchmarks.scanner $(ARGS)

.PHONY: clean
clean: ## remove everything that these targets created, including the virtual environment
	[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf .nox .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build dist .ai_usage_outbox *.sqlite3 *.sqlite3-shm *.sqlite3-wal demo.log
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
