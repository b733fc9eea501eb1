# Two commands: `make demo` and `make test`. Both make .venv first; later calls reuse it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check clean help

help:
	@echo "make demo   install into .venv and run the demo study (report in .dlas/)"
	@echo "make test   install into .venv and run checks and tests"
	@echo "make check  ruff and mypy only"
	@echo "make clean  remove .venv (the store .dlas stays)"

demo: $(READY)
	$(BIN)/dlas run studies/demo.toml

test: $(READY) check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "dlas needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "this Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || \
	  { echo "dlas needs a C compiler to link compiled networks; on Debian and Ubuntu: apt-get install gcc"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $(READY)

clean:
	rm -rf .venv
