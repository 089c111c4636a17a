"""Broken copies of the product: each is noticed by every test that is named with it, and every test of reliability is named with one. A test that cannot fail shows nothing."""

import ast
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from tests.forked import Server

ROOT = Path(__file__).parents[1]
MUTANTS = yaml.safe_load((Path(__file__).parent / "mutants" / "mutants.yaml").read_text(encoding="utf-8"))
COPIED = ("llmrec", "train", "eval", "prompts", "tests", "benchmarks", "pyproject.toml", "README.md", "constraints.txt", "requirements.lock")
CASE_BY_CASE = ("test_bad_input", "test_an_evil_folder_is_refused_and_runs_nothing")
"""Tests whose cases are tests of their own: each needs a broken copy. Of any other, one case that fails is enough."""
ABOUT_TESTS = {
    "test_every_case_says_what_it_is_and_has_its_number", "test_the_bombs_are_live", "test_the_guard_hears_whoever_asks_for_another_machine", "test_the_folder_the_others_are_made_of_is_a_model", "test_there_are_twelve_kinds",
    "test_every_check_is_planted", "test_every_check_is_planted_here_or_among_the_twelve", "test_every_check_has_a_planted_leak",
    "test_a_mutant_stands_for_what_is_there", "test_every_test_has_a_mutant", "test_a_mutant_is_caught",
}
"""What is tested here is no part of the product."""


def unit(test: str) -> str:
    """What has to fail: a test, whatever its cases, or a case."""
    name = test.split("::")[-1].strip()
    return name if name.startswith(CASE_BY_CASE) else name.split("[")[0]


def units(path: Path) -> list[str]:
    """The units of a file, read from its text."""
    names = [node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    if path.name == "test_bad_input.py":
        names = [name for name in names if name != "test_bad_input"] + [f"test_bad_input[{case.parent.name}]" for case in path.with_name("bad").glob("*/expect.json")]
    if path.name == "test_evil_files.py":
        evil, = CASE_BY_CASE[1:]
        cases = re.search(r"^EVIL = \[(.*?)\]", path.with_name("evil_folders.py").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[1]
        names = [name for name in names if name != evil] + [f"{evil}[{case}]" for case in re.findall(r"\w+", cases)]
    return names


def selects(test: str, path: Path, name: str) -> bool:
    """Whether a mutant's `test` names this one. Its -k is words joined by `and` and `or`; those that name a case of a test alone stand beside one that names the test."""
    places, _, words = test.partition(" -k ")
    if not any(ROOT / place in (path, *path.parents) for place in places.split()):
        return False
    return not words or any(word.strip() in name for choice in words.strip("'\"").split(" or ") for word in choice.split(" and "))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"].replace(" ", "-"))
def test_a_mutant_stands_for_what_is_there(mutant):
    assert (ROOT / mutant["file"]).read_text(encoding="utf-8").count(mutant["find"]) == 1, "the code has moved on: mend the mutant"


def test_every_test_has_a_mutant():
    told = re.search(r"^RELIABILITY := .*?,((?:.|\\\n)*?)\)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    places = [ROOT / "tests" / name for name in told.replace("\\", " ").split()]
    paths = [path for place in places for path in (sorted(place.glob("test_*.py")) if place.is_dir() else [place])]
    assert len(paths) > 20
    missing = [f"{path.name}::{name}" for path in paths for name in units(path) if name not in ABOUT_TESTS and not any(selects(mutant["test"], path, name) for mutant in MUTANTS)]
    assert not missing, f"no broken copy shows that these can fail: {', '.join(missing)}"


@pytest.fixture(scope="module")
def forked():
    with Server() as server:
        yield server


def run_on_copy(forked, mutant, folder: Path) -> tuple[int, str]:
    """Its tests, on a copy of all with its change in it: their exit status, and what they said."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    path = folder / mutant["file"]
    path.write_text(path.read_text(encoding="utf-8").replace(mutant["find"], mutant["replace"]), encoding="utf-8")
    try:
        return forked(["-q", "-rfEp", "--tb=line", "-p", "no:cacheprovider", *shlex.split(mutant["test"])], folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.nightly
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"].replace(" ", "-"))
def test_a_mutant_is_caught(forked, mutant, tmp_path):
    code, said = run_on_copy(forked, mutant, tmp_path / "copy")
    ended = [(line.split(" ", 1)[0], unit(line.split(" - ")[0])) for line in said.splitlines() if line.startswith(("FAILED ", "ERROR ", "PASSED "))]
    failed, passed = ({name for how, name in ended if (how == "PASSED") == good} for good in (False, True))
    assert code == 1 and failed and not passed - failed, f"not noticed (exit {code}) by {', '.join(sorted(passed - failed))}: {said[-1200:]}"
