# make help lists the targets. Everything runs in .venv, made from requirements.lock.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
DEMO := runs/demo
STUDIES := table_1 figure_2 figure_3 figure_4 figure_5 ablation leakage priors unseen_specimens parts cross_set
# Two workers of one thread each; tests of a file share their fixtures.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
QUICK = not slow and not soak and not gpu and not slurm and not browser
# What is said in lower case behind a study goes on to the training: make table_1 scale=laptop seed=0
# A space in a value, which make writes as "\ ", is no end of a word: it stands as ␣ in between.
OVERRIDES = $(filter-out $(addsuffix %,A B C D E F G H I J K L M N O P Q R S T U V W X Y Z),$(subst \ ,␣,$(MAKEOVERRIDES)))
STUDY = $(BIN)/python experiments/studies/run.py $@ $(foreach override,$(OVERRIDES),'$(subst ␣, ,$(subst ','\'',$(override)))')

.DEFAULT_GOAL := help
.PHONY: help setup demo $(STUDIES) test test-integration mutations test-all test-slurm test-browser soak bench bench-gpu sweeps-help check audit schema format lock wheel clean

help:  ## show this list
	@grep -E '^[a-z0-9_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

setup: $(READY)  ## make .venv with the locked packages

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

unseen_specimens: $(READY)  ## five folds of whole specimens
	$(STUDY)

cross_set: $(READY)  ## train on each of several sets, test on all; e.g. make cross_set data=manifest data.name=lab_a,lab_b
	$(STUDY)

parts: $(READY)  ## what helps on unseen specimens, each changed alone
	$(STUDY)

test: $(READY)  ## the tests of the science and the contracts, in minutes
	$(PYTEST) -m "not integration and $(QUICK)"

test-integration: $(READY)  ## the tests that start processes: ranks, sweeps, signals, wandb
	$(PYTEST) -m "integration and $(QUICK)"

mutations: $(READY)  ## break the code in many places, one at a time, and see that a test fails
	$(BIN)/python -m tests.mutations

test-all: $(READY)  ## every test that needs no GPU and no Slurm, an hour; the browser's where Chromium is
	$(PYTEST) -m "not soak and not browser and not gpu and not slurm"
	$(BIN)/python -m pytest -m "soak or browser"

test-slurm: $(READY)  ## the sweeps on a real one-node Slurm (installs Debian's slurm-wlm and munge if missing)
	sh tests/install.sh slurm
	$(BIN)/python -m pytest -m slurm tests/slurm

test-browser: $(READY)  ## the HTML report in a real browser (installs Debian's chromium if missing)
	sh tests/install.sh browser
	$(BIN)/python -m pytest -m browser tests/browser

soak: $(READY)  ## 200 short trainings in one sweep, watching memory, files and processes
	$(BIN)/python -m pytest -m soak tests/soak

bench: $(READY)  ## what it costs, in ratios measured side by side
	$(BIN)/python -m experiments.benchmarks

bench-gpu: $(READY)  ## what each switch for a GPU does on yours, in ratios measured side by side
	$(BIN)/python -m experiments.benchmarks.step gpu

sweeps-help:  ## the commands of sweeps that are typed most
	@sed -n '/^## Sweeps/,/^Each job/{/^hep2gan\|^    /p}' README.md
	@sed -n '/^## Dashboards/,/^One run/{/^wandb\|^hep2gan/p}' README.md

check: $(READY)  ## lint, format, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

audit: $(READY)  ## check the locked packages against the known vulnerabilities (needs the Python Package Index)
	$(BIN)/python /ci/audit.py requirements.lock $(AUDIT)

schema: $(READY)  ## write docs/configuration.md and docs/train.schema.json from the settings classes
	$(BIN)/python docs/make_reference.py

format: $(READY)  ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)  ## resolve pyproject.toml into requirements.lock for Python 3.11 to 3.13
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra tensorboard --extra slurm --extra optuna --extra dashboard \
		--extra onnx --extra microscopy --extra notebook --extra benchmarks --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header -o requirements.lock

wheel: $(READY)  ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean:  ## remove caches and build results; runs and stores stay
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
