# make retrain [SOURCE=path-or-url] [CONFIG=local|bert-base|file.toml] [FORCE=1] [DRY_RUN=1]   from CSV to verdict
# make up [PORT=8080]                                                     Airflow's UI on this machine
# eval "$(make env)"                                                     plain `airflow` in this shell, on the same home
# make screenshots                                                       the form and a report, light and dark, in build/pictures
# make bench-peers [SOURCE=path]                                          beside PyTorch, Hugging Face and ONNX Runtime
# make gpu-check                                                          what only a GPU can show, in ten minutes
# make secrets                                                            what docker-compose.yaml needs, once, in .env
# make test-containers [COMPOSE_FILES=file:file]                          the production shape in containers: needs Docker
# make audit | licences | sbom                                            known flaws, licences, bills of materials of the locks
# make coverage [PYTEST=tests/room]                                       lines and branches that the tests run
# make test | check | bench | lock | clean                               everything is set up on first use
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: retrain up env ready secrets test test-training test-others test-containers coverage screenshots check bench bench-peers gpu-check audit licences sbom lock clean
.DELETE_ON_ERROR:

BIN := .venv/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
ALL := .venv/installed-all
DEV := .venv/installed-dev
PEERS := .venv/peers
AUDIT := .venv/audit

# The output of `make env` is for a shell to run: no command is shown in it.
ifneq ($(filter env,$(MAKECMDGOALS)),)
.SILENT:
endif

# A name that is misspelt would train on something else in silence.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
MISSPELT := $(filter-out SOURCE CONFIG FORCE DRY_RUN PYTEST -*% SINCERE_% WANDB_% KAGGLE_% AIRFLOW_%,$(GIVEN))
ifneq ($(and $(filter retrain,$(MAKECMDGOALS)),$(MISSPELT)),)
$(error make retrain does not know $(MISSPELT): it knows SOURCE, CONFIG, FORCE and DRY_RUN)
endif

override FORCE := $(filter-out 0 false no,$(FORCE))
override DRY_RUN := $(filter-out 0 false no,$(DRY_RUN))
export SOURCE FORCE DRY_RUN
# Each step is a process of its own, and would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
export SINCERE_HOME := $(shell home="$${SINCERE_HOME:-var}"; [[ $$home == "~" || $$home == "~/"* ]] && home="$$HOME$${home:1}"; realpath -m -- "$$home")
export TF_USE_LEGACY_KERAS := 1
export AIRFLOW_HOME := $(SINCERE_HOME)/airflow
export AIRFLOW__CORE__DAGS_FOLDER := $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER := $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES := False
# A plugin's tabs stand on every DAG; this hides them where the DAG is not of this kind, and wraps what has no room; the
# icon of the chosen entry is white, as its text is.
export AIRFLOW__API__THEME := {"globalCss": {":is(a[href*='/plugin/promotions'], a[href*='/plugin/data-quality']):not([href*='/dags/retrain_'])": {"display": "none"}, "a[href*='/plugin/report']:not([href*='/dags/retrain_'], [href*='/dags/rollback_'], [href*='/dags/score_'])": {"display": "none"}, "a[aria-current='page'] img[src*='/static/models']": {"filter": "brightness(0) invert(1)"}, "div:has(> a[href*='/dags/'][href*='/plugin/'])": {"flexWrap": "wrap"}}}
export AIRFLOW__API__PORT := $(or $(PORT),$(AIRFLOW__API__PORT),8080)
export AIRFLOW__API__BASE_URL := http://localhost:$(AIRFLOW__API__PORT)

# A terminal shows what the steps say; of Airflow itself errors only, and not the traceback below a step's own error.
retrain: export AIRFLOW__LOGGING__LOGGING_LEVEL := ERROR
retrain: export AIRFLOW__LOGGING__NAMESPACE_LEVELS := airflow.task.operators=INFO task=CRITICAL
retrain: export AIRFLOW__LOGGING__LOG_FORMAT := %(message)s

# Not in the run's conf, which Airflow keeps: a source may bear a password.
retrain: export SINCERE_SOURCE := $(or $(SOURCE),$(SINCERE_SOURCE))
retrain: export SINCERE_CONFIG := $(or $(CONFIG),$(SINCERE_CONFIG))

retrain: $(ALL)
	@$(MIGRATE)
	@$(BIN)/airflow dags test --bundle-name dags-folder retrain_quora --conf "$$($(BIN)/python -c '$(CONF)')"
	@$(BIN)/python -m ml verdict

test: $(DEV)
ifneq ($(findstring tests/,$(PYTEST)),)
	$(PYTEST_FILES) $(PYTEST)
else
	$(MAKE) --no-print-directory --jobs 2 test-training test-others
endif

# Training is tested in processes of its own, as a step runs: none that has used network clients before.
test-training:
	$(PYTEST_FILES) --numprocesses 2 tests/training $(PYTEST) || [ $$? -eq $(NO_TESTS) ]

test-others:
	$(PYTEST_FILES) --ignore tests/training $(PYTEST) || [ $$? -eq $(NO_TESTS) ]

# In all processes of the tests, but for what one that was killed had not saved yet.
coverage: export COVERAGE_PROJECT := $(CURDIR)
coverage: $(DEV)
	rm -rf build/coverage
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(MAKE) --no-print-directory test
	$(BIN)/python -W ignore -m coverage combine --quiet && $(BIN)/coverage report --skip-covered --precision 1

# The engine may see another memory than this machine's.
test-containers: export TMPDIR := $(or $(TMPDIR),/tmp)
test-containers: $(DEV)
	@docker compose version > /dev/null && docker version > /dev/null || { echo "make test-containers needs a Docker engine with Compose" >&2; exit 1; }
	$(BIN)/python -m pytest -m containers tests/containers $(PYTEST)

screenshots: $(DEV)
	SINCERE_PICTURES=build/pictures $(BIN)/python -m pytest tests/airflow/test_story.py

check: $(DEV)
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && PYTHONPATH=plugins $(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/compose-lint check --fail-on low --strict-config --skip-suppressed --no-env --quiet docker-compose.yaml

up: ready
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m scripts.up

env: ready
	@$(BIN)/python -m scripts.env

ready: $(ALL)
	@[ "$$AIRFLOW_HOME/ready" -nt requirements/all.txt ] || { $(QUIET) $(BIN)/python -m scripts.ready >&2 && touch "$$AIRFLOW_HOME"/{migrated,ready}; }

# Without the project's packages: a machine that runs containers needs none.
secrets:
	@python=$$($(FIND_PYTHON)) && "$$python" scripts/compose_secrets.py

bench: $(DEV)
	$(BIN)/python -m benchmarks

bench-peers: $(DEV) $(PEERS)/installed
	$(BIN)/python -m benchmarks.peers $(PEERS)/bin/python

gpu-check: $(ALL)
	$(BIN)/python -m benchmarks.gpu_check

# Asks PyPI for known flaws of each version; a package that it cannot be asked about is an error.
audit: $(AUDIT)/installed
	for lock in $(IMAGE_LOCKS); do $(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements/$$lock.txt; done

licences: $(ALL) $(AUDIT)/installed
	@mkdir -p build
	$(AUDIT)/bin/pip-licenses --python $(BIN)/python --with-urls --order license --format markdown --output-file build/licences.md

sbom: $(AUDIT)/installed
	@mkdir -p build
	for lock in $(IMAGE_LOCKS); do $(AUDIT)/bin/cyclonedx-py requirements --output-reproducible --output-file build/sbom-$$lock.json requirements/$$lock.txt; done

lock: $(UV)
	$(COMPILE) --upgrade pyproject.toml --group airflow --output-file requirements/all.txt
	$(COMPILE) --group airflow --constraints requirements/all.txt --output-file requirements/airflow.txt
	$(COMPILE) pyproject.toml --group airflow --group dev --constraints requirements/all.txt --output-file requirements/dev.txt
	$(COMPILE) --upgrade --group peers --output-file requirements/peers.txt
	$(COMPILE) --upgrade --group audit --output-file requirements/audit.txt
	$(COMPILE) pyproject.toml --group airflow --extra cuda --constraints requirements/all.txt --output-file requirements/cuda.txt

clean:
	rm -rf .venv var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(UV):
	@python=$$($(FIND_PYTHON)) && "$$python" -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)

$(ALL): requirements/all.txt pyproject.toml | $(UV)
	$(INSTALL)
	$(INSTALL_PROJECT) && touch $@

$(DEV): requirements/dev.txt $(ALL)
	$(INSTALL) && touch $@

$(PEERS)/installed: requirements/peers.txt | $(UV)
	$(BIN)/python -m venv $(PEERS)
	$(UV) pip install --python $(PEERS)/bin/python --require-hashes --requirements $< && touch $@

$(AUDIT)/installed: requirements/audit.txt | $(UV)
	$(BIN)/python -m venv $(AUDIT)
	$(UV) pip install --python $(AUDIT)/bin/python --require-hashes --requirements $< && touch $@

# The images' locks: sincere-airflow, sincere-ml, sincere-ml-cuda.
IMAGE_LOCKS := airflow all cuda
# Files in the order of tests/conftest.py. Five workers for two cores: the tests of a running Airflow wait much.
PYTEST_FILES = $(BIN)/python -m pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder
NO_TESTS = 5
INSTALL = $(UV) pip install --python $(BIN)/python --require-hashes --requirements $<
# From this folder, by the locked setuptools: `import ml` and the command `sincere` then work in any folder.
INSTALL_PROJECT = $(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate
MIGRATE = [ "$$AIRFLOW_HOME/migrated" -nt requirements/all.txt ] || { $(QUIET) $(BIN)/airflow db migrate >&2 && touch "$$AIRFLOW_HOME/migrated"; }
QUIET = AIRFLOW__LOGGING__LOGGING_LEVEL=CRITICAL
CONF = import json, os; print(json.dumps({name.lower(): True for name in ("FORCE", "DRY_RUN") if os.environ.get(name)}))

define FIND_PYTHON
for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2> /dev/null && echo "$$python" && exit; \
done; echo "Python 3.11, 3.12 or 3.13 is needed, with its venv module" >&2; exit 1
endef
