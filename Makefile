# The two commands of the README: `make demo` and `make test`. Both make .venv first where it is missing.

PYTHON ?= python3
# Optional parts to install besides: `make test EXTRAS=dev,ldap` for directories, which need C headers (see .ci/run).
EXTRAS ?= dev
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
comma := ,
# Services and clients from npm that tests run, each in the folder of its package.json.
NPM := $(patsubst %/package.json,%/node_modules/.package-lock.json,\
  $(wildcard tests/servers/*/package.json tests/flows/browser/*/package.json))

.PHONY: demo test lint types contracts tests docs play long bench mutants
.PHONY: long-faults long-kills long-overtakes long-lives long-contract long-model long-properties long-field

demo: .venv/.installed
	$(BIN)/provisor demo

# Everything that CI runs. Types take minutes and are checked beside the tests; what is quick comes first.
test: lint contracts
	@$(MAKE) --no-print-directory --jobs=2 types tests

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.installed
	$(BIN)/mypy

contracts: .venv/.installed
	$(BIN)/lint-imports

# What failed is repeated alone: a test that passes then was disturbed by another one, or by a busy machine. The first run's
# failures stay in the log, to be mended all the same. More than five are never a coincidence.
tests: .venv/.installed $(NPM)
	@rm -f .pytest_cache/v/cache/lastfailed
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder || { [ $$? -eq 1 ] && $(BIN)/python -m tests.once_more; }

# A failure does not end the run: tests that need what is missing say so.
%/node_modules/.package-lock.json: %/package.json
	@echo "Installing the npm packages of $* ..."
	@npm install --prefix $* --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error && touch $@ \
	  || echo "They are not there: tests that need them will say so."

# README from the clone to the first account, word for word, in an environment with nothing in it; says what each step takes.
play:
	$(PYTHON) -m tests.play.readme

# The documentation as a site in site/, without network.
docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict --quiet

# Everything with the long forms of suites that have a short one.
long: .venv/.installed $(NPM)
	PROVISOR_LONG=1 $(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder

# The long forms of the suites that attack the safety promises, one by one; tests/README.md says how long each takes.
LONG := PROVISOR_LONG=1 CI=true nice -n 10 $(BIN)/python -m pytest -q -p no:cacheprovider -s

long-faults: .venv/.installed
	$(LONG) tests/faults/test_matrix.py tests/faults/test_late.py tests/faults/test_never_sent.py

long-kills: .venv/.installed
	$(LONG) tests/faults/test_kill.py

long-overtakes: .venv/.installed
	$(LONG) tests/faults/test_overtaken.py

long-lives: .venv/.installed
	$(LONG) tests/faults/test_lives.py

long-contract: .venv/.installed
	$(LONG) tests/contract/test_contract.py -k active_directory

long-model: .venv/.installed
	nice -n 10 $(BIN)/python -m tests.benchmarks.model --in-all 5000

long-properties: .venv/.installed
	$(LONG) tests/properties

# Trouble from the field: 10,000 cells in filters, 10,000 memberships that are never shown, and sentences about people in a
# thousand worlds.
long-field: .venv/.installed
	$(LONG) tests/properties/test_filters.py::test_the_table_decides_for_any_cell \
	  tests/connectors/scim/test_unseen.py::test_nobody_is_lost_who_was_never_seen tests/properties/test_sentences.py

# Small faults in the code that guards people, drawn at random, and whether the tests notice them.
mutants: .venv/.installed
	CI=true nice -n 10 $(BIN)/python -m tests.mutation

# Benchmarks print figures; nothing is asserted about time.
bench: .venv/.installed
	for benchmark in plan mapping creates ledger; do $(BIN)/python -m tests.benchmarks.$$benchmark || exit 1; done

# pip takes minutes to work out what constraints.txt says already. So the pinned packages are put in as they stand, and
# pip then looks that nothing is missing: it adds what is, a package for another platform say, and python-ldap, which is
# compiled. Byte code is made on all cores, but for Microsoft's client: tests use little of its 392 MB.
PINNED := .venv/pinned.txt

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Provisor needs Python 3.11 or later: make PYTHON=python3.11")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
ifneq (,$(filter dev,$(subst $(comma), ,$(EXTRAS))))
	@grep -v '^python-ldap' constraints.txt >$(PINNED)
	@echo "Installing $$(grep -c . $(PINNED)) pinned packages into .venv (about a minute, and the time of the download) ..."
	@$(PIP) --no-deps --requirement $(PINNED) || echo "Not all of them could be installed as they stand; pip works out what to install."
endif
	@echo "Installing Provisor, with what is still missing ..."
	@$(PIP) --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@echo "Compiling to byte code ..."
	@$(BIN)/python -m compileall -q -j 0 -x '/site-packages/msgraph/' .venv/lib flows tasks connectors >/dev/null || true
	@echo "Making the empty Prefect database that runs begin with ..."
	@$(BIN)/python -m flows.serve.prefect_database
	@touch $@
