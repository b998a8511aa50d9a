# Everything happens in .venv; constraints.txt pins every dependency, the build backend included.
VENV := .venv
PY := $(VENV)/bin/python
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-slow test-pure test-members check proto bench clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | sort

setup: $(VENV)/.installed ## the environment, with everything needed to develop

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q -e '.[dev]'
	touch $@

demo: setup ## the main job: a consortium on this machine, real tables, exact totals
	$(VENV)/bin/heji demo

# what opens no socket beside what does, on two cores: half the time
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test: setup ## the everyday tests
	$(MAKE) --no-print-directory -j2 $(SYNC) test-pure test-members WHICH='not slow'

test-slow: setup ## what takes minutes: the command line as processes, kill -9 at every step, thousands of random queries
	$(MAKE) --no-print-directory -j2 $(SYNC) test-pure test-members WHICH='slow'

test-pure:
	$(PY) -m pytest -m '$(WHICH)' tests/mpc tests/tpch

test-members:
	$(PY) -m pytest -m '$(WHICH)' tests --ignore=tests/mpc --ignore=tests/tpch

check: setup ## lint, types, layers, generated code
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(MAKE) -s proto OUT=$(VENV)/proto-check
	diff -r -x __pycache__ -x __init__.py -x '*.py[co]' $(VENV)/proto-check/mpc/wire mpc/wire
	diff -r -x __pycache__ -x __init__.py -x '*.py[co]' $(VENV)/proto-check/parties/rpc parties/rpc

OUT := .
proto: setup ## write the generated code again from proto/
	mkdir -p $(OUT)
	$(PY) -m grpc_tools.protoc -I proto --python_out=$(OUT) --pyi_out=$(OUT) proto/mpc/wire/v1/*.proto
	$(PY) -m grpc_tools.protoc -I proto --python_out=$(OUT) --pyi_out=$(OUT) --grpc_python_out=$(OUT) proto/parties/rpc/v1/*.proto

bench: setup ## measure: prints a table, writes benchmarks/results.json
	-$(PY) -m pip install -q -e '.[bench]'  # what is compared with, where it installs
	$(PY) -m benchmarks

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
