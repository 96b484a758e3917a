# Every target sets up what it needs. `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# For `coursekit`, and for alembic, which nbgrader looks for on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test check lab build doctor env sandbox system clean
.PHONY: bench bench-attacks bench-training bench-robust bench-certified bench-grading

demo: $(READY) sandbox
	coursekit demo

test: system check
	pytest -m slow -n auto --dist loadfile

check: $(READY) sandbox
	ruff check .
	ruff format --check .
	mypy
	pytest -m "not slow" -n auto --dist worksteal

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

# Figures for the README, on an idle machine; see benchmarks/README.md. For instance `make bench-attacks ARGS=--write`.
bench: bench-attacks bench-training bench-robust bench-certified bench-grading

bench-attacks: $(VENV)/peers
	python -m benchmarks.attacks $(ARGS)

bench-training: $(READY)
	python -m benchmarks.training $(ARGS)

bench-robust: $(VENV)/peers
	python -m benchmarks.robust_models $(ARGS)

bench-certified: $(READY)
	python -m benchmarks.certified $(ARGS)

bench-grading: $(READY) sandbox
	python -m benchmarks.grading $(ARGS)

# Two libraries to compare with whose demands cannot be met (an old `requests`, an old `setuptools`) and are not needed.
$(VENV)/peers: $(READY)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps torchattacks==3.5.1 'adv-lib>=0.2.8'; \
		then touch $@; else echo "torchattacks and adv-lib could not be installed: measuring without them."; fi

# Programs that pip cannot bring: bubblewrap for the sandbox of grading; Chromium for the browser tests, PostgreSQL's
# server for the tests of gradebooks on one. Installed where root or sudo allows it; elsewhere what needs them says so.
define INSTALL
if [ "$$(id -u)" = 0 ]; then sudo=""; else sudo="sudo -n"; fi; \
if [ -z "$$missing" ]; then :; \
elif command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing; \
else echo "Not here, and no right to install it: $$missing. README, 'System packages', says what needs it."; fi
endef
CHROMIUM = command -v chromium || command -v chromium-browser || command -v google-chrome
POSTGRESQL = command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb

sandbox:
	@missing=""; \
	command -v bwrap >/dev/null || missing="bubblewrap"; \
	$(INSTALL)

system: sandbox
	@missing=""; \
	{ $(CHROMIUM); } >/dev/null || missing="chromium"; \
	[ -n "$$({ $(POSTGRESQL); } 2>/dev/null)" ] || missing="$$missing postgresql"; \
	$(INSTALL)

clean:
	rm -rf $(VENV) build demo
