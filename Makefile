# make setup            make the environment only; other targets make it when they need it
# make demo             run the whole loop on the simulated city and print what happened
# make demo DATA=DIR    the same job on the TLC months in DIR
# make demo USE_CASE=X  the same for another use case of params.yaml
# make test             run every test, in an environment of its own
# make soak             kill steps at every point and runs at random times, and operate for weeks: three hours
PYTHON ?= python3
SOURCE ?= tlc
PORT ?= 3000
RUN := .venv/bin
TEST := .venv-test/bin

.PHONY: setup demo serve test soak lint types contracts lock clean
.DELETE_ON_ERROR:

setup: .venv/.complete

demo: .venv/.complete
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m cli.commands.demo $(if $(USE_CASE),--use-case $(USE_CASE)) $(if $(DATA),--source $(SOURCE) --path $(DATA))

serve: .venv/.complete
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m cli serve --port $(PORT)

# The tests start hundreds of processes. Python keeps what it compiled for the next one, whatever the environment says.
test soak: export PYTHONDONTWRITEBYTECODE =
# Their processes share two cores. A thread of OpenMP that waits for another one keeps one busy by default: training took three
# times the CPU.
test soak: export OMP_WAIT_POLICY = passive

test: .venv-test/.complete
	@PATH="$(CURDIR)/$(TEST):$$PATH" $(TEST)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not soak"

soak: .venv-test/.complete
	@PATH="$(CURDIR)/$(TEST):$$PATH" $(TEST)/python -m pytest -n 2 --dist loadfile -m soak

lint: .venv-test/.complete
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .

types: .venv-test/.complete
	$(TEST)/mypy

contracts: .venv-test/.complete
	$(TEST)/lint-imports

lock: # needs uv on PATH
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --output-file requirements.lock
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --constraint requirements.lock --output-file requirements-dev.lock
	uv pip compile --group pyproject.toml:clients --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --output-file requirements-clients.lock

clean: # delete everything that was computed; keep environments and params.yaml
	rm -rf data state reports dvc.lock feature_repo/feature_store.yaml

.venv/.complete: requirements.lock
	$(call environment,.venv,requirements.lock)

.venv-test/.complete: requirements-dev.lock
	$(call environment,.venv-test,requirements-dev.lock)

# Clients of other projects, which `make test` calls if they are there. They do not fit into the environment of the tests.
.venv-clients/.complete: requirements-clients.lock
	@rm -rf .venv-clients && $(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	@touch $@

# An environment is complete if its marker file exists. One whose installation was interrupted is made again.
define environment
@echo "Making $(1) from $(2): about three minutes, once."
@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Ratchet needs Python 3.11 to 3.13: make PYTHON=python3.11 …")'
@rm -rf $(1) && $(PYTHON) -m venv $(1)
@$(1)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(2)
@$(1)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
@touch $@
endef
