# `make demo` shows it, `make test` checks it. Everything made here is under .venv, .cache and build.
PYTHON ?= python3
BIN    := .venv/bin
CHAT   ?=
KAFKA  ?=

.DEFAULT_GOAL := help
.PHONY: help up down demo test lint format clean

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
	@$(BIN)/python -m tests.servers up
	@set -a && . ./.cache/servers.env && $(BIN)/outboxd migrate

down: .venv/installed ## stop what `make up` started
	@$(BIN)/python -m tests.servers down

demo: .venv/installed ## chat through the whole outbox: make demo [CHAT=FILE.jsonl] [KAFKA=host:port]
	@$(BIN)/python -m tests.servers with-mysql -- $(BIN)/outboxd demo $(if $(CHAT),--chat '$(CHAT)') $(if $(KAFKA),--broker '$(KAFKA)')

test: lint ## lint, then all tests, on real servers
	@$(BIN)/pytest

lint: .venv/installed ## ruff, mypy
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy --no-error-summary && echo 'lint: clean'

format: .venv/installed ## put the code into ruff's format
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

clean: down ## remove all that was made here, downloads included
	rm -rf .venv .cache build dist
