# make demo: the whole path on the built-in data, in twenty minutes.   make test: the tests.   make test-nightly: the same faults many times, and broken copies that tests must notice.   All make .venv first; with LOCKED=yes from the very files that requirements.lock names by their hashes.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(VENV)/bin/pip --disable-pip-version-check
LOCKED ?= no
export OMP_WAIT_POLICY := passive
export TOKENIZERS_PARALLELISM := false
DEMO := runs/demo
# What takes longest begins first.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
RELIABILITY := $(addprefix tests/,test_mutants.py attacks train/test_survival.py train/test_peers.py train/test_checkpoint.py eval/test_killed_run.py test_fuzzed_files.py test_results.py test_generate_faults.py test_power_loss.py test_bad_input.py test_evil_files.py test_accounting.py test_privacy.py test_platform.py test_packaging.py test_steady.py \
	test_valid_items.py test_naming.py test_quotations.py test_answered_texts.py test_vocabulary.py readers/test_json_lines.py metrics/test_ten_thousand.py test_chance.py audit)

define LOCK
import json, re, sys
found = [(re.sub(r"[-_.]+", "-", each["metadata"]["name"]).lower(), each["metadata"]["version"], each["download_info"]) for each in json.load(sys.stdin)["install"]]
head = open("requirements.lock").readline()
with open("requirements.lock", "w") as file:
    file.write(head + "".join(f"{name}=={version} --hash=sha256:{taken['archive_info']['hashes']['sha256']}\n" for name, version, taken in sorted(found, key=lambda row: row[:2]) if name != "llmrec"))
endef
export LOCK

.PHONY: demo test test-nightly lock clean

$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
ifeq ($(LOCKED),yes)
	$(PIP) install --quiet --require-hashes --only-binary :all: --requirement requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
else
	$(PIP) install --quiet --constraint constraints.txt torch==2.13.0
	$(PIP) install --quiet --constraint constraints.txt --editable ".[test]"
endif
	touch $@

# What the constraints lead to, with hashes: pip resolves, and says which file it would take for each.
lock:
	$(PIP) install --quiet --dry-run --ignore-installed --only-binary :all: --report /dev/stdout --constraint constraints.txt torch==2.13.0 setuptools wheel ".[test]" | $(RUN) -c "$$LOCK"

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(RUN) -m llmrec.prepare simulation --path $(DEMO)/world --out $(DEMO)/corpus > /dev/null
	$(RUN) -m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no -m train.pretrain --config demo data.corpus=$(DEMO)/corpus output=$(DEMO)/base > /dev/null
	$(RUN) -m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no -m train.finetune --config demo data.corpus=$(DEMO)/corpus model.base=$(DEMO)/base output=$(DEMO)/model > /dev/null
	$(RUN) -m eval.run standard --model $(DEMO)/model --out $(DEMO) data.corpus=$(DEMO)/corpus
	$(RUN) -m eval.show --model $(DEMO)/model data.corpus=$(DEMO)/corpus
	@echo "The report: $(DEMO)/report.html"

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q $(WORKERS)

test-nightly: $(VENV)/installed
	rm -f docs/reliability.json
	OMP_NUM_THREADS=1 LLMREC_FUZZ_ROUNDS=1000 LLMREC_TABLES=1000 LLMREC_KILLS=300 LLMREC_ROUNDS=14 LLMREC_POSITIONS=340000 $(RUN) -m pytest -q $(WORKERS) --durations 20 --timeout 5400 -m "nightly or not nightly" -p tests.reliability --reliability docs $(RELIABILITY)

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
