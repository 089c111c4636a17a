"""What the README claims can be run: its commands answer, its names exist, its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmrec.baselines import BASELINES
from llmrec.config import find_config
from llmrec.indexing import INDEXES
from llmrec.readers import READERS
from llmrec.tasks import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_the_table_of_tasks_is_the_table_of_tasks():
    table = README.split("| task | question |")[1].split("\n\n")[0]
    named = [name.strip() for line in table.split("\n")[2:] if line for name in line.split("|")[1].split(",")]
    assert named == list(TASKS)


def test_every_reader_index_and_config_named_exists():
    named = re.search(r"reads (.*?); `--help`", README, re.DOTALL).group(1)
    assert re.findall(r"`([\w-]+)`", named) == list(READERS)
    assert set(re.findall(r"`index=(\w+)`|`(semantic|title)` \(", README)) and all(name in README for name in INDEXES)
    for name in set(re.findall(r"--config ([\w-]+)", README)):
        assert find_config(name).is_file()
    assert "sasrec" in BASELINES


def commands() -> set[str]:
    return {module for _, block in BLOCKS for module in re.findall(r"-m ((?:llmrec|train|eval)\.[\w.]+)", block)}


@pytest.mark.slow
@pytest.mark.parametrize("module", sorted(commands()))
def test_every_command_answers_help(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0 and "usage" in done.stdout


def test_every_option_shown_is_an_option():
    for text in re.findall(r"python -m llmrec\.generate [^\n]*", README):
        for flag in re.findall(r"--[\w-]+", text):
            assert f'"{flag}"' in (ROOT / "llmrec" / "generate.py").read_text()


def test_the_opening_code_compiles_and_shows_its_output():
    code = next(block for language, block in BLOCKS if language == "python")
    compile(code, "README.md", "exec")
    assert len(code.strip().split("\n")) <= 14 and "# =>" in code


def test_all_code_compiles_and_names_what_there_is():
    for language, code in BLOCKS:
        if language == "python":
            compile(code, "README.md", "exec")
            questions = "\n".join(line for line in code.split("\n") if line.startswith(("from llmrec.", "history", "requests")))
            subprocess.run([sys.executable, "-c", questions], check=True, cwd=ROOT, timeout=60)


@pytest.mark.slow
def test_the_opening_code_runs_after_the_demo():
    if not (ROOT / "runs" / "demo" / "model").is_dir():
        pytest.skip("runs/demo/model is missing: `make demo` makes it")
    code = next(block for language, block in BLOCKS if language == "python")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_every_file_named_stands():
    for name in re.findall(r"`((?:docs|prompts|train|eval|llmrec)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name
