# svdflow. `make help` lists the targets; each says which plain command it stands for.

PYTHON ?= python3
CONFIG ?=
ARGS   ?=
EXTRAS ?=
BENCH  ?= pipeline

VENV := .venv
BIN  := $(VENV)/bin
# ARGS stands before --configfile, which would take targets that follow it for files.
SNAKEMAKE = $(BIN)/snakemake $(ARGS) $(if $(CONFIG),--configfile '$(CONFIG)')
PLAN      = $(BIN)/python -m svdflow plan $(if $(CONFIG),--config '$(CONFIG)')
COMPILE   = $(BIN)/uv pip compile pyproject.toml --group build --extra parquet --universal --python-version 3.11 \
            --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links \
            --custom-compile-command 'make lock' --quiet $(ARGS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run resume faults fuzz soak test-dask test-slurm scale peers plan why clean test lint lock audit-deps docs bench bench-svd bench-images gpu-check

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  Options: CONFIG=study.yaml  ARGS="--cores 4"  PYTHON=python3.12  EXTRAS=cluster'

setup: $(VENV)/run.stamp ## Build .venv, svdflow installed editable (EXTRAS=cuda12 for a GPU)
	$(if $(EXTRAS),$(BIN)/python -m pip install --disable-pip-version-check --no-build-isolation --editable '.[$(EXTRAS)]',@true)

run: $(VENV)/run.stamp ## Run the study: svdflow run (plan --write, make way for what is damaged, snakemake)
	@$(BIN)/python -m svdflow run $(if $(CONFIG),--config '$(CONFIG)') -- $(ARGS)

resume: $(VENV)/run.stamp ## Go on after a kill or damage: verify every result, run what is due: svdflow resume
	@$(BIN)/python -m svdflow resume $(if $(CONFIG),--config '$(CONFIG)') -- $(ARGS)

plan: $(VENV)/run.stamp ## Items, shards, jobs, bytes and time that a run would take: svdflow plan
	@$(PLAN) $(ARGS)

why: $(VENV)/run.stamp ## The reason of each job that a run would do: snakemake --dry-run
	@$(SNAKEMAKE) --dry-run --quiet host

# Snakemake's records stay: those of studies with results elsewhere are among them.
clean: $(VENV)/run.stamp ## Remove the results that svdflow wrote, and nothing else: svdflow clean
	@$(BIN)/python -m svdflow clean $(if $(CONFIG),--config '$(CONFIG)')

test: $(VENV)/test.stamp ## Run the tests on all cores: pytest -n auto (ARGS="-n 0 -x tests/unit" for one process)
	$(BIN)/pytest -n auto --dist worksteal $(ARGS)

peers: $(VENV)/test.stamp ## Run what belongs to other libraries: their own tests on svdflow.compat, their faults
	$(BIN)/pytest -n auto --dist worksteal tests/peers $(ARGS)

faults: $(VENV)/test.stamp ## Inject 150 faults, count what became of them in docs/reliability.md (half an hour; as root, all)
	$(BIN)/pytest tests/faults --score docs/reliability.md $(ARGS)

soak: $(VENV)/test.stamp ## Run again and again with random faults: nothing leaks (half an hour; ARGS="--minutes 2")
	PYTHONPATH=tests:scripts $(BIN)/python tests/soak/soak.py $(ARGS)

fuzz: $(VENV)/test.stamp ## Bend what every parser reads, for ten minutes (ARGS="--minutes 1 image-tiff")
	$(BIN)/python tests/fuzz/run.py $(ARGS)

test-dask: $(VENV)/test.stamp ## Lose workers and schedulers of dask clusters, join them over TLS (some minutes)
	$(BIN)/pytest tests/dask $(ARGS)

test-slurm: $(VENV)/test.stamp ## Run studies on a real Slurm of one node, started for it where Slurm is installed (as root)
	$(BIN)/pytest tests/slurm $(ARGS)

scale: $(VENV)/test.stamp ## Check what the SVD promises of accuracy and errors over hundreds of seeds (some minutes)
	$(BIN)/pytest tests/scale $(ARGS)

# Of Snakemake's own lint one finding is accepted, "Specify a conda environment or container for each
# rule": all rules run in the one environment that requirements/run.txt pins with hashes, and an
# environment per rule would only let two stages see different libraries.
lint: $(VENV)/test.stamp ## ruff, mypy, the order of imports between rooms, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -qq tests/unit/test_layers.py
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/python tests/workflow/snakemake_lint.py --accept 'Specify a conda environment or container for each rule.'

lock: | $(VENV)/test.stamp ## Compile requirements/*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	$(COMPILE) --output-file requirements/run.txt
	$(COMPILE) --extra test --extra dev --constraint requirements/run.txt --output-file requirements/test.txt

audit-deps: $(BIN)/python ## Look up known vulnerabilities of the pinned requirements, by pip-audit
	$(BIN)/python requirements/audit.py

docs: $(VENV)/test.stamp ## Write the pages that are generated from code: options, tables, audits, api (needs scikit-learn)
	$(BIN)/python docs/generate.py

bench: $(VENV)/run.stamp ## Measure against the plain loop: python benchmarks/pipeline.py (BENCH=name)
	$(BIN)/python benchmarks/$(BENCH).py $(ARGS)

bench-svd: EXTRAS = bench
bench-svd: setup ## Measure the SVD against its peers: python benchmarks/svd.py (hours; ARGS=--small, --defaults, --regret)
	$(BIN)/python benchmarks/svd.py $(ARGS)

bench-images: EXTRAS = bench
bench-images: setup ## Measure denoisers and codecs against their peers: python benchmarks/images.py (an hour; ARGS=--small)
	$(BIN)/python benchmarks/images.py $(ARGS)

gpu-check: $(VENV)/test.stamp ## Test and measure the GPU that CuPy finds (ARGS=--fake-gpu: a dry run without one)
ifneq (,$(findstring --fake-gpu,$(ARGS)))
	$(BIN)/pytest -m gpu tests/gpu -n auto $(ARGS)
	$(BIN)/python benchmarks/gpu.py --backend numpy --small --seeds 1
else
	@$(BIN)/python -c 'import cupy' 2>/dev/null || \
	  { echo "No CuPy in $(VENV). For CUDA 12: make setup EXTRAS=cuda12 (or cuda13)." >&2; exit 1; }
	$(BIN)/python -c 'import cupy; cupy.show_config()'
	$(BIN)/pytest -m gpu tests/gpu $(ARGS)
	$(BIN)/python benchmarks/gpu.py
endif

# One environment serves run and test: test.txt holds all of run.txt at the same versions.
$(VENV)/run.stamp: requirements/run.txt pyproject.toml $(BIN)/python
	$(call install,$<)
	@touch $@

$(VENV)/test.stamp: requirements/test.txt pyproject.toml $(BIN)/python
	$(call install,$<)
	@touch $(VENV)/run.stamp $@

# The requirements are complete (--no-deps) and hashed; the build backend is among them.
define install
	@echo 'Installing $(1) into $(VENV) (a minute or two the first time) ...'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r $(1)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "svdflow needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one that is: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' cannot build an environment. On Debian and Ubuntu: apt install $(notdir $(PYTHON))-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
