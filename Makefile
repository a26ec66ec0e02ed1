# `make demo` and `make test` set up everything themselves in .venv; they need Python 3.11 or newer, git and make.
# Another Python: `make demo PYTHON=python3.13`. Another place: `make demo VENV=/somewhere`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help demo test soak systemd-test check bench bench-smoke faults faults-long mutants asyncapi strangers docs lock clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV)/.installed  ## a simulated lab makes and measures eight cells
	$(BIN)/labd demo $(ARGS)

test: $(VENV)/.locked  ## all tests, on virtual time, on all cores (ARGS="-k arm" for some)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

soak: $(VENV)/.locked  ## 10,000 polls of every driver, and in full what `make test` tries a part of
	LABD_SOAK=whole $(BIN)/python -m pytest -n auto tests/contract/test_shipped.py -k many_polls $(ARGS)
	LABD_SOAK=whole $(BIN)/python -m pytest -n auto tests/run/test_histories.py tests/run/test_recovery.py \
		tests/run/test_any_protocol.py tests/protocol/test_partial.py -k "TestHistories or cut_at_any_event or whole or misspelt" $(ARGS)

systemd-test: $(VENV)/.locked  ## the systemd unit in a Debian that is booted for it (root, mmdebstrap, systemd-nspawn)
	$(BIN)/python -m tests.deploy.booted $(ARGS)

check: $(VENV)/.locked  ## style, types, directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.locked  ## speeds, one figure a line; JSON under benchmarks/results/
	$(BIN)/python -m benchmarks.all $(ARGS)

bench-smoke: $(VENV)/.locked  ## the same, short: does every figure still come about?
	$(BIN)/python -m benchmarks.all --smoke $(ARGS)

faults: $(VENV)/.locked  ## crashes and faults on purpose, one figure a line
	$(BIN)/python -m benchmarks.faults --jobs 2 $(ARGS)

faults-long: $(VENV)/.locked  ## the same, a night of it
	$(BIN)/python -m benchmarks.faults --jobs 2 --long $(ARGS)
	$(BIN)/python -m tests.run.histories 1000

mutants: $(VENV)/.locked  ## mistakes made on purpose in protocols, and how many are told (ARGS=100 of each kind)
	$(BIN)/python -m tests.protocol.mutants $(ARGS)

asyncapi:  ## the official AsyncAPI parser, for the tests that ask it (node, npm)
	npm ci --prefix tests/asyncapi --no-audit --no-fund

strangers:  ## other people's clients from npm, for the simulators' tests (node, npm)
	npm ci --prefix tests/strangers --ignore-scripts --no-audit --no-fund

docs: $(VENV)/.locked  ## reference pages that are generated: docs/reference/
	$(BIN)/python docs/generate.py

lock: $(VENV)/.locked  ## new locks from pyproject.toml; ARGS=--upgrade for newer versions
	$(PIP) install uv
	$(COMPILE) $(ARGS) pyproject.toml requirements/build.in --extra dev -o requirements/dev.txt
	$(COMPILE) $(ARGS) pyproject.toml requirements/build.in --extra all -c requirements/dev.txt -o requirements/service.txt

clean:  ## takes away what was set up and built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache htmlcov .coverage

# ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────
# The stamps say which pyproject.toml or lock was installed last, so that a second call does nothing.

$(VENV)/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "labd needs Python 3.11 or newer, and there is no $(PYTHON). Name yours: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labd needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Name a newer one: make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) install -e '.[all]'
	@touch $@

$(VENV)/.locked: pyproject.toml requirements/dev.txt | $(VENV)/pyvenv.cfg
	$(PIP) install --no-deps --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed
