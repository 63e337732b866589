# make help lists the targets. Everything runs in .venv: what users run takes the packages of
# requirements.lock, what developers run those of requirements-dev.lock, which holds the former too.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOP := $(VENV)/.ready-dev
NEXT := $(VENV)-next
LOWEST := $(VENV)-lowest
# The extras of each lock.
USERS := dashboard microscopy mlflow onnx optuna slurm tensorboard
DEVELOPERS := $(USERS) notebook docs dev
# TORCH=cpu, given once for a .venv: PyTorch's builds without CUDA. On a Mac all are without.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALLED := $(shell cat $(VENV)/.torch 2>/dev/null)
TORCH ?= $(or $(INSTALLED),locked)
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
DEMO := runs/demo
STUDIES := table_1 figure_2 figure_3 figure_4 figure_5 ablation leakage priors unseen_specimens parts cross_set crops tuned
# Two workers of one thread each; tests of a file share their fixtures.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
QUICK = not slow and not soak and not gpu and not slurm and not browser
# What is said in lower case behind a study goes on to the training: make table_1 scale=laptop seed=0
# A space in a value, which make writes as "\ ", is no end of a word: it stands as ␣ in between.
OVERRIDES = $(filter-out $(addsuffix %,A B C D E F G H I J K L M N O P Q R S T U V W X Y Z),$(subst \ ,␣,$(MAKEOVERRIDES)))
STUDY = $(BIN)/python experiments/studies/run.py $@ $(foreach override,$(OVERRIDES),'$(subst ␣, ,$(subst ','\'',$(override)))')

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo $(STUDIES) test test-integration mutations test-all test-slurm test-browser test-next test-lowest soak bench bench-gpu sweeps-help check audit schema docs format lock wheel clean

help:  ## show this list
	@grep -E '^[a-z0-9_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Of a lock: what is left without PyTorch and what its CUDA builds need.
WITHOUT_CUDA = awk '/^[a-z]/ {skip = /^(torch|torchvision|triton|nvidia-.*|cuda-.*)==/} !skip'
# Name and version of a package in a lock.
PINNED = $(shell sed -n 's/^\($(1)==[^ ]*\) .*/\1/p' $(2))

# PyTorch's index has other files than the lock's hashes name: there the version alone is held.
install_locked = $(PIP) --require-hashes -r $(1)
install_cpu = $(PIP) --no-deps --index-url $(TORCH_INDEX) $(call PINNED,torch,$(1))+cpu $(call PINNED,torchvision,$(1))+cpu && \
	$(WITHOUT_CUDA) $(1) > $(VENV)/without-cuda.lock && $(PIP) --no-deps --require-hashes -r $(VENV)/without-cuda.lock
ifeq ($(TORCH)$(shell uname -s),cpuDarwin)
install_cpu = $(install_locked)
endif

# $(call install,LOCK): the packages of a lock and the project into .venv.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -n "$(filter cpu locked,$(TORCH))" || { echo "TORCH=$(TORCH) is neither cpu nor locked, the builds of the lock: give one of them"; exit 1; }
	$(PYTHON) -m venv $(if $(SWITCHED),--clear) $(VENV)
	$(call install_$(TORCH),$(1))
	$(PIP) --no-deps --no-build-isolation -e .
	@echo $(TORCH) > $(VENV)/.torch
endef

# Another TORCH than the one installed: the .venv is made anew.
SWITCHED := $(filter-out $(TORCH),$(INSTALLED))
ifneq ($(SWITCHED),)
.PHONY: switched
$(READY) $(DEVELOP): switched
switched:
endif

$(READY): requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(DEVELOP): requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@touch $(READY) $@

setup: $(READY)  ## make .venv with the locked packages; without a GPU of NVIDIA: make setup TORCH=cpu

setup-dev: $(DEVELOP)  ## and with those of the tests and checks

demo: $(READY)  ## make synthetic cells, train, test and report on two cores, in minutes
	$(BIN)/hep2gan-train data=phantom scale=laptop study=demo
	$(BIN)/hep2gan-report $(DEMO)/proposed/seed0 output=$(DEMO)/report.html
	@echo "Open $(DEMO)/report.html"

table_1: $(READY)  ## Table I with all figures, three seeds; on a laptop: make table_1 scale=laptop seed=0
	$(STUDY)

figure_2: $(READY)  ## contours of the generated masks
	$(STUDY)

figure_3: $(READY)  ## confusion matrices of three methods
	$(STUDY)

figure_4: $(READY)  ## ROC curves of three methods
	$(STUDY)

figure_5: $(READY)  ## features of three methods by t-SNE
	$(STUDY)

ablation: $(READY)  ## each part of the method changed alone
	$(STUDY)

leakage: $(READY)  ## how much a random split inflates the scores
	$(STUDY)

priors: $(READY)  ## masks compared with baselines that learn nothing
	$(STUDY)

unseen_specimens: $(READY)  ## the proposed method and ours on whole specimens that were never seen
	$(STUDY)

cross_set: $(READY)  ## train on each of several sets, test on all; e.g. make cross_set data=manifest data.name=lab_a,lab_b
	$(STUDY)

crops: $(READY)  ## the same cells cut tighter, looser and shifted: trained on each cut, tested on all
	$(STUDY)

tuned: $(READY)  ## Table I with the same budget of learning rates for each row, chosen in validation
	$(STUDY)

parts: $(READY)  ## what helps on unseen specimens, each changed alone
	$(STUDY)

test: $(DEVELOP)  ## the tests of the science and the contracts, in minutes
	$(PYTEST) -m "not integration and $(QUICK)"

test-integration: $(DEVELOP)  ## the tests that start processes: ranks, sweeps, signals, wandb
	$(PYTEST) -m "integration and $(QUICK)"

# Overlaid by a .pth file that adds the packages of .venv behind its own.
$(NEXT)/.ready: requirements-next.txt $(DEVELOP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(NEXT)
	$(BIN)/uv pip install --quiet --python $(NEXT) --no-deps --requirements requirements-next.txt
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > $$($(NEXT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/behind.pth
	@touch $@

NEXT_TESTS ?= tests/cli tests/test_conf.py tests/test_config.py tests/integration/test_sweeps.py
test-next: $(NEXT)/.ready  ## the tests of commands and sweeps on the next Hydra, OmegaConf and Optuna (make test-next NEXT_TESTS=tests: all)
	OMP_NUM_THREADS=1 $(NEXT)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "$(QUICK)" $(NEXT_TESTS)

# The lowest version of a package that pyproject.toml allows, as a requirement.
FLOOR = '$(shell sed -n 's/^  "\($(1)\)>=\([^",]*\).*/\1==\2.*/p' pyproject.toml)'
COMMA := ,
EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
EXTRAS_LOWEST = $(subst $(SPACE),$(COMMA),$(USERS) notebook dev)
INTO_LOWEST = $(BIN)/uv pip install --quiet --python $(LOWEST) --resolution
# PyTorch's index comes alone and first: uv would take all that it has from there. What is installed
# then stays as it is.
lowest_cpu = $(INTO_LOWEST) lowest --no-deps --index-url $(TORCH_INDEX) $(call FLOOR,torch) $(call FLOOR,torchvision)
$(LOWEST)/.ready: pyproject.toml $(DEVELOP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(lowest_$(TORCH))
	$(INTO_LOWEST) lowest-direct --group build --editable '.[$(EXTRAS_LOWEST)]'
	@touch $@

# Left out, at most five: the reference of keys lists those of the locked torch's optimizers; torch 2.6
# cannot write z-scores as ONNX, and says so; old tifffile, which the other two hold our reading against,
# cannot read compressions of fax and counts planes otherwise.
LEFT_OUT = tests/test_reference.py::test_both_files_are_up_to_date \
	'tests/inference/test_export.py::test_every_normalisation_is_inside[z_score]' \
	tests/data/readers/test_tiff.py::test_every_tiff_is_read_as_tifffile_reads_it_or_refused_by_what_it_is \
	tests/data/readers/test_tiff.py::test_planes_behind_one_header_are_counted_and_a_page_cut_out_is_read
LOWEST_TESTS ?= tests
test-lowest: $(LOWEST)/.ready  ## the default tests on the lowest versions that pyproject.toml allows, torch 2.6 (LOWEST_TESTS=tests/data: some)
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not integration and $(QUICK)" $(addprefix --deselect ,$(LEFT_OUT)) $(LOWEST_TESTS)

mutations: $(DEVELOP)  ## break the code in many places, one at a time, and see that a test fails
	$(BIN)/python -m tests.mutations

test-all: $(DEVELOP)  ## every test that needs no GPU and no Slurm, an hour; the browser's where Chromium is
	$(PYTEST) -m "not soak and not browser and not gpu and not slurm"
	$(BIN)/python -m pytest -m "soak or browser"

test-slurm: $(DEVELOP)  ## the sweeps on a real one-node Slurm (installs Debian's slurm-wlm and munge if missing)
	sh tests/install.sh slurm
	$(BIN)/python -m pytest -m slurm tests/slurm

test-browser: $(DEVELOP)  ## the HTML report in a real browser (installs Debian's chromium if missing)
	sh tests/install.sh browser
	$(BIN)/python -m pytest -m browser tests/browser

soak: $(DEVELOP)  ## 200 short trainings in one sweep, watching memory, files and processes
	$(BIN)/python -m pytest -m soak tests/soak

bench: $(DEVELOP)  ## what it costs, in ratios measured side by side
	$(BIN)/python -m experiments.benchmarks

bench-gpu: $(READY)  ## what training costs on your GPU, in five minutes: eager, as a CUDA graph, beside a plain loop
	$(BIN)/python -m experiments.benchmarks.gpu

sweeps-help:  ## the commands of sweeps that are typed most
	@sed -n '/^```sh/,/^```$$/{/^hep2gan\|^make\|^wandb/p}' docs/sweeps.md docs/slurm.md docs/dashboards.md

check: $(DEVELOP)  ## lint, format, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

audit: $(DEVELOP)  ## check the locked packages against the known vulnerabilities (needs the Python Package Index)
	$(BIN)/python .ci/audit.py requirements-dev.lock $(AUDIT)

schema: $(DEVELOP)  ## write docs/configuration.md and docs/train.schema.json from the settings classes
	$(BIN)/python docs/make_reference.py

docs: $(DEVELOP)  ## the documentation as a site in site/, with a reference from the code; stops at a warning
	$(BIN)/zensical build --clean --strict

format: $(DEVELOP)  ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

LOCK = $(BIN)/uv pip compile pyproject.toml --group build --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --quiet
lock: $(DEVELOP)  ## resolve pyproject.toml into the two locks for Python 3.11 to 3.13
	$(LOCK) $(USERS:%=--extra %) -o requirements.lock
	$(LOCK) $(DEVELOPERS:%=--extra %) -c requirements.lock -o requirements-dev.lock

wheel: $(READY)  ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean:  ## remove caches and build results; runs and stores stay
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
