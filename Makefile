# `make run` and `make test` do everything, set-up included.
# Needs Python 3.11 or newer, make and git.
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: run test check bench soak install install-aws format generate clean
.DEFAULT_GOAL := run

run: .venv/base.stamp
	@exec $(PY) local_server.py

install: .venv/base.stamp

install-aws: .venv/aws.stamp

.venv/base.stamp: requirements/base.txt requirements/uv.txt scripts/install.sh
	@PYTHON=$(PYTHON) sh scripts/install.sh base

.venv/aws.stamp: requirements/aws.txt requirements/uv.txt scripts/install.sh
	@PYTHON=$(PYTHON) sh scripts/install.sh aws

.venv/dev.stamp: requirements/dev.txt requirements/uv.txt scripts/install.sh
	@PYTHON=$(PYTHON) sh scripts/install.sh dev

# Compiled test modules are kept, whatever the caller's shell says: a process compiles them for 8 s.
test: .venv/dev.stamp
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n auto --dist worksteal -q

check: .venv/dev.stamp
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) scripts/generate.py --check

format: .venv/dev.stamp
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

generate: .venv/dev.stamp
	$(PY) scripts/generate.py

bench: .venv/dev.stamp
	$(PY) -m bench

soak: .venv/dev.stamp
	$(PY) -m pytest -q -m soak --override-ini addopts="--strict-markers --import-mode=importlib -p no:cacheprovider" --timeout 3600

clean:
	rm -rf .venv var
