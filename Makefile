# The commands of the README. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
# Many short processes start below: each would compile anew what it imports.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
# Written last, so an installation that was cut off is never taken for a complete one.
COMPLETE := $(VENV)/.complete
# Present while a complete environment is updated: then it is not made anew.
UPDATING := $(VENV)/.updating
# A line a package would hide what is said here; errors are printed.
PIP_LOG := $(VENV)/install.log
PIP_INSTALL = $(BIN)/python -m pip install --quiet --progress-bar off --log $(PIP_LOG)
WANTED = --constraint requirements.lock --editable '.[$(EXTRAS)]'
EXTRAS := bert,book,cluster,photographs,search,stores,test

# Any Python from 3.11 on: make book PYTHON=/path/to/python3.12
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# cpu, cuda, or auto: the CUDA build where there is an NVIDIA GPU, the much smaller CPU build elsewhere.
TORCH ?= auto
# Where PyTorch publishes its CPU builds; the general index carries only CUDA builds for Linux.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# For pytest: make test ARGS="-k attention"
ARGS ?=

# Which batch: make grid GRID=methods SIZE=smoke ARGS="--seeds 0 --dry-run"; no name lists them
GRID ?=
SIZE ?= smoke

.PHONY: help book pdf test lab grid lint bench lock clean clean-all

help: ## list the commands
	@awk -F ':.*## ' '/^[.a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

book: $(COMPLETE) ## make the data, run the notebooks, build the book
	@$(BIN)/itm book

pdf: $(COMPLETE) ## print the built book to one PDF, data/book/book.pdf
	@$(BIN)/itm book --pdf

test: $(COMPLETE) ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--no-loadscope-reorder $(ARGS)  # tests/conftest.py says in which order

lab: $(COMPLETE) ## open JupyterLab on the notebooks
	@exec $(BIN)/itm lab $(ARGS)

grid: $(COMPLETE) ## run a grid of experiments (GRID=rcar SIZE=smoke), or list them
	@$(BIN)/itm grid $(GRID) --size $(SIZE) $(ARGS)

lint: $(COMPLETE) ## check style, types and which package imports which
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

bench: $(COMPLETE) ## measure the speed of scoring
	@$(BIN)/itm bench scoring $(ARGS)

lock: $(COMPLETE) ## write the versions of this environment to requirements.lock
	@{ grep '^#' requirements.lock
		$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip --exclude setuptools \
			| grep -v ' @ ' | sed -E 's/\+[A-Za-z0-9.]+$$//'; } > requirements.lock.partial
	mv requirements.lock.partial requirements.lock
	touch $(COMPLETE)

clean: ## remove the built book and the caches; data and runs stay
	@rm -rf data/book build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find itm_core itm_book notebooks tests -name __pycache__ -prune -exec rm -rf {} + \
		-o -name .ipynb_checkpoints -prune -exec rm -rf {} +

clean-all: clean ## remove the environment too, and every dataset and run that was made
	@rm -rf $(VENV)
	find data -mindepth 1 -maxdepth 1 ! -name published ! -name results ! -name pictures \
		! -name models ! -name registry.toml -exec rm -rf {} +

# --- the environment -------------------------------------------------------------------------

.venv: $(COMPLETE) ## make the environment only

$(COMPLETE): pyproject.toml requirements.lock
	@if [ -z "$(PYTHON)" ]; then
		echo "No Python 3.11 or newer was found." >&2
		echo "Install one (Debian, Ubuntu: apt-get install python3) or name it:" >&2
		echo "    make book PYTHON=/path/to/python3.12" >&2
		exit 1
	fi
	if [ -e $(COMPLETE) ] || [ -e $(UPDATING) ]; then
		echo "Bringing $(VENV) up to date."
		touch $(UPDATING)
		rm -f $(COMPLETE)
	else
		echo "Installing into $(VENV): about 2 GB on disk, a few minutes the first time;"
		echo "$(PIP_LOG) says what pip is doing."
		$(call create_environment)
	fi
	export PIP_DISABLE_PIP_VERSION_CHECK=1
	rm -rf itm_core.egg-info  # of an earlier build backend: it would hide the commands of the book
	if [ "$$(uname -s)" = Linux ] && $(call wants_cpu_build) && $(call lacks_torch); then
		if $(call reachable); then
			$(PIP_INSTALL) --no-deps --index-url $(TORCH_INDEX) "$(call locked,torch)"
		else
			echo "$(TORCH_INDEX) cannot be reached: taking the build of torch that pip finds."
			$(PIP_INSTALL) --no-deps "$(call locked,torch)"
		fi
	fi
	# uv takes a fifth of pip's time, and does not know pip's settings: where it fails, pip installs.
	$(PIP_INSTALL) "$(call locked,uv)" \
		&& $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(WANTED) \
		|| { echo "That failed; once more, with pip."; $(PIP_INSTALL) $(WANTED); }
	$(BIN)/python -m itm_book.pages.clean_notebooks
	rm -f $(UPDATING)
	touch $(COMPLETE)

# Debian and Ubuntu keep pip's installer in a package of its own (python3-venv). Without it the
# environment is made empty and pip is put in by the system's pip, else (as root) by apt.
define create_environment
rm -rf $(VENV)
	if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then
		$(PYTHON) -m venv $(VENV)
	else
		$(PYTHON) -m venv --without-pip $(VENV)
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip 2>/dev/null \
			|| { [ "$$(id -u)" = 0 ] && apt-get install -y --quiet python3-venv \
				&& rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } \
			|| { rm -rf $(VENV)
				echo "pip could not be put into the environment. Run this, then make again:" >&2
				echo "    sudo apt-get install -y python3-venv" >&2
				exit 1; }
	fi
endef

wants_cpu_build = { [ "$(TORCH)" = cpu ] \
	|| { [ "$(TORCH)" = auto ] && [ ! -e /proc/driver/nvidia/version ] \
		&& ! nvidia-smi -L >/dev/null 2>&1; }; }

locked = $(shell grep '^$(1)==' requirements.lock)
lacks_torch = ! $(BIN)/python -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null
reachable = $(BIN)/python -c 'import sys, urllib.request as r; \
	r.urlopen(sys.argv[1], timeout=5)' $(TORCH_INDEX)/torch/ 2>/dev/null
