# One-word goals; `make` alone lists them. Everything is installed into .venv and build, nothing elsewhere.

VENV := .venv
BIN := $(VENV)/bin
PURE := $(CURDIR)/build/pure
SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c '$(SUITABLE)' 2>/dev/null && echo $$name && break; done)
# One at a time to each: a worker that is sent many before they are due keeps slow ones from the others.
PARALLEL = -n $(WORKERS) --maxschedchunk=1
FUZZ_SECONDS ?= 60
# Twice the processors: half of the tests wait for other programs most of the time.
WORKERS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))

# An editable install runs the Python files as they are; what is compiled has to be built again when it changes.
COMPILED := $(shell find src -name '*.pyx' -o -name '*.pxd') \
	$(wildcard $(patsubst %.pxd,%.py,$(shell find src -name '*.pxd')))
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

# Tests of what is compiled, and of gateways made of it in one process: they run again on the uncompiled code.
BOTH_WAYS := span websocket transports services flow test_gateway.py

# The package as it is without a compiler.
COPY_PURE = @rm -rf $(PURE) && mkdir -p $(PURE) && cp -R src/isthmus $(PURE)/ && find $(PURE) -name '*.so' -delete

.PHONY: help setup demo test check fuzz bench dist format clean
.DELETE_ON_ERROR:

help: ## list these goals
	@echo "make GOAL, where GOAL is one of"
	@sed -n 's/^\([a-z]*\):.* ## /  \1	/p' Makefile | expand -t 12

setup: $(VENV)/isthmus.stamp ## install isthmus into .venv (PYTHON=python3.12 chooses the Python)
ifneq ($(origin PYTHON),file)
	@[ "$$($(BIN)/python -c 'import sys; print(sys.version)')" = "$$($(PYTHON) -c 'import sys; print(sys.version)')" ] \
	|| { echo "$(VENV) has another Python than $(PYTHON): make clean first" >&2; exit 1; }
endif
	@$(BIN)/isthmus version

demo: $(VENV)/isthmus.stamp ## two gateways and an echo server on this machine, each step told
	@$(BIN)/python demo/demo.py

test: $(VENV)/test.stamp ## all tests, then those of compiled modules again on the uncompiled code
	$(BIN)/python -m pytest $(PARALLEL) $(ARGUMENTS)
	$(COPY_PURE)
	ISTHMUS_EXPECT=pure ISTHMUS_LOOPS=isthmus PYTHONPATH=$(PURE) $(BIN)/python -m pytest $(PARALLEL) \
		$(BOTH_WAYS:%=tests/%) $(ARGUMENTS)

check: $(VENV)/check.stamp ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

fuzz: $(VENV)/fuzz.stamp ## hostile bytes to the protocols, for FUZZ_SECONDS (60)
	$(COPY_PURE)
	PYTHONPATH=$(PURE) $(BIN)/python fuzz/run.py $(FUZZ_SECONDS) build/fuzz

bench: $(VENV)/test.stamp ## speed, as ratios to two haproxy hops, and of datagrams to two socat hops
	$(BIN)/python bench/run.py $(ARGUMENTS)
	$(BIN)/python bench/udp.py

dist: $(VENV)/test.stamp ## source distribution and wheels, into dist
	$(BIN)/python release/build.py dist

format: $(VENV)/check.stamp ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove all that was made here
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "isthmus needs Python 3.11 or later. On Debian: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c '$(SUITABLE)' || { echo "$(PYTHON) is not Python 3.11 or later" >&2; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	else echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; exit 1; fi

$(VENV)/isthmus.stamp: pyproject.toml setup.py $(COMPILED) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/test.stamp $(VENV)/check.stamp: $(VENV)/%.stamp: $(VENV)/isthmus.stamp
	@mkdir -p build
	@$(BIN)/python release/extras.py test check > build/extras.txt
	$(INSTALL) --requirement build/extras.txt
	@touch $(VENV)/test.stamp $(VENV)/check.stamp

$(VENV)/fuzz.stamp: $(VENV)/isthmus.stamp
	@mkdir -p build
	@$(BIN)/python release/extras.py fuzz > build/fuzz.txt
	$(INSTALL) --requirement build/fuzz.txt
	@touch $@
