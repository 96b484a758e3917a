# Every target sets up what it needs. `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test check lab build doctor env system clean

demo: $(READY)
	coursekit demo

test: $(READY) system
	ruff check .
	ruff format --check .
	mypy
	pytest

check: $(READY)
	ruff check .
	ruff format --check .
	mypy
	pytest -m "not slow"

lab: $(READY)
	coursekit lab

build: $(READY)
	coursekit build

doctor: $(READY)
	coursekit doctor

env: $(READY)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Programs that pip cannot bring: a browser for the browser tests. Installed where root or sudo allows it;
# elsewhere the tests that need it are skipped and say so.
CHROMIUM = command -v chromium || command -v chromium-browser || command -v google-chrome
system:
	@if { $(CHROMIUM); } >/dev/null; then :; \
	elif ! command -v apt-get >/dev/null; then echo "No Chromium: the browser tests will be skipped (README, 'System packages')."; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq chromium; \
	elif sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo apt-get install -y -qq chromium; \
	else echo "No Chromium and no right to install it: the browser tests will be skipped (README, 'System packages')."; fi

clean:
	rm -rf $(VENV) build demo
