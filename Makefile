# Every target works in a fresh clone: it first makes .venv and installs the pinned versions into it.

VENV := .venv
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-demo
PROJECTS := pyproject.toml runtimes/python/pyproject.toml

# The pairs of Python and torch that are tested; docs/versions.md says what was run.
PAIRS := python3.11-torch2.13 python3.11-torch2.14 python3.12-torch2.13 python3.12-torch2.14 python3.13-torch2.13 \
    python3.13-torch2.14
# What runs on each pair: capture, the laws, proofs and the runtime; not other tools, engines, and the slow tests.
PAIR_TESTS := tests/test_export.py tests/test_models.py tests/capture tests/eager tests/laws tests/lowering \
    tests/parity tests/runtime

# The execution providers that this machine can have beside the CPU's; providers/<name>.sh says what each is.
PROVIDERS := openvino qnn webgpu xnnpack ggml aarch64 xnnpack-aarch64
SETUPS := $(PROVIDERS:%=setup-%) setup-cuda

.PHONY: help install demo demo-delta test test-slow test-zoo test-packages packages test-lowest test-survival survival test-generated generated test-providers conformance results bench bench-cuda docs test-docs
.PHONY: $(PAIRS:%=test-%) setup $(SETUPS) setup-cpp test-cpp lint clean

help:
	@echo "make demo       install, then export, verify and run a routed sentence encoder, and say when routing pays"
	@echo "make demo-delta  train the demo's encoder for its paths again (half an hour or more)"
	@echo "make test       install, then run the tests"
	@echo "make test-slow  the tests marked slow"
	@echo "make test-zoo   every model whose routing is ordinary Python, exported and proven, or refused"
	@echo "make test-packages  models of timm, transformers, diffusers and others, in $(VENV)-packages (about 2 GB)"
	@echo "make packages   make docs/packages.md again, from these models; goes on where it was stopped"
	@echo "make test-lowest  rr-runtime with the oldest versions that it promises"
	@echo "make test-PAIR  the tests that depend on the versions of Python and torch, in .venv-PAIR; PAIR is one of"
	@echo "                $(wordlist 1,3,$(PAIRS))"
	@echo "                $(wordlist 4,6,$(PAIRS))"
	@echo "                (about 6 GB each where torch comes with CUDA; PYTHON=/path/to/python names the interpreter)"
	@echo "make test-survival  every tool of the survival matrix on every file, as docs/survival.md says"
	@echo "make survival   make docs/survival.md and docs/survival.json again"
	@echo "make test-generated  a thousand random models, exported right or refused"
	@echo "make generated  make docs/generated.md again, from ten thousand random models; goes on where it was stopped"
	@echo "make test-providers  the conformance suite on every engine that was set up"
	@echo "make conformance  make docs/conformance.md and docs/conformance.json again, on every engine that was set up"
	@echo "make results    docs/results.md and docs/combined.md again, of tasks trained anew (an hour or more)"
	@echo "make bench      the benchmarks"
	@echo "make bench-cuda  routed over static on a GPU (after make setup-cuda); else it says \"not measured\""
	@echo "make setup-NAME  an engine to run files on, in .providers/NAME, about 10 s and 300 MB each; NAME is one of"
	@echo "                $(PROVIDERS)"
	@echo "make setup      all of these"
	@echo "make setup-cuda  what to carry to a machine with a GPU, 250 MB in pieces"
	@echo "make test-cpp   build the C++ runtime and run its tests, and the conformance suite on it"
	@echo "make setup-cpp  ONNX Runtime for runtimes/cpp, in .providers/cpp"
	@echo "make docs       the documentation site, in site/; a link that leads nowhere is an error"
	@echo "make test-docs  every tutorial, page and link, and the site"
	@echo "make lint       ruff and mypy"
	@echo "make install    only install, into $(VENV)"
	@echo "make clean      remove $(VENV) and everything else that the targets made"

# Of all that can be installed the demo needs a part, unless all of it is there.
demo: $(if $(wildcard $(STAMP)),$(STAMP),$(DEMO_STAMP))
	$(VENV)/bin/rr-export demo

demo-delta: $(STAMP)
	$(VENV)/bin/python -m rr_export.demo.train --output rr_export/demo/delta.safetensors

# A process for every core; each takes tests from the others when it has none left.
WORKERS := auto
PARALLEL := -n $(WORKERS) --dist worksteal

test: $(STAMP)
	$(VENV)/bin/python -m pytest $(PARALLEL)

test-slow: $(STAMP)
	$(VENV)/bin/python -m pytest -m slow $(PARALLEL)

test-zoo: $(STAMP)
	$(VENV)/bin/python -m pytest -m zoo $(PARALLEL)

# Models of third-party packages, in an environment of its own: the other versions are those of constraints.txt.
PACKAGES := $(VENV)-packages

test-packages: $(PACKAGES)/.installed
	$(PACKAGES)/bin/python -m pytest -m packages $(PARALLEL) tests/packages

packages: $(PACKAGES)/.installed
	$(PACKAGES)/bin/python -m tests.packages

$(PACKAGES)/.installed: $(PROJECTS) constraints.txt tests/packages/requirements.txt | $(VENV)/bin/pip
	rm -rf $(PACKAGES) && $(VENV)/bin/python -m venv $(PACKAGES)
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	    $(PACKAGES)/bin/python -m pip install -e ./runtimes/python -e '.[torch]' pytest pytest-xdist \
	    -r tests/packages/requirements.txt
	@touch $@

# rr-runtime alone, with the oldest versions that it promises, in an environment of its own: of Python too, where there
# is such an interpreter, or where `make test-lowest PYTHON=/path/to/python3.10` names one.
LOWEST_PYTHON = $(or $(PYTHON),$(shell python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null),$(VENV)/bin/python)

test-lowest: $(VENV)/bin/pip
	rm -rf $(VENV)-lowest && $(LOWEST_PYTHON) -m venv $(VENV)-lowest && $(VENV)-lowest/bin/python --version
	PIP_CONSTRAINT=constraints-lowest.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	    $(VENV)-lowest/bin/python -m pip install -e ./runtimes/python onnx pytest
	$(VENV)-lowest/bin/python -m pytest --confcutdir=tests/runtime tests/runtime

# Of each pair in an environment of its own; the other versions are those of constraints.txt.
PAIR_VENV = $(VENV)-$*
PAIR_PYTHON = $(word 1,$(subst -, ,$*))
PAIR_TORCH = $(word 2,$(subst -torch, ,$*))

$(PAIRS:%=test-%): test-%:
	rm -rf $(PAIR_VENV) && $(or $(PYTHON),$(PAIR_PYTHON)) -m venv $(PAIR_VENV)
	@if ! [ -x $(PAIR_VENV)/bin/$(PAIR_PYTHON) ]; then \
	    echo "make: expected $(PAIR_PYTHON), got $$($(PAIR_VENV)/bin/python --version);" \
	        "run: make $@ PYTHON=/path/to/$(PAIR_PYTHON)" >&2; \
	    exit 1; \
	fi
	sed 's/^torch==.*/torch==$(PAIR_TORCH).*/' constraints.txt >$(PAIR_VENV)/constraints.txt
	PIP_CONSTRAINT=$(PAIR_VENV)/constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
	    $(PAIR_VENV)/bin/python -m pip install -e ./runtimes/python -e '.[demo,test]'
	$(PAIR_VENV)/bin/python -m pytest $(PAIR_TESTS)

test-survival: $(STAMP)
	$(VENV)/bin/python -m pytest -m survival

survival: $(STAMP)
	$(VENV)/bin/python -m survival

test-generated: $(STAMP)
	$(VENV)/bin/python -m pytest -m generated $(PARALLEL)

generated: $(STAMP)
	$(VENV)/bin/python -m tests.generated

test-providers: $(STAMP)
	$(VENV)/bin/python -m pytest -m providers

conformance: $(STAMP)
	$(VENV)/bin/python -m tests.conformance

results: $(STAMP)
	$(VENV)/bin/python -m examples.tasks --all
	$(VENV)/bin/python -m examples.tasks.combine

bench: $(STAMP)
	$(VENV)/bin/python -m benchmarks

bench-cuda: $(STAMP)
	$(VENV)/bin/python -m benchmarks.cuda

# Nothing outside of this machine is asked while it is made, nor when it is read.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --clean

test-docs: $(STAMP)
	$(VENV)/bin/python -m pytest -m "slow or not slow" $(PARALLEL) tests/docs tests/test_readme.py

setup: $(PROVIDERS:%=setup-%)

$(SETUPS): setup-%:
	providers/$*.sh

# ONNX Runtime's headers and library for runtimes/cpp, in .providers/cpp.
setup-cpp: $(STAMP)
	runtimes/cpp/setup.sh

# The C++ runtime: built, its own tests, and every case and hostile bundle of the conformance suite.
test-cpp: setup-cpp
	cmake -S runtimes/cpp -B build/cpp
	cmake --build build/cpp --parallel
	ctest --test-dir build/cpp --output-on-failure
	$(VENV)/bin/python -m pytest -m providers -k cpp tests/conformance

lint: $(STAMP)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --python-version 3.10 runtimes/python/rr_runtime

install: $(STAMP)

# Both variables pin what builds the two packages too: pip before 25.3 reads the first there, later ones the second.
# How packages are installed into $(VENV), at the pinned versions.
INSTALL = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    $(VENV)/bin/python -m pip install -e ./runtimes/python

$(STAMP): $(PROJECTS) constraints.txt | $(VENV)/bin/pip
	@echo "Installing rr-export and what it needs into $(VENV): about 1.7 GB, a minute or two."
	$(INSTALL) -e '.[demo,docs,test,survival]'
	@touch $@

$(DEMO_STAMP): $(PROJECTS) constraints.txt | $(VENV)/bin/pip
	@echo "Installing rr-export and what the demo needs into $(VENV), about a minute."
	$(INSTALL) -e '.[demo,plot]'
	@touch $@

# The first interpreter that is new enough; `make PYTHON=/path/to/python` names another.
$(VENV)/bin/pip:
	@for python in $(or $(PYTHON),python3.11 python3.12 python3.13 python3 python); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "make: expected Python 3.11 or newer, found none; install it or run: make PYTHON=/path/to/python" >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "make: $$python cannot make virtual environments (no ensurepip);" \
	        "on Debian and Ubuntu install python3-venv (or python3.11-venv)" >&2; \
	    exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)."; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV)

clean:
	rm -rf $(VENV) $(PACKAGES) $(VENV)-lowest $(PAIRS:%=$(VENV)-%) build dist out demo-out site runtimes/python/build runtimes/python/dist
	rm -rf .providers .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
