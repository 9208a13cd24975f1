# make app    set up what is missing and open the app, for this machine only (a port: PORT=9000;
#             others: ADDRESS=0.0.0.0 HOSTS="reading.example.org 10.0.0.5"; their images: KDLIGHT_DATA=/data/sets)
# make test   set up what is missing and run every test
# make check  style, types and floors
# make hostile  minutes of seeded attacks for each part of tests/hostile, 30 minutes in all (PART_SECONDS=120)
# make audit  licenses, and known vulnerabilities of what is installed (asks a public service)
# make sbom   sbom.json: every installed package with version and license, as CycloneDX
# make docs   write what docs and README.md take from declarations, cards and records: recipes, tables, results

VENV := .venv
BIN := $(VENV)/bin
PORT ?=
PART_SECONDS ?= 120
ADDRESS ?= 127.0.0.1
HOSTS ?=

.PHONY: app test hostile check setup docs licenses audit sbom clean
.DELETE_ON_ERROR:

app: $(VENV)/.runtime
	@port=$$($(BIN)/python .ci/port.py $(PORT)) && exec $(BIN)/python -m streamlit run app.py \
		--server.port $$port --server.address $(ADDRESS) --server.showEmailPrompt false \
		$(foreach host,$(if $(HOSTS),localhost 127.0.0.1 $(HOSTS)),--server.allowedHosts $(host))

test: $(VENV)/.dev $(VENV)/.browser
	$(BIN)/python -m pytest --timeout=600

hostile: $(VENV)/.dev $(VENV)/.browser
	KDLIGHT_HOSTILE_SECONDS=$(PART_SECONDS) $(BIN)/python -m pytest tests/hostile -v -rA --timeout=3600

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py

setup: $(VENV)/.runtime

docs: $(VENV)/.runtime
	@$(BIN)/python tools/recipes_page.py --write
	@$(BIN)/python -m tools.write_table
	@$(BIN)/python -m tools.card_schema
	@$(BIN)/python -m tools.results docs/studies --out docs/results-full.md

licenses: $(VENV)/.dev
	$(BIN)/python -m pytest tests/test_requirements.py

audit: licenses $(VENV)/.audit
	$(BIN)/python tools/audit.py

sbom: $(VENV)/.audit
	$(BIN)/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible -o sbom.json

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# Each stamp lies in the environment that it speaks of, so it goes when that goes.
$(VENV)/.made: .ci/environment
	@sh .ci/environment $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements.txt pyproject.toml
	@sh .ci/install $(VENV) -r requirements.txt
	@sh .ci/install $(VENV) --no-deps -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@sh .ci/install $(VENV) -e '.[dev]'
	@touch $@

$(VENV)/.audit: $(VENV)/.dev
	@sh .ci/install $(VENV) -e '.[audit]'
	@touch $@

$(VENV)/.browser: $(VENV)/.dev .ci/browser
	@sh .ci/browser $(VENV)
	@touch $@
