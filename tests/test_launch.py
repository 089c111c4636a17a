"""Trainings that a command starts are those of its own checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_another_checkout_trains_with_its_own_code_wherever_it_is_called(tmp_path):
    for name in ("llmrec", "train"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy" / "train" / "pretrain.py").write_text("import sys, llmrec\nprint('{\"of\": \"' + llmrec.__file__ + '\"}')\nprint(*sys.argv[1:], file=sys.stderr)\n")
    for name in ("llmrec", "train"):  # where it is called, a third one stands
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "__init__.py").write_text("raise SystemExit('the third')\n")
    code = "from pathlib import Path; from llmrec.launch import run_training; print(run_training('pretrain', 'tiny', ['seed=1'], log=Path('log')))"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path / "elsewhere", env={**os.environ, "PYTHONPATH": str(tmp_path / "copy")}, capture_output=True, text=True, check=True)
    assert done.stdout == f"(0, {{'of': '{tmp_path / 'copy' / 'llmrec' / '__init__.py'}'}})\n" and (tmp_path / "elsewhere" / "log").read_text() == "--config tiny seed=1\n"
