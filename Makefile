# One verb per target; `make` alone prints them. Continuous integration runs these and nothing else.
.DEFAULT_GOAL := help
.PHONY: help demo dev build wheel dist install test test-unit test-integration test-security bench \
        soak fuzz lint format typecheck analyze sanitize docs man check regen clean

VENV   := .venv
PYTHON := $(VENV)/bin/python -I
PYTEST := $(PYTHON) -m pytest
# Extra arguments: make test ARGS="-k strict -x"
ARGS   ?=
# Seconds that `make fuzz` runs each target
FUZZ_SECONDS ?= 60

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## show `strict` holding a real command and a build under `default`
	@.ci/setup demo
	@docs/demo/demo

dev:  ## make .venv with an editable install and all tools
	@.ci/setup dev

build:  ## build a wheel into dist/
	@.ci/setup demo
	@mkdir -p dist
	$(PYTHON) -m pip --disable-pip-version-check wheel --quiet --no-build-isolation --no-deps \
	    --wheel-dir dist .

wheel:  ## build a manylinux wheel with the launcher inside into dist/
	@.ci/setup demo
	@rm -rf build/lib* build/bdist* build/wheel && mkdir -p build/wheel dist
	@SANDBOX_BUILD_STRICT=1 $(PYTHON) -m pip --disable-pip-version-check wheel --quiet \
	    --no-build-isolation --no-deps --wheel-dir build/wheel .
	@$(PYTHON) tests/tools/tag_wheel.py build/wheel/*.whl
	@mv build/wheel/*.whl dist/

dist: build  ## build a wheel and a source distribution into dist/
	$(VENV)/bin/python -c 'from setuptools import build_meta; print(build_meta.build_sdist("dist"))'

install:  ## install below PREFIX (default ~/.local), in a virtual environment of its own
	@.ci/setup install

test:  ## set up and run the whole suite
	@.ci/setup test
	$(PYTEST) $(ARGS)

test-unit:  ## run the tests that need nothing from the kernel
	@.ci/setup test
	$(PYTEST) tests/unit $(ARGS)

test-integration:  ## run the tests that start sandboxes
	@.ci/setup test
	$(PYTEST) tests/integration $(ARGS)

test-security:  ## run the probes that attack the walls
	@.ci/setup test
	$(PYTEST) tests/security $(ARGS)

bench:  ## measure every promised number and all peers; fails where a bound is missed
	@.ci/setup bench
	@mkdir -p build
	$(PYTHON) tests/benchmarks/bench_numbers.py --output build/bench.json $(ARGS)

soak:  ## 10,000 sandboxes in a row from one Python program: nothing may grow
	@.ci/setup test
	SANDBOX_TESTS_SOAK=10000 $(PYTEST) -q tests/integration/test_api.py -k in_a_row $(ARGS)

fuzz:  ## attack the plan checkers with libFuzzer for FUZZ_SECONDS
	@.ci/setup fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

lint:  ## ruff: rules and format
	@.ci/setup lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format:  ## ruff: format the sources
	@.ci/setup lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

typecheck:  ## mypy --strict
	@.ci/setup lint
	$(VENV)/bin/mypy

analyze:  ## gcc's static analyzer over the C core; a warning is an error
	@tests/tools/analyze

sanitize:  ## the C unit tests under AddressSanitizer and UBSan
	@.ci/setup demo
	@tests/tools/sanitize

docs: man  ## check links and commands in the documents
	$(PYTHON) tests/tools/check_docs.py

man:  ## render docs/man/*.md into build/man
	@.ci/setup demo
	$(PYTHON) tests/tools/render_man.py docs/man build/man

check: lint typecheck docs  ## lint, types, documents and unit tests: what a commit must pass
	@.ci/setup test
	$(PYTEST) -q tests/unit

regen:  ## write the golden files anew; `git diff` shows what changed
	@.ci/setup test
	SANDBOX_TESTS_REGEN=1 $(PYTEST) -q tests/unit

clean:  ## remove .venv and everything built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find sandbox tests policies -name '__pycache__' -prune -exec rm -rf {} +
	rm -rf sandbox/_core.c sandbox/*.so sandbox/*.o sandbox/_native
