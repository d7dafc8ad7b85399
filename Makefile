# The targets for people and CI. `make` alone lists them; CONTRIBUTING.md says more about each.
# On a new machine `make run` needs Python 3.11 or newer, nothing else.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_VERSION := 0.13.9
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11

# The first Python that really runs (a version manager's shim may not) and is new enough, in $$python.
# Override with make PYTHON=/path/to/python.
define find_python
python=; \
for candidate in $(or $(PYTHON),$(CANDIDATES)); do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
    python="$$candidate"; break; \
  fi; \
done; \
if [ -z "$$python" ]; then \
  echo 'imagegate needs Python 3.11 or newer, and found none as: $(or $(PYTHON),$(CANDIDATES))' >&2; \
  echo 'Name one yourself: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
  exit 1; \
fi
endef

# A virtual environment whose Python has gone is rebuilt.
ifneq ($(shell $(BIN)/python -c 'print("works")' 2>/dev/null),works)
.PHONY: $(VENV)/.made
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test faults siege fuzz lint lint-openapi sdks schemathesis types openapi docs kafka kafka-stop lock bench clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## install everything for development into .venv

# A PORT in the environment is another program's.
run: $(VENV)/.runtime ## start the gateway; PORT=n, and settings as IMAGEGATE_ variables of the environment
	@exec $(if $(filter command,$(firstword $(origin PORT))),env IMAGEGATE_HTTP__PORT='$(PORT)' )$(BIN)/imagegate serve

# Two workers, a file of tests at a time, as its tests share gateways: 187 s instead of 279 s on two
# cores. ARGS='-n 0' does without.
test: $(VENV)/.dev ## run every test; make test ARGS='-k upload' passes arguments to pytest
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

ROUNDS := 1

faults: $(VENV)/.dev ## run the whole matrix of faults on real brokers; ROUNDS=n repeats each
	FAULT_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/faults tests/kafka/test_export.py \
	  tests/kafka/test_image_reader.py $(ARGS)

siege: SECONDS := 20
siege: $(VENV)/.dev ## attack gateways, each attack for so many SECONDS, and measure a client beside it
	SIEGE_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/siege $(ARGS)

SECONDS := 60

fuzz: $(VENV)/.dev ## develop damaged images for so many SECONDS; fails on an unexpected error or picture
	$(BIN)/python -m tests.imaging.fuzz $(SECONDS)

lint: $(VENV)/.dev ## check the style of the code, and that imports point down
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

lint-openapi: ## check openapi.json and asyncapi.yaml in openapi/ by their linters; needs npm
	@if command -v npm >/dev/null; then \
	  $(MAKE) --no-print-directory $(NODE_MODULES) && $(REDOCLY) lint $(REDOCLY_OPTIONS) openapi/openapi.json && \
	  node dev/openapi/asyncapi.mjs openapi/asyncapi.yaml; \
	else \
	  echo 'lint-openapi: SKIPPED, npm is not installed. The linter needs Node.js 20.19 or newer.' >&2; \
	fi

NODE_MODULES := dev/openapi/node_modules/.package-lock.json
SDK_MODULES := dev/sdks/node_modules/.package-lock.json
# By default it reports its use, and looks for a newer version.
REDOCLY := REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true dev/openapi/node_modules/.bin/redocly
REDOCLY_OPTIONS := --config dev/openapi/redocly.yaml --lint-config error

$(NODE_MODULES) $(SDK_MODULES): dev/%/node_modules/.package-lock.json: dev/%/package.json dev/%/package-lock.json
	@echo 'Installing dev/$*/package-lock.json ...'
	@npm --prefix dev/$* ci --silent
	@touch $@

# Not in `make test`: a minute for most, and several for Rust. A client whose tools are missing is
# skipped, and the last lines say so.
SDKS := all

sdks: $(VENV)/.dev ## generate, compile and run clients; SDKS='python go hey-api' names languages or clients
	TEST_SDKS='$(SDKS)' $(BIN)/python -m pytest tests/clients/test_clients.py -k TestCalls -v $(ARGS)

SEED := 1

schemathesis: $(VENV)/.dev ## send a gateway what openapi.json allows, and what not; SEED=n sends other requests
	TEST_SEED='$(SEED)' $(BIN)/python -m pytest tests/clients/schemathesis.py $(ARGS)

types: $(VENV)/.dev ## check the types
	$(BIN)/mypy

openapi: $(VENV)/.runtime ## write openapi/openapi.json and openapi/events/
	@mkdir -p openapi/events
	$(BIN)/imagegate openapi > openapi/.openapi.json
	mv openapi/.openapi.json openapi/openapi.json
	$(BIN)/python -m dev.openapi.events openapi/events

docs: $(VENV)/.runtime ## write docs/configuration.md
	$(BIN)/python -m dev.configuration > docs/.configuration.md
	mv docs/.configuration.md docs/configuration.md

kafka: ## start Apache Kafka in the background on 127.0.0.1:9092 (KAFKA_PORT); KAFKA_SECURE=1 secures it
	@$(find_python); KAFKA_PORT='$(KAFKA_PORT)' KAFKA_SECURE='$(KAFKA_SECURE)' "$$python" -m dev.kafka start

kafka-stop: ## stop it; its data stays in data/kafka
	@$(find_python); KAFKA_SECURE='$(KAFKA_SECURE)' "$$python" -m dev.kafka stop

lock: $(VENV)/.made ## resolve requirements/ again; make lock ARGS=--upgrade allows newer versions
	$(PIP) install uv==$(UV_VERSION)
	$(COMPILE) $(RUNTIME_EXTRAS) pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --all-extras --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	$(BUILD_REQUIREMENTS) | $(COMPILE) -c requirements/dev.txt - -o requirements/build.txt

RUNTIME_EXTRAS := --extra speed --extra heic --extra codecs --extra archive --extra msk --extra progress

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' --no-emit-index-url --no-emit-find-links $(ARGS)

# The build backend, and its requirement for an installation in place (PEP 660).
BUILD_REQUIREMENTS = $(BIN)/python -c "import tomllib; \
  project = tomllib.load(open('pyproject.toml', 'rb')); \
  print(*project['build-system']['requires'], 'editables>=0.3', sep='\n')"

bench: $(VENV)/.dev ## measure uploads, downloads and memory; ARGS=host:port does it on that Kafka
	$(BIN)/python -m bench $(ARGS)

clean: ## remove what the other targets made, except data/
	rm -rf $(VENV) .jars dev/openapi/node_modules dev/sdks/node_modules build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find app bench dev tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.made:
	@$(find_python); \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$python cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
	  echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version) ..."; \
	"$$python" -m venv --clear $(VENV)
	@touch $@

# The project is installed in place, by the locked build backend: pip fetches nothing unpinned.
$(VENV)/.runtime: $(VENV)/.made requirements/runtime.txt requirements/build.txt pyproject.toml
	@echo 'Installing requirements/runtime.txt into $(VENV): only now, for a minute or so ...'
	@$(PIP) install --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) install --no-build-isolation --no-deps --no-index --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo 'Installing requirements/dev.txt ...'
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
