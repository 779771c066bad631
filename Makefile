# make demo, make test: each works on a fresh machine with one of Python 3.11 to 3.14 and a network. make help lists the rest.

# The newest interpreter here that stylegen runs on; make demo PYTHON=/path/to/python to choose another.
ifndef PYTHON
PYTHON := $(shell .ci/find-python)
endif
ifeq ($(strip $(PYTHON)),)
PYTHON := python3
endif

VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
JOBS ?= 2

# Installed again when the interpreter or the packages asked for change, and not otherwise.
KEY := $(shell { "$(PYTHON)" --version; cat pyproject.toml "$(CONSTRAINTS)"; } 2>&1 | cksum | cut -d ' ' -f 1)
STAMP := $(VENV)/.installed-$(KEY)

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-core test-slow docs newest reference-metrics compilers bench startup lint format dist clean

help:  ## show this
	@sed -nE -e 's/^##@ (.*)/\n\1:/p' -e 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

##@ Start

venv: $(STAMP)  ## make .venv and install stylegen with its tools there, unless that is done

$(STAMP):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: stylegen needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1 | tail -n 1);" \
	       "install one, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@echo "stylegen: $$("$(PYTHON)" --version) ($(PYTHON)), in $(VENV)"
	@# An environment of another Python version is replaced, one of the same is brought up to date.
	@want=$$("$(PYTHON)" -c 'import sys; print(sys.version_info[:2])'); \
	have=$$("$(BIN)/python" -c 'import pip, sys; print(sys.version_info[:2])' 2>/dev/null || true); \
	if [ "$$want" != "$$have" ]; then "$(PYTHON)" -m venv --clear "$(VENV)"; fi
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c "$(CONSTRAINTS)" -e '.[dev]'
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

demo: venv  ## what the shipped generator draws, within a minute; then train the quickstart and draw the same of it
	"$(BIN)/python" sample.py --run toy_bedrooms_64 --seeds 0-63 --psi 0.7 --out out/shipped --overwrite
	"$(BIN)/python" sample.py --run toy_bedrooms_64 --mix --rows 1-5 --cols 11-16 --layers 0-3 --psi 0.7 --out out/shipped_mix.png --overwrite
	"$(BIN)/python" sample.py --run toy_bedrooms_64 --interpolate --seeds 1-5 --frames 30 --loop --out out/shipped_walk.mp4 --overwrite
	"$(BIN)/python" stylize.py --content docs/images/astronaut.jpg --style docs/images/starry_night.jpg --out out/styled.png --overwrite
	@echo
	@echo "Look at these while a generator of your own trains:"
	@echo "  out/shipped/grid.png        64 samples of the generator that comes with stylegen"
	@echo "  out/shipped_mix.png         styles of two rooms mixed"
	@echo "  out/shipped_walk.mp4        a walk from room to room"
	@echo "  out/styled.png              a photograph in the style of a painting"
	@echo
	"$(BIN)/python" train.py --config configs/quickstart.py --run.dir runs/quickstart
	"$(BIN)/python" sample.py --run runs/quickstart --seeds 0-63 --psi 0.7 --out out/quickstart --overwrite
	"$(BIN)/python" sample.py --run runs/quickstart --mix --rows 1-5 --cols 11-16 --layers 0-3 --out out/mix.png --overwrite
	"$(BIN)/python" sample.py --run runs/quickstart --interpolate --seeds 1-5 --frames 30 --loop --out out/walk.mp4 --overwrite
	@echo
	@echo "The pictures of your generator, none of them selected:"
	@echo "  runs/quickstart/reals.png   what it was shown"
	@echo "  runs/quickstart/fakes.png   64 samples (psi 1)"
	@echo "  out/quickstart/grid.png     64 samples, truncated (psi 0.7)"
	@echo "  out/mix.png                 coarse styles of the top row, the rest of the left column"
	@echo "  out/walk.mp4                a walk from room to room"

##@ Develop

test: venv  ## run all default tests
	"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal

test-core: venv  ## run what another Python or JAX would break: numbers, resume, sampling, data
	"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal tests/networks tests/training/test_step.py tests/test_train.py \
	  tests/runs tests/sampling tests/data tests/test_ops.py tests/test_convolution.py tests/test_config.py

test-slow: venv  ## run the slow tests
	"$(BIN)/python" -m pytest -m slow -n $(JOBS) --dist worksteal

docs: venv  ## build the documentation site in out/docs; warnings, such as links that lead nowhere, are errors
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c "$(CONSTRAINTS)" -e '.[docs]'
	"$(BIN)/python" -m sphinx -W --keep-going -q -j auto -b html docs out/docs
	@echo "out/docs/index.html"

##@ Compare and measure

newest: venv  ## install the newest of everything, whatever constraints.txt says, to learn what breaks
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -e '.[dev]'

reference-metrics: venv  ## compute the numbers of torch-fidelity and pytorch-fid anew (6 GB to install), and compare
	"$(PYTHON)" -m venv "$(VENV)-torch"
	"$(VENV)-torch/bin/python" -m pip install --quiet --disable-pip-version-check torch torchvision torch-fidelity pytorch-fid
	"$(VENV)-torch/bin/python" tests/references/make_metrics.py
	"$(BIN)/python" -m pytest -m "slow or not slow" tests/metrics/test_reference_metrics.py

compilers: venv  ## fetch XLA's compilers for GPUs and TPUs (0.4 GB), for benchmarks/plan.py and --target; no device needed
	@packages=$$("$(BIN)/python" -c "from stylegen.runtime import chips; print(*chips.compilers('gpu'), *chips.compilers('tpu'))"); \
	if [ "$$(cat .compilers/installed 2>/dev/null)" != "$$packages" ]; then \
	  rm -rf .compilers && echo "installing $$packages" && \
	  "$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target .compilers $$packages && \
	  echo "$$packages" >.compilers/installed; fi

startup: venv  ## measure how long import, --help and the first image take (docs/install.md)
	"$(BIN)/python" benchmarks/startup.py

bench: venv  ## run all benchmarks (docs/performance.md), on a machine that is otherwise idle
	set -e; for name in train_step sample growing input; do \
	  echo "== $$name"; "$(BIN)/python" "benchmarks/$$name.py" --json "out/bench/$$name.json"; done

##@ Check and release

lint: venv  ## check style, formatting, spelling and types
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/typos"
	"$(BIN)/mypy"

format: venv  ## put style and formatting right
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .

dist: venv  ## build the wheel and the sdist in dist/; with TAG=v1.2.3, only if that is the version
	@version=$$("$(BIN)/python" -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])'); \
	if [ -n "$(TAG)" ] && [ "$(TAG)" != "v$$version" ]; then \
	  echo "error: the tag is $(TAG), and pyproject.toml has version $$version" >&2; exit 1; fi
	rm -rf dist
	"$(BIN)/python" -m build --no-isolation
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check twine check-wheel-contents
	"$(BIN)/python" -m twine check --strict dist/*
	"$(BIN)/check-wheel-contents" dist/*.whl

clean:  ## delete .venv and caches; runs and pictures stay
	rm -rf "$(VENV)" .venv-oldest .compilers .pytest_cache .ruff_cache .mypy_cache build dist
