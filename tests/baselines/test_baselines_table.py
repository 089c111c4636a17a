"""The table of baselines: every name is the class's own, and nothing heavy is loaded for it."""

import subprocess
import sys

import pytest

from llmrec.baselines import BASELINES
from llmrec.baselines.baseline import Baseline


def test_names_are_those_of_the_classes():
    assert {name: model.name for name, model in BASELINES.items()} == {name: name for name in BASELINES}


@pytest.mark.parametrize("task", ["next_item", "ranking", "search", "rating", "click", "purchase", "explanation", "review_summary"])
def test_every_task_has_a_baseline(task):
    assert any(task in model.tasks for model in BASELINES.values())


def test_every_baseline_says_what_it_is():
    assert all(issubclass(model, Baseline) and model.__doc__ for model in BASELINES.values())


@pytest.mark.slow
def test_importing_them_loads_no_deep_learning_library():
    code = "import sys, llmrec.baselines; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
