# Each target sets up .venv by itself. PYTHON=python3.12 make ... takes another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test test-browser lowest lint bench docs clean

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
	test ! -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --quiet -m "not browser" --durations=10 --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The page of `vocseg serve` in Debian's Chromium, which is installed if it is missing and this is root.
test-browser: $(INSTALLED)
	@command -v chromium > /dev/null || { test "$$(id -u)" = 0 \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium > /dev/null; } \
	  || { echo "the tests of the page need Chromium; on Debian and Ubuntu: apt install chromium"; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/pytest --quiet -m browser tests/browser

# The lowest versions that pyproject.toml allows, in an environment of their own, run the verbs, the API and the export.
lowest:
	$(PYTHON) -m venv .venv-lowest
	grep -oE '"[a-z0-9-]+>=[0-9.]+"' pyproject.toml | tr -d '"' | sed 's/>=/==/' > .venv-lowest/lowest.txt
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check --constraint .venv-lowest/lowest.txt --editable '.[lowest]'
	.venv-lowest/bin/pytest --quiet -m "not slow" tests/cli tests/export tests/inference tests/models tests/ops tests/test_api.py

bench: $(INSTALLED)
	$(BIN)/vocseg bench vocseg-s
	$(BIN)/vocseg bench lraspp_mobilenet_v3_large
	$(BIN)/vocseg bench deeplabv3_mobilenet_v3_large

docs: $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/sphinx-build -q docs docs/_build

clean:
	rm -rf .venv .venv-lowest demo build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
