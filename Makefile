PYTHON ?= python3
BIN := .venv/bin
COMMON := redis-server redis-sentinel nginx chromium chromium-headless-shell \
	prometheus openssl jq
PROGRAMS := $(COMMON) systemd-analyze systemd-socket-activate
PACKAGES := $(COMMON) systemd
# The tests that need no server, for `make test-pythons`.
QUICK := $(addprefix tests/test_,accounts.py counting.py errors.py sessions.py sharing.py)

.PHONY: run test test-pythons lint format lock programs bench

run: .venv/try
	$(BIN)/python joip_share.py

test: .venv/dev programs
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The quick tests on every supported Python that this machine has.
test-pythons: .venv/dev
	PATH="$$(printf %s: ~/.pyenv/versions/3.*/bin)$$PATH"; \
	for version in 3.11 3.12 3.13 3.14; do \
		! which python$$version || $(BIN)/uv run -q --no-project --isolated \
			--python $$version --with-requirements requirements-dev.lock \
			python -m pytest -q $(QUICK) || exit; \
	done

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: PROGRAMS += wrk npm
bench: PACKAGES += wrk npm
bench: .venv/dev programs
	PYTHONPATH=tests $(BIN)/python -m bench

# All that is installed, with hashes, for Python 3.11 and newer on every system.
lock: .venv/dev
	for name in requirements requirements-try requirements-dev; do \
		$(BIN)/uv pip compile -q --universal --python-version 3.11 \
			--generate-hashes $$name.txt -o $$name.lock || exit; \
	done

.venv/try .venv/dev: .venv/%: requirements-%.lock
	test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| $(call apt,python3-venv)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --require-hashes -r $<
	touch $@

# The programs that the tests start; without root, tests that lack one say so and skip.
programs:
	@which $(PROGRAMS) >/dev/null || test "$$(id -u)" != 0 || $(call apt,$(PACKAGES))

# One after another, also of two makes: apt-get does not wait for its lists.
apt = DEBIAN_FRONTEND=noninteractive flock Makefile sh -ec 'apt-get update -q; \
	apt-get install -q -y --no-upgrade --no-install-recommends $(1)'
