"""Broken copies of the product: each is noticed by the test that stands for what was broken. A test that cannot fail shows nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MUTANTS = yaml.safe_load((Path(__file__).parent / "mutants" / "mutants.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"].replace(" ", "-"))
def test_a_mutant_stands_for_what_is_there(mutant):
    assert (ROOT / mutant["file"]).read_text(encoding="utf-8").count(mutant["find"]) == 1, "the code has moved on: mend the mutant"


@pytest.mark.nightly
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"].replace(" ", "-"))
def test_a_mutant_is_caught(mutant, tmp_path):
    for name in ("llmrec", "train", "eval", "prompts", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    path = tmp_path / mutant["file"]
    path.write_text(path.read_text(encoding="utf-8").replace(mutant["find"], mutant["replace"]), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant["test"].split(" ")]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("LLMREC_")}  # once is enough to notice
    done = subprocess.run(command, cwd=tmp_path, env={**surroundings, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and " failed" in done.stdout, f"not noticed (exit {done.returncode}): {done.stdout[-800:]}{done.stderr[-400:]}"
