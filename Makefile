# Needs Python 3.11 to 3.13, make (GNU, 3.81 or later) and nothing else. `make` alone lists what there is.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --jobs=2 # both environments are installed at the same time
.PHONY: help up demo benchmarks test test-fast test-extras lint format types imports picture install lock clean distclean

VENV := .venv
BIN := $(VENV)/bin
LABEL_STUDIO_VENV := .venv-label-studio
UV := uv==0.13.9

# Which Python to build the environments with: PYTHON, if you name one, or the first of these that suits.
# The locked numpy (below 2.3) has no wheels for Python 3.14.
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11)
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# A stamp's name carries the checksum of what was installed and of where: a changed lock, or a moved
# folder, installs again. It is written last: an interrupted install leaves none.
checksum = $(shell (pwd; cat $(1)) | cksum | tr ' ' '-')
DEPENDENCIES := $(VENV)/.dependencies-$(call checksum,requirements/lock.txt)
PROJECT := $(VENV)/.project-$(call checksum,requirements/lock.txt pyproject.toml)
LABEL_STUDIO := $(LABEL_STUDIO_VENV)/.dependencies-$(call checksum,requirements/label-studio.txt)

# label-studio-ml's own server, for the test that compares its answers with ours.
LABEL_STUDIO_ML_VENV := .venv-label-studio-ml
LABEL_STUDIO_ML := $(LABEL_STUDIO_ML_VENV)/.dependencies-$(call checksum,requirements/label-studio-ml.txt)

# An extra is tested in an environment of its own, which stands on the project's: only what the extra
# adds is installed there.
EXTRAS := keras tensorflow
extra_stamp = .venv-$(1)/.dependencies-$(call checksum,requirements/lock.txt requirements/$(1).txt)
EXTRA_STAMPS := $(foreach extra,$(EXTRAS),$(call extra_stamp,$(extra)))

# What is imported gets compiled then: most of what is installed never is.
PIP_INSTALL := -m pip install -qq --no-compile --disable-pip-version-check --no-input

define find_python
python=; for p in $(PYTHONS); do if "$$p" -c '$(SUITS)' 2>/dev/null; then python=$$p; break; fi; done; \
if [ -z "$$python" ]; then \
	echo "Apprentice needs Python 3.11, 3.12 or 3.13, and found none of them as: $(PYTHONS)." >&2; \
	echo "Install one, or say where it is: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; fi
endef

# $(1): the environment's folder, $(2): its lock file, $(3): what to tell
define create_environment
	@$(find_python); \
	echo "Installing $(3) into $(1) (only once; some minutes)"; \
	"$$python" -m venv --clear $(1) || { \
		echo "Could not create $(1). On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	PIP_USER=0 $(1)/bin/python $(PIP_INSTALL) -r $(2)
	@touch $@
endef

$(DEPENDENCIES):
	$(call create_environment,$(VENV),requirements/lock.txt,Apprentice's packages)

$(PROJECT): $(DEPENDENCIES)
	@PIP_USER=0 $(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.project-*
	@touch $@

$(LABEL_STUDIO):
	$(call create_environment,$(LABEL_STUDIO_VENV),requirements/label-studio.txt,the real Label Studio)

$(LABEL_STUDIO_ML):
	$(call create_environment,$(LABEL_STUDIO_ML_VENV),requirements/label-studio-ml.txt,label-studio-ml's server)

# The venv's own site-packages come before what it stands on.
STAND_ON := import pathlib, sysconfig; here = pathlib.Path(sysconfig.get_path("purelib")); \
	(here / "project.pth").write_text(f"import site; site.addsitedir({sys.argv[1]!r})")

$(EXTRA_STAMPS): $(PROJECT)
	@extra=$(patsubst .venv-%/,%,$(dir $@)); \
	echo "Installing the extra $$extra into .venv-$$extra (only once; some minutes)"; \
	set -e; $(BIN)/python -m venv --clear ".venv-$$extra"; \
	below=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	".venv-$$extra/bin/python" -c 'import sys; $(STAND_ON)' "$$below"; \
	PIP_USER=0 ".venv-$$extra/bin/python" $(PIP_INSTALL) -r "requirements/$$extra.txt"
	@touch $@

# Two processes run tests, each whole files, in their order: the long ones come first. Threads that
# spin while they wait would take the time that the other process needs.
TOGETHER := -n 2 --no-loadscope-reorder
test test-fast: export OMP_WAIT_POLICY = PASSIVE

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

up: $(PROJECT) ## start Apprentice (options: ARGS="...")
	@exec $(BIN)/apprentice up $(ARGS)

demo: $(PROJECT) $(LABEL_STUDIO) ## Label Studio, sample images and Apprentice at once (BY_HAND=1: you label)
	@exec $(BIN)/apprentice demo $(ARGS)

benchmarks: $(PROJECT) $(LABEL_STUDIO) ## measure what is promised (ARGS="NAME ..." for some of it)
	$(BIN)/python -m benchmarks $(or $(ARGS),all)

test: $(PROJECT) $(LABEL_STUDIO) lint types imports ## everything that CI runs
	$(BIN)/python -m pytest $(TOGETHER) $(ARGS)

test-fast: $(PROJECT) ## the tests that take seconds
	$(BIN)/python -m pytest $(TOGETHER) -m "not slow and not e2e" $(ARGS)

test-extras: $(EXTRA_STAMPS) $(LABEL_STUDIO_ML) ## the optional extras, each in an environment of its own
	@set -e; for extra in $(EXTRAS); do \
		".venv-$$extra/bin/python" -m pytest -W default "tests/extras/test_$$extra.py" $(ARGS); \
	done
	$(BIN)/python -m pytest tests/extras/test_label_studio_ml.py $(ARGS)

lint: $(PROJECT) ## style, as ruff sees it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(PROJECT) ## repair the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(PROJECT) ## types, as mypy sees them
	$(BIN)/mypy

imports: $(PROJECT) ## who may import whom
	$(BIN)/lint-imports

picture: $(PROJECT) ## draw docs/images/folders.svg from the imports
	$(BIN)/python -m docs.folders

install: $(PROJECT) ## only install

# All but EXTRAS, which have lock files of their own.
LOCKED_EXTRAS := $(addprefix --extra ,worker export postgres s3 dev)

# Keeps what is pinned where it can; UPGRADE=--upgrade takes the newest of everything.
COMPILE = "$$d/bin/uv" pip compile -q --universal --python-version 3.11 --prerelease disallow \
	--custom-compile-command 'make lock' $(UPGRADE)

lock: ## resolve the lock files again (all to the newest: UPGRADE=--upgrade)
	@set -e; $(find_python); \
	d=$$(mktemp -d); trap 'rm -rf "$$d"' EXIT; trap 'exit 130' INT TERM; \
	"$$python" -m venv "$$d"; PIP_USER=0 "$$d/bin/python" $(PIP_INSTALL) $(UV); \
	$(COMPILE) --annotation-style line $(LOCKED_EXTRAS) -o requirements/lock.txt \
		pyproject.toml requirements/pins.in; \
	for extra in $(EXTRAS); do \
		$(COMPILE) --no-annotate --extra "$$extra" $(LOCKED_EXTRAS) -c requirements/lock.txt \
			-o "requirements/$$extra.txt" pyproject.toml requirements/pins.in; \
	done; \
	$(COMPILE) --no-annotate --extra postgres --extra s3 -c requirements/lock.txt \
		-o requirements/web.txt pyproject.toml; \
	$(COMPILE) --no-annotate --extra worker --extra postgres --extra s3 -c requirements/lock.txt \
		-o requirements/worker.txt pyproject.toml requirements/pins.in; \
	$(COMPILE) --annotation-style line -o requirements/label-studio.txt requirements/label-studio.in; \
	$(COMPILE) --annotation-style line -o requirements/label-studio-ml.txt requirements/label-studio-ml.in

clean: ## remove caches and build outputs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environments too (never your data)
	rm -rf $(VENV) $(LABEL_STUDIO_VENV) $(LABEL_STUDIO_ML_VENV) $(addprefix .venv-,$(EXTRAS))
