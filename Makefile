# make demo: the whole path on the built-in data, in minutes.   make test: the tests.   make test-nightly: the same faults many times, and broken copies that tests must notice.   All make .venv first.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
export OMP_WAIT_POLICY := passive
export TOKENIZERS_PARALLELISM := false
DEMO := runs/demo

.PHONY: demo test test-nightly clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check --quiet --constraint constraints.txt torch==2.13.0
	$(VENV)/bin/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(RUN) -m llmrec.prepare simulation --path $(DEMO)/world --out $(DEMO)/corpus > /dev/null
	$(RUN) -m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no -m train.pretrain --config demo data.corpus=$(DEMO)/corpus output=$(DEMO)/base > /dev/null
	$(RUN) -m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no -m train.finetune --config demo data.corpus=$(DEMO)/corpus model.base=$(DEMO)/base output=$(DEMO)/model > /dev/null
	$(RUN) -m eval.run standard --model $(DEMO)/model --out $(DEMO) data.corpus=$(DEMO)/corpus
	$(RUN) -m eval.show --model $(DEMO)/model data.corpus=$(DEMO)/corpus
	@echo "The report: $(DEMO)/report.html"

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q

test-nightly: $(VENV)/installed
	OMP_NUM_THREADS=1 LLMREC_FUZZ_ROUNDS=2000 LLMREC_KILLS=300 $(RUN) -m pytest -q -m "nightly or not nightly" tests/test_mutants.py tests/test_fuzzed_files.py tests/test_results.py tests/test_bad_input.py tests/test_evil_files.py

clean:
	rm -rf $(VENV) runs corpora build *.egg-info
