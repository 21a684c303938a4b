# `make demo` shows it, `make test` checks it. Everything made here is under .venv, .cache and build.
PYTHON ?= python3
BIN    := .venv/bin
CHAT   ?=
KAFKA  ?=
SERVICE ?= pypi
MINUTES ?= 10
PEERS  ?=

.DEFAULT_GOAL := help
.PHONY: help up down mysql demo test lint format audit docs pictures bundle bench faults soak clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

.venv/installed: pyproject.toml
	@echo 'making .venv'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/pip install --quiet --editable . --group dev
	@touch $@

up: .venv/installed ## start a private MySQL and Kafka, deploy sql/, write .cache/servers.env
	@$(BIN)/python tests/servers up
	@set -a && . ./.cache/servers.env && $(BIN)/outboxd migrate

down: .venv/installed ## stop what `make up` started
	@$(BIN)/python tests/servers down

mysql: up ## the mysql client on the server of `make up`
	@$(BIN)/python tests/servers mysql

demo: .venv/installed ## chat through the whole outbox: make demo [CHAT=FILE.jsonl] [KAFKA=host:port] [INBOX=1] [CONSOLE=1]
	@$(BIN)/python tests/servers with-mysql -- sh -c '$(if $(CONSOLE),echo "mysql_url: $$OUTBOXD_MYSQL_URL";) exec $(BIN)/outboxd demo "$$@" $(if $(INBOX),--inbox "$$INBOX_MYSQL_URL")' demo \
		$(if $(CHAT),--chat '$(CHAT)') $(if $(KAFKA),--broker '$(KAFKA)') $(if $(CONSOLE),--console)

test: lint ## lint, then all tests, on real servers
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/installed ## ruff, mypy, the layers of the driver, the form of every routine, and whether the docs still say what the code does
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@imports=$$($(BIN)/lint-imports --no-cache --no-logo) || { echo "$$imports"; exit 1; }
	@$(BIN)/python -m tests.sql.conventions
	@$(BIN)/python -m tests.docs --check
	@echo 'lint: clean'

format: .venv/installed ## put the code into ruff's format
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

audit: .venv/installed ## look up known vulnerabilities of all that .venv has: make audit [SERVICE=osv]
	@$(BIN)/pip install --quiet --group audit
	@$(BIN)/pip freeze --exclude-editable | $(BIN)/pip-audit --requirement /dev/stdin --no-deps --disable-pip --strict \
	  --progress-spinner off --vulnerability-service $(SERVICE) \
	  || { echo 'audit: a vulnerability was found, or a package could not be looked up: see above' >&2; exit 1; }

docs: .venv/installed ## write sql/REFERENCE.md and the tables of driver/README.md anew
	@$(BIN)/python -m tests.docs

pictures: .venv/installed ## write the pictures of the console in driver/README.md anew
	@$(BIN)/pytest -q tests/console/test_story.py -k incident && cp build/console/*.png driver/docs

bundle: .venv/installed ## build/outboxd-<version>.sql: the whole schema in one file for the mysql client
	@$(BIN)/python -m outboxd.schema.bundle

bench: .venv/installed ## measure against the floor of plain SQL, or beside other outboxes: make bench [PEERS=1]; a table, build/bench.json and pictures
	@$(BIN)/pip install --quiet --group bench
	@$(BIN)/python -m tests.bench$(if $(PEERS),.peers)

faults: .venv/installed ## all that can break, done to it under load: about three quarters of an hour
	@$(BIN)/python -m tests.faults

soak: .venv/installed ## a steady load with random faults: make soak [MINUTES=10]; fails on growth, writes build/soak.png
	@$(BIN)/pip install --quiet --group bench
	@$(BIN)/python -m tests.soak --minutes $(MINUTES)

clean: down ## remove all that was made here, downloads included
	rm -rf .venv .cache build dist
