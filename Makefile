# Each target sets up .venv by itself. PYTHON=python3.12 make ... takes another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test lint bench docs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "vocseg needs Python 3.11 or newer; try PYTHON=python3.12 make"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "installing into .venv (torch is large; a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/vocseg demo --out demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --quiet --durations=10

bench: $(INSTALLED)
	$(BIN)/vocseg bench vocseg-s
	$(BIN)/vocseg bench lraspp_mobilenet_v3_large
	$(BIN)/vocseg bench deeplabv3_mobilenet_v3_large

docs: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/sphinx-build -q docs docs/_build

clean:
	rm -rf .venv demo build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
