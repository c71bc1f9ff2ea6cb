# make run | test | check | docs | tour | soak | bench | zoo | clean. Needs Python >= 3.11 and make; everything else comes into .venv.
# Another interpreter: make PYTHON=python3.13 test

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY := .venv/.ready
PEERS := .venv/.ready-peers
DOCS := .venv/.ready-docs

.PHONY: run test check docs tour soak bench zoo clean
.DELETE_ON_ERROR:

# Both jobs, serially and under "auto", with a report of each.
run: $(READY)
	@$(BIN)/poolwise demo --output build

# Several tests at a time, as most of them wait: make JOBS=1 test
JOBS ?= 3
test: $(READY)
	@$(BIN)/python -m pytest -m "not soak" -n $(JOBS) --dist worksteal

check: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

# The documentation, as a site in build/site. A link that leads nowhere is an error.
docs: $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the documentation is in build/site/index.html"

# The pages of the tour, measured anew; nothing else should run meanwhile.
tour: $(READY)
	@$(BIN)/python benchmarks/tour_page.py docs/tour

# The same faults again and again; takes long.
soak: $(READY)
	@POOLWISE_SOAK=1 $(BIN)/python -m pytest -m soak

# Measured against other libraries; nothing else should run meanwhile.
bench: $(PEERS)
	@$(BIN)/python benchmarks/overhead.py

# How well `auto` chooses, against the best fixed shape and against other libraries; an hour on an idle machine.
zoo: $(PEERS)
	@$(BIN)/python benchmarks/zoo.py --peers

clean:
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# pip is the last thing that venv installs: without it an earlier try was interrupted.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: poolwise needs Python 3.11 or newer and '$(PYTHON)' is not one; name one: make PYTHON=python3.11" >&2; \
		exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP) install -c constraints.txt -e '.[dev,fetch,images,plot,report]'
	@$(BIN)/python -m compileall -q src  # As pip does for what it installs.
	@touch $@

$(PEERS): $(READY)
	@$(PIP) install -c constraints.txt -e '.[peers]'
	@touch $@

$(DOCS): $(READY)
	@$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@
