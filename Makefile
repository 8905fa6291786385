# `make demo` and `make test` make their own virtual environment; you install nothing by hand.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DATA ?= data/demo
DEMO_WORKSPACE ?= data/demo-workspace

.DEFAULT_GOAL := help
.PHONY: help install demo test format lint types imports pytest coverage soak gpu lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make the virtual environment

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

demo: install ## generated corpus -> features -> training -> report, through Prefect
	$(BIN)/birdclef synth $(DEMO_DATA)
	$(BIN)/birdclef run demo data.root=$(DEMO_DATA) --workspace $(DEMO_WORKSPACE)

test: lint types imports pytest ## everything that CI checks

format: install ## format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install ## ruff, hadolint, compose.yaml against its schema
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

types: install ## mypy, strict
	$(BIN)/mypy

imports: install ## import contracts
	$(BIN)/lint-imports

# One worker more than there are cores, because many tests wait for a server.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST := pytest --hypothesis-profile=ci --numprocesses $(WORKERS) --maxprocesses 5 --dist loadfile --no-loadscope-reorder
# The tensors are small: more threads would only wait for each other.
pytest coverage soak: export OMP_NUM_THREADS = 1
# Some images forbid bytecode by this variable. The tests start many processes: each would compile the project anew.
pytest coverage soak: export PYTHONDONTWRITEBYTECODE =

# In a new environment each worker would compile librosa's functions, 40 seconds of work: here it is done once.
$(VENV)/.compiled: $(VENV)/.installed
	$(BIN)/python -c "from librosa.feature import melspectrogram"
	@touch $@

pytest: $(VENV)/.compiled ## tests
	$(BIN)/python -m $(PYTEST)

coverage: $(VENV)/.compiled ## tests with branch coverage, also in child processes: a third slower
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

soak: $(VENV)/.compiled ## long fault-injection tests
	$(BIN)/python -m pytest -m soak

gpu: install ## tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

LOCK := $(BIN)/uv pip compile --upgrade --quiet --python-version 3.11 --universal --generate-hashes --no-annotate \
	--no-header
IMAGE := pyproject.toml --extra s3
TORCH := '^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)=='
lock: install ## pin the newest packages that the image may have, with their hashes, in requirements/
	$(BIN)/pip install --quiet "uv>=0.9,<1"
	$(LOCK) requirements/sbom.in --output-file requirements/sbom.txt
	$(LOCK) $(IMAGE) --output-file requirements/all.txt
	$(LOCK) $(IMAGE) --output-file requirements/without-torch.txt --constraint requirements/all.txt \
		$$(grep -oE $(TORCH) requirements/all.txt | sed 's/^/--no-emit-package /; s/==//')

clean: ## remove environment, caches and the demo's data and workspace
	rm -rf $(VENV) $(DEMO_WORKSPACE) $(DEMO_DATA) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
