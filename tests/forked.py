"""pytest in processes forked from one that has imported what is not ours: seconds less for each of hundreds of runs, and the code that is tested is still read from its own folder.

Not a test: tests/test_mutants.py runs broken copies by it. Apart from `train/launched.py`, whose processes have our own code imported, too.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time

LIBRARIES = (
    "accelerate", "hypothesis", "matplotlib.figure", "numpy", "peft", "polars", "psutil", "pyarrow.parquet", "pydantic", "pytest", "sacrebleu", "safetensors.torch", "scipy.sparse.linalg", "sentencepiece",
    "sklearn.decomposition", "sklearn.feature_extraction.text", "sklearn.linear_model", "torch.distributed", "torch.utils.checkpoint", "tqdm", "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama", "yaml",
)
SECONDS = 600
"""After which a run is ended."""


class Server:
    """server(arguments, folder) -> the exit status of pytest with these arguments in this folder, minus the number of a signal that killed it, and what it said. A context manager."""

    def __init__(self):
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("LLMREC_", "PYTEST_"))}
        # One thread, before the libraries are loaded.
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**surroundings, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"})

    def __call__(self, arguments, folder):
        log = folder.with_name(f"{folder.name}.log")
        self._process.stdin.write(json.dumps({"arguments": list(arguments), "folder": str(folder), "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()), log.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve():
    """Answers each line of standard input, a run, with its exit status."""
    del sys.path[0]  # this folder
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        print(_status(_forked(**json.loads(line))), flush=True)


def _forked(arguments, folder, log):
    child = os.fork()
    if child:
        return child
    os.setsid()
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), (2, log, os.O_WRONLY | os.O_APPEND)):
        os.dup2(os.open(path, flags), number)
    code = 1
    with contextlib.suppress(SystemExit):
        code = int(importlib.import_module("pytest").main(arguments))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _status(child):
    until = time.monotonic() + SECONDS
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, 9)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.02)


if __name__ == "__main__":
    serve()
