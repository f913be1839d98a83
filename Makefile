# Everything that a developer does, a target each. The first two need Python 3.11 or later and make.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes

# What Python has compiled is kept, also where it is told not to: it is started some thousand times.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test image-test wheel-test test-newer chaos hostile page-pictures dashboard-picture soak bench bench-quick bench-compare fleet breaks coverage lint format docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# At a terminal it is a job of its own, so that Ctrl-C ends it alone, and make with no error.
demo: .venv/run-time ## the daemon with both services simulated; SCENARIO=outage plays a bad day
	@demo="$(BIN)/python -m qsticky demo $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(MINUTES),--minutes $(MINUTES))"; \
	  if [ -t 0 ]; then set -m; $$demo; else exec $$demo; fi

# All but the image's.
TESTS := pytest --ignore tests/image --numprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/development ## all tests but the image's; what needs a real part that is missing is skipped
	@$(BIN)/python -m $(TESTS)

image-test: .venv/development ## the image and the compose files, on a Docker engine; needs root
	@tests/image/run

wheel-test: .venv/development ## the wheel, installed, on every Python at hand
	@$(BIN)/python -m tests.deploy.every_python

test-newer: .venv/development ## what asks a real qBittorrent, against newer ones too; needs root
	@tests/newer-qbittorrent

chaos: .venv/development ## three minutes of random faults, and what became of them
	$(BIN)/python -m tools.chaos.chaos --seconds 180

hostile: .venv/development ## the daemon's memory beside services that send as much as they can
	$(BIN)/python -m tools.hostile

page-pictures: .venv/development ## the README's pictures of the page, in docs/pictures
	$(BIN)/python -m tools.page_pictures

# A copy is built, beside the 500 MB that come with Grafana's library.
APP := tools/dashboard_picture/app
BUILT := build/dashboard-picture

dashboard-picture: .venv/development $(BUILT)/node_modules/.package-lock.json ## the same of the dashboard, and both on laptop and phone; needs Node and npm
	@cp $(APP)/* $(BUILT)
	npm --prefix $(BUILT) run --silent build
	$(BIN)/python -m tools.dashboard_picture $(BUILT)

$(BUILT)/node_modules/.package-lock.json: $(APP)/package-lock.json
	@mkdir -p $(BUILT)
	@cp $(APP)/* $(APP)/.npmrc $(BUILT)
	npm --prefix $(BUILT) ci

soak: .venv/development ## 50,000 syncs, and what has grown
	$(BIN)/python -m tools.chaos.soak --syncs 50000

bench: .venv/development ## speed and memory, beside their floors; bench.json has it for the next
	$(BIN)/python -m tools.bench

bench-quick: .venv/development ## what matters most of it, in two minutes; OF=FOLDER measures another checkout
	$(BIN)/python -m tools.bench --quick $(if $(OF),--of $(OF)) $(if $(OUTPUT),--output $(OUTPUT))

bench-compare: .venv/development ## the last `make bench` beside an earlier one: BASE=bench-old.json
	$(BIN)/python -m tools.bench --compare $(BASE)

fleet: .venv/development ## every query of the dashboards, over three hours of a thousand instances
	$(BIN)/python -m tools.fleet --instances 1000 --hours 3

breaks: .venv/development ## break the code in ten places, one at a time, and see which the tests notice; SEED=N chooses
	$(BIN)/python -m tools.breaks $(if $(SEED),--seed $(SEED)) $(if $(OF),--of $(OF))

coverage: .venv/development ## the same tests, and how much of the package they cover, by branch
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m $(TESTS)
	@$(BIN)/coverage combine --quiet 2>/dev/null; rm -f .coverage.*  # killed processes leave halves
	@$(BIN)/coverage report --fail-under=98

# What git knows or would add, so that a new file is looked at before its commit.
FILES := git ls-files --cached --others --exclude-standard
SHELL_SCRIPTS := grep -lPzs --directories=skip '\A\#!.*[/ ](sh|bash)\n'
SCHEMA := $(BIN)/check-jsonschema --builtin-schema

lint: .venv/development ## ruff, mypy --strict, and a linter for each other kind of file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint $$($(FILES) '*Dockerfile')
	$(BIN)/shellcheck $$($(FILES) | xargs $(SHELL_SCRIPTS))
	$(BIN)/yamllint --strict .
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck
	$(BIN)/zizmor --quiet --offline --persona auditor .
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.renovate .github/renovate.json
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.compose-spec deploy/compose/*.yaml
	$(BIN)/typos

format: .venv/development ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/development ## write what is made of the code, and of the alerts, anew
	WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/repository/test_reference.py tests/unit/check/test_troubleshooting.py tests/unit/check/test_command.py \
	  tests/deploy/test_kubernetes.py::test_the_prometheus_rules_are_those_that_promtool_tests

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --no-emit-index-url --no-emit-find-links

lock: ## newest versions of all dependencies into the lock files; needs uv
	$(LOCK) --upgrade --extra notify --output-file requirements.txt pyproject.toml
	$(LOCK) --upgrade --extra notify --group dev --output-file requirements-dev.txt pyproject.toml
	$(LOCK) --group build --constraint requirements-dev.txt --output-file requirements-build.txt

clean: ## remove what the other targets made
	rm -rf .venv .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "qSticky needs Python 3.11 or later: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Setting up .venv, once ..."
	@$(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "Python's venv is missing: on Debian, install python3-venv."; exit 1; }
	@touch $@

.venv/run-time: .venv/made requirements.txt
	@$(PIP) -r requirements.txt
	@touch $@

.venv/development: .venv/made requirements-dev.txt pyproject.toml
	@$(PIP) -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ .venv/run-time
