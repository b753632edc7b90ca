# `make demo` and `make test` need Python 3.11 or later, make and a package registry; nothing else.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
LOCKS := requirements/demo.txt requirements/dev.txt requirements/sinks.txt requirements/browser.txt

.PHONY: help setup demo test test-sinks test-image test-browser screenshots prove soak hosts mutants check fix bench docs \
	lock clean

help:
	@echo 'make demo    a real batch on this machine, with a stand-in for the provider'
	@echo 'make test    the tests, as CI runs them'
	@echo 'make test-sinks  object stores, PostgreSQL, Parquet, and what is in deploy/, against real servers that come as packages'
	@echo 'make test-image  what the Dockerfile does, without Docker'
	@echo 'make test-browser  the pages in a headless Chromium, which is installed if there is none'
	@echo 'make screenshots   take the pictures in docs/images anew'
	@echo 'make prove   every crash, and every pair of them, on the virtual clock: 6 minutes'
	@echo 'make soak    kill everything, 200 times, and count what was paid (SEED=N repeats, EVIDENCE=DIR keeps)'
	@echo 'make hosts   three machines, cut off for a minute each and killed, around one Redis: 10 minutes (SEED=N, EVIDENCE=DIR)'
	@echo 'make mutants plant bugs and see that the tests catch each (ONLY=NAME; WRITE=1 puts the table into the docs)'
	@echo 'make check   formatting, types, import rules, docs'
	@echo 'make fix     format and mend what can be mended by a tool'
	@echo 'make bench   measure, and print tables (PART=pace or several; LONG=1 takes longer; WRITE=1 keeps them in RESULTS.md)'
	@echo 'make docs    write the generated parts of the docs anew'
	@echo 'make lock    lock the dependencies anew (needs uv)'

setup: .venv/.dev

demo: .venv/.demo
	@$(BIN)/python -m cli.demo

test: .venv/.dev
	$(BIN)/python -m pytest -n 3 --dist worksteal tests --ignore tests/sinks --ignore tests/browser --ignore tests/deploy

test-sinks: .venv/.sinks
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/sinks tests/deploy

test-image: .venv/.sinks
	$(BIN)/python -m tests.deploy.image

test-browser: .venv/.browser
	$(BIN)/python -m pytest tests/browser

screenshots: .venv/.browser
	$(BIN)/python -m pytest -q tests/browser --screenshots docs/images

prove: .venv/.dev
	$(BIN)/python -m tests.prove

soak: .venv/.dev
	$(BIN)/python -m tests.soak --kills 200 $(if $(SEED),--seed $(SEED)) $(if $(EVIDENCE),--evidence $(EVIDENCE))

hosts: .venv/.dev
	$(BIN)/python -m tests.hosts $(if $(SEED),--seed $(SEED)) $(if $(EVIDENCE),--evidence $(EVIDENCE))

mutants: .venv/.dev
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)") $(if $(WRITE),--write)

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.check

fix: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev
	$(BIN)/python -m benchmarks $(PART) $(if $(LONG),--long) $(if $(WRITE),--write) \
		--typed "make bench$(if $(PART), PART='$(strip $(PART))')$(if $(LONG), LONG=1)$(if $(WRITE), WRITE=1)"

docs: .venv/.dev
	$(BIN)/python -m docs.generate

lock:
	uv pip compile pyproject.toml --extra embedded --extra sandbox --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/demo.txt
	uv pip compile pyproject.toml --extra embedded --extra sandbox --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/dev.txt
	uv pip compile pyproject.toml --extra embedded --extra sandbox --extra dev --extra dev-sinks --universal \
		--python-version 3.11 --constraint requirements/dev.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/sinks.txt
	uv pip compile pyproject.toml --extra embedded --extra sandbox --extra dev --extra dev-browser --universal \
		--python-version 3.11 --constraint requirements/dev.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/browser.txt
	uv pip compile pyproject.toml --universal --python-version 3.11 --constraint requirements/sinks.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/image.txt
	uv pip compile pyproject.toml --extra objectstore --extra parquet --extra postgres --universal \
		--python-version 3.11 --constraint requirements/sinks.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/image-drivers.txt

clean:
	rm -rf .venv .bootstrap .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A Debian without python3-venv makes no environments; virtualenv does, and can be had without touching the system.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo 'paceline needs Python 3.11 or later; name one with: make PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) -m venv .venv 2>/dev/null || { rm -rf .venv; \
		$(PYTHON) -m pip install -q --target .bootstrap virtualenv && PYTHONPATH=.bootstrap $(PYTHON) -m virtualenv -q .venv; }

# Everything comes from the lock with its hash; the project itself and its build backend without dependencies.
.venv/.demo: .venv/bin/python requirements/demo.txt pyproject.toml
	@test -e .venv/.dev || { echo 'Installing the dependencies …'; \
		$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/demo.txt && \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .; }
	@touch $@

.venv/.dev: .venv/bin/python requirements/dev.txt pyproject.toml
	@echo 'Installing the dependencies, with those for tests …'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

.venv/.sinks: .venv/.dev requirements/sinks.txt
	@echo 'Installing what the tests of object stores and databases need …'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/sinks.txt
	@touch $@

.venv/.browser: .venv/.dev requirements/browser.txt
	@echo 'Installing what the tests in a browser need …'
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/browser.txt
	@$(BIN)/python -m tests.browser.chromium
	@touch $@
