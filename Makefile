# What people and CI run. CMake and Ninja do the work; this file only says with which options.
#
#   make            release build, build/bailiff
#   make test       install what is missing, build, run every suite
#   make help       the other targets
#
# Works as root; otherwise only the installation of packages asks for sudo.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

JOBS ?= $(shell nproc)
# ON builds the tests with AddressSanitizer and UBSan, in a folder of their own.
SANITIZE ?= OFF
# A test that cannot run here fails instead of being skipped. Empty allows skips.
BAILIFF_TESTS_MUST_RUN ?= 1

# The one that Debian's python3-* packages are installed for; another may come first in PATH.
PYTHON ?= $(or $(wildcard /usr/bin/python3),python3)

CACHE_HOME := $(or $(XDG_CACHE_HOME),$(if $(HOME),$(HOME)/.cache),$(CURDIR)/build/cache)
TIDY_CACHE ?= $(CACHE_HOME)/bailiff-tidy
TEST_DIR := build-test$(if $(filter-out OFF,$(SANITIZE)),-sanitize)
LINT_DIR := build-lint
PYTEST_SUITES := tools tests/scripts tests/e2e tests/server tests/property tests/crash tests/hostile \
  tests/fuse tests/conformance tests/kernels
# One test at a time: they look at the whole machine, or use all of it.
PYTEST_ALONE := tests/escape tests/fuzz

# A fresh clone finds the objects of another: paths inside the checkout are not part of their key.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export CCACHE_SLOPPINESS := pch_defines,time_macros,include_file_mtime,include_file_ctime
export PYTHONDONTWRITEBYTECODE := 1
export DEBIAN_FRONTEND := noninteractive

CXX_FILES = find src tests -type f \( -name '*.h' -o -name '*.cc' \) -print0
CONFIGURE = cmake -S . -G Ninja -DCMAKE_CXX_COMPILER=g++

.PHONY: help build test test-build test-full bench lint lint-layering lint-tidy lint-format \
	lint-symbols lint-clang-tidy format demo clean

help:
	@echo 'build       release build, build/bailiff (the default)'
	@echo 'test        every test, long suites by a sample; SANITIZE=ON for ASan and UBSan'
	@echo 'test-full   every suite whole, then a sample of each with sanitizers'
	@echo 'bench       measure (tests/bench/run)'
	@echo 'lint        layers, house rules, fork safety, format, clang-tidy'
	@echo 'format      run clang-format over src/ and tests/'
	@echo 'demo        build, then show a run from submission to rollback'
	@echo 'clean       remove build folders'

build:
	@echo '== build: release, build/bailiff'
	@tools/install-deps.sh build
	@$(CONFIGURE) -B build -DCMAKE_BUILD_TYPE=Release
	@cmake --build build -j $(JOBS) --target bailiff

test-build:
	@echo '== test-build: $(TEST_DIR), SANITIZE=$(SANITIZE)'
	@tools/install-deps.sh build test
	@$(CONFIGURE) -B $(TEST_DIR) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBAILIFF_SANITIZE=$(SANITIZE)
	@cmake --build $(TEST_DIR) -j $(JOBS)

# Tests that need the program find it in BAILIFF_BINARY.
test: test-build
	@echo '== test: ctest, then $(PYTEST_SUITES) $(PYTEST_ALONE)'
	@if [ -n '$(BAILIFF_TESTS_MUST_RUN)' ]; then export BAILIFF_TESTS_MUST_RUN=1; \
	else unset BAILIFF_TESTS_MUST_RUN; fi; \
	BAILIFF_BINARY='$(CURDIR)/$(TEST_DIR)/bailiff' \
	$(PYTHON) tools/run_tests.py --build-dir $(TEST_DIR) --jobs $(JOBS) \
	  $(addprefix --alone ,$(PYTEST_ALONE)) $(PYTEST_SUITES)

test-full:
	@echo '== test-full: every suite whole, then a sample of each with sanitizers'
	@BAILIFF_TESTS_FULL=1 $(MAKE) test
	@$(MAKE) test SANITIZE=ON

bench: build
	@tools/install-deps.sh bench
	@cmake --build build -j $(JOBS) --target bench_echo bench_engine
	@if [ -x tests/bench/run ]; then \
	  echo '== bench: tests/bench/run'; \
	  BAILIFF_BINARY='$(CURDIR)/build/bailiff' BENCH_PROGRAMS='$(CURDIR)/build/tests/bench' \
	  tests/bench/run; \
	else echo '== bench: there is no tests/bench/run'; fi

# All checks run, also after one has found something; the status tells whether any has.
lint:
	@echo '== lint'
	@tools/install-deps.sh build lint
	@$(MAKE) -k lint-layering lint-tidy lint-format lint-symbols lint-clang-tidy
	@echo '== lint: clean'

lint-layering:
	@echo '== lint: layers'
	@$(PYTHON) tools/check_layering.py src

lint-tidy:
	@echo '== lint: house rules'
	@$(PYTHON) tools/tidy.py .

lint-format:
	@echo '== lint: clang-format'
	@$(CXX_FILES) | xargs -0 -r clang-format --dry-run -Werror

# Compiles only what runs after fork, in the folder where the tests will find it compiled.
lint-symbols:
	@echo '== lint: symbols of the code after fork'
	@$(CONFIGURE) -B build-test -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBAILIFF_SANITIZE=OFF >/dev/null
	@objects=$$(ninja -C build-test -t targets all | \
	    sed -n 's,^\(.*/sandbox\.dir/.*/child_[a-z_]*\.cc\.o\):.*,\1,p'); \
	if [ -z "$$objects" ]; then echo 'no child_*.cc in src/sandbox'; exit 1; fi; \
	ninja -C build-test -j $(JOBS) --quiet $$objects; \
	cd build-test; ../tools/check_child_symbols.sh $$objects

# Configured, and built no further than what is generated: clang reads gcc's flags badly, so clang-tidy gets a database of its own.
lint-clang-tidy:
	@echo '== lint: clang-tidy'
	@cmake -S . -G Ninja -B $(LINT_DIR) -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug \
	  -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
	@cmake --build $(LINT_DIR) -j $(JOBS) --target seccomp_filters >/dev/null
	@$(PYTHON) tools/run_clang_tidy.py -p $(LINT_DIR) -j $(JOBS) --cache '$(TIDY_CACHE)'

format:
	@echo '== format: clang-format -i over src/ and tests/'
	@tools/install-deps.sh lint
	@$(CXX_FILES) | xargs -0 -r clang-format -i

demo: build
	@echo '== demo: examples/demo.sh'
	@BAILIFF_BINARY='$(CURDIR)/build/bailiff' bash examples/demo.sh

clean:
	@echo '== clean: build, build-*'
	@rm -rf build build-fuzz build-lint build-test build-test-sanitize
