PY := .venv/bin/python

.PHONY: run test lint
.venv/dev: requirements.txt requirements-dev.txt
	python3 -m venv .venv
	.venv/bin/pip install -q -r requirements-dev.txt
	touch $@

run: .venv/dev
	$(PY) joip_share.py

test: .venv/dev
	$(PY) -m pytest tests

lint: .venv/dev
	.venv/bin/ruff check joip_share.py
