"""Temperatures: fitted where they are known, and never a change of order."""

import numpy as np
import pytest

from llmrec.calibration import LEAST, fit_temperature, tempered


def drawn(temperature, questions=20_000, answers=4, seed=0):
    """Probabilities, and true answers that come as those at this temperature say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(questions, answers)) * 2
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chances = tempered(said, temperature)
    return said, (chances.cumsum(axis=1) < rng.random((questions, 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
@pytest.mark.parametrize("answers", [2, 5])
def test_a_known_temperature_is_found(temperature, answers):
    assert fit_temperature(*drawn(temperature, answers=answers)) == pytest.approx(temperature, rel=0.06)


def test_tempering_by_hand():
    assert tempered(np.array([0.2, 0.8]), 0.5) == pytest.approx([0.04 / 0.68, 0.64 / 0.68])
    assert tempered(np.array([0.2, 0.8]), 1.0).tolist() == [0.2, 0.8]
    sure = tempered(np.array([[0.0, 1.0]]), 3.0)
    assert np.isfinite(sure).all() and sure.sum() == pytest.approx(1) and sure[0, 1] > 0.99


def test_the_order_of_answers_stays():
    said, _ = drawn(1.0, questions=100)
    for temperature in (0.3, 3.0):
        assert (tempered(said, temperature).argsort(axis=1) == said.argsort(axis=1)).all()


def test_few_answers_or_answers_of_one_kind_fit_nothing():
    said, truth = drawn(3.0, questions=LEAST - 1)
    assert fit_temperature(said, truth) == 1.0
    assert fit_temperature(np.full((100, 2), 0.5), np.zeros(100, dtype=np.int64)) == 1.0
