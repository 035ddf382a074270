# Strobe's commands; `make` lists them. The build itself is CMake's: see CMakePresets.json and HACKING.md.

JOBS ?= $(shell nproc)
STROBE := build/release/strobe

PACKAGES_BUILD := g++ cmake ninja-build libfmt-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libgtest-dev libgmock-dev pkg-config
PACKAGES_TEST := python3 python3-venv python3-numpy binutils
PACKAGES_BROWSER := chromium chromium-driver python3-venv
PACKAGES_FULL := g++-aarch64-linux-gnu qemu-user googletest
PACKAGES_LINT := git clang-format
INSTALL := scripts/install_packages.sh

.PHONY: help
help:
	@echo 'make demo       builds, then runs a Llama-3.1-8B layer and 200 steps of a real service on this machine, checked against FP64'
	@echo 'make test       builds, then runs the unit tests and the tests of the installed library'
	@echo 'make test-full  adds the report pages in a browser, the wheel, torch, 64-bit Arm under qemu, address, undefined-behaviour and thread sanitizers, and the long sweeps'
	@echo '               (PARTS="tsan slow" picks: slow browser wheel torch aarch64 asan ubsan tsan)'
	@echo 'make build      builds library, command, tests and examples into build/release; build/strobe is the command'
	@echo 'make wheel      builds the Python package into build/python/wheel and tests it from an environment of its own'
	@echo 'make bench      measures; ARGS are those of `strobe bench` (default: --suite llama-3.1-8b --refcheck)'
	@echo 'make lint       checks formatting and house rules; make format formats; make tidy runs clang-tidy'
	@echo 'make docs       regenerates docs/operators.md, the tables of docs/performance.md and the pictures'
	@echo 'make clean      removes build/'
	@echo 'Missing Debian packages are installed as root or with sudo; the targets say which.'

.PHONY: packages
packages:
	@$(INSTALL) $(PACKAGES_BUILD)

# Presets are configured once; ninja runs CMake again when a CMake file changes.
build/%/build.ninja: CMakePresets.json
	cmake --preset $*
	@touch $@

.PHONY: build
build: packages
	@echo 'Building into build/release with $(JOBS) jobs'
	@$(MAKE) --no-print-directory build/release/build.ninja
	cmake --build build/release --parallel $(JOBS) --target all all_verify_interface_header_sets
	@ln -sfn release/strobe build/strobe

# The references of the starter set need numpy: that of the tests' environment, once it is there, else Debian's.
DEMO_PYTHON = --python $(or $(wildcard build/venv/bin/python),/usr/bin/python3)

.PHONY: demo
demo: build
	@echo 'The kernels of a Llama-3.1-8B layer, each checked against an FP64 reference:'
	$(STROBE) bench --suite llama-3.1-8b --device cpu --refcheck --json build/demo-suite.json
	@echo 'Its attention layer on the requests of a real service (Azure LLM inference trace, conversations):'
	$(STROBE) bench --workload azure-conv --model llama-3.1-8b --steps 200 --json build/demo-workload.json
	@echo 'Kernels by several authors (datasets/starter), each built, judged against a reference and timed from outside its process:'
	@$(INSTALL) python3 python3-numpy
	$(STROBE) trace run datasets/starter --definitions rmsnorm_h4096_f32 rope_neox_d128_f32 --authors baseline starter --num-trials 2 --iterations 10 --no-save-results $(DEMO_PYTHON)
	@$(STROBE) bench report build/demo-suite.json build/demo-workload.json --output strobe-report.html
	@echo 'All of it as a page to show: $(CURDIR)/strobe-report.html'

.PHONY: test
test: build
	@$(INSTALL) $(PACKAGES_TEST)
	ctest --preset release --parallel $(JOBS)

# All parts, or those that PARTS names, to the end whatever fails; a summary closes.
.PHONY: test-full
test-full:
	@scripts/test_full.sh $(PARTS)

# The long sweeps.
.PHONY: test-slow
test-slow: build
	ctest --preset slow --parallel $(JOBS)

# The report pages in Debian's chromium, driven by selenium from PyPI; without selenium the tests say that they are skipped.
.PHONY: test-browser
test-browser: build
	@$(INSTALL) $(PACKAGES_BROWSER)
	@/usr/bin/python3 -m venv build/browser && build/browser/bin/pip install --quiet selenium || echo 'selenium could not be installed'
	build/browser/bin/python tests/browser/report_page_test.py $(STROBE)

# The wheel, built and used as a user's pip does; it is left in build/python/wheel.
.PHONY: wheel test-wheel
wheel test-wheel: packages
	@$(INSTALL) $(PACKAGES_TEST)
	tests/python/wheel.sh $(CURDIR) $(CURDIR)/build/python

# The Python package with torch (6 GB on disk, with the CUDA libraries that PyPI's brings), a Hugging Face Llama, and its types; without an index the tests say that they are skipped.
.PHONY: test-torch
test-torch: packages
	@$(INSTALL) $(PACKAGES_TEST)
	@$(MAKE) --no-print-directory build/release/build.ninja
	cmake --build build/release --parallel $(JOBS) --target strobe_python
	cmake --install build/release --component python --prefix build/python/site
	@python3 -m venv build/venv-torch
	@build/venv-torch/bin/pip install --quiet torch transformers numpy pytest ml_dtypes apache-tvm-ffi mypy || { echo 'torch could not be installed'; exit 0; }; \
	build/venv-torch/bin/python -m mypy --config-file pyproject.toml python/strobe && \
	tests/python/run.sh $(CURDIR)/build/venv-torch $(CURDIR)/build/python/site -k torch && \
	PYTHONPATH=build/python/site build/venv-torch/bin/python benchmarks/transformers_llama.py

# The unit tests in a preset's build.
.PHONY: test-aarch64 test-asan test-ubsan test-tsan
test-aarch64 test-asan test-ubsan test-tsan: test-%: packages
	@$(INSTALL) $(PACKAGES_FULL)
	@$(MAKE) --no-print-directory build/$*/build.ninja
	cmake --build build/$* --parallel $(JOBS)
	ctest --preset $* --parallel $(JOBS)

ARGS ?= --suite llama-3.1-8b --refcheck

.PHONY: bench
bench: build
	$(STROBE) bench --device cpu $(ARGS)

.PHONY: lint
lint:
	@$(INSTALL) $(PACKAGES_LINT)
	@scripts/lint.sh

.PHONY: format
format:
	@$(INSTALL) $(PACKAGES_LINT)
	git ls-files '*.cc' '*.h' '*.cuh' | xargs clang-format -i

.PHONY: tidy
tidy: build
	@$(INSTALL) clang-tidy
	run-clang-tidy -quiet -p build/release -j $(JOBS) '^$(CURDIR)/(src|examples)/'

.PHONY: docs
docs: build
	@$(INSTALL) python3
	$(STROBE) docs > build/operators.md
	cp build/operators.md docs/operators.md
	scripts/draw_kv_layouts.py docs/images/kv_layouts.svg
	scripts/performance_table.py

.PHONY: clean
clean:
	rm -rf build
