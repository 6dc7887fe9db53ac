PYTHON ?= python3
BIN := .venv/bin
SERVERS := redis-server redis-sentinel nginx chromium

.PHONY: run test lint servers bench bench-scale

run: .venv/run
	$(BIN)/python joip_share.py

test: .venv/dev servers
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/dev
	$(BIN)/python bench/bench.py

bench-scale: .venv/dev
	$(BIN)/python bench/scale.py

# A virtual environment each purpose needs, made again when its requirements change.
.venv/run: requirements.txt
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call apt,python3-venv)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r $<
	touch $@

.venv/dev: requirements-dev.txt .venv/run
	$(BIN)/pip install -q -r $<
	touch $@

# The servers that the tests start; without root, tests that lack one say so and skip.
servers:
	@which $(SERVERS) >/dev/null || test "$$(id -u)" != 0 || { $(call apt,$(SERVERS)); }

apt = { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends $(1); }
