"""Temperatures and blends: found where they are known; a temperature never changes an order, a blend gets the mean it should."""

import numpy as np
import pytest

from llmrec.calibration import LEAST, blended, fit_blend, fit_spread, fit_temperature, logistic, spread, tempered
from llmrec.metrics.binary import BinaryAnswers, logloss, uauc


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


@pytest.mark.parametrize("fives", [0.3, 0.8])
def test_a_blend_of_a_scale_gives_up_hardly_any_rmse_for_its_mae(fives):
    """However lopsided the ratings are: the mean errors of least squares are the yardstick."""
    rng = np.random.default_rng(0)
    expected = rng.uniform(3, 5, (5_000, 1))
    truth = np.where(rng.random(5_000) < fives * (expected[:, 0] / 4) ** 2, 4, rng.integers(0, 4, 5_000))
    said = np.full((5_000, 5), 0.2)
    errors = SCALE[truth] - np.column_stack([np.ones(5_000), expected]) @ np.linalg.lstsq(np.column_stack([np.ones(5_000), expected]), SCALE[truth], rcond=None)[0]
    found = SCALE[truth] - blended(said, SCALE, expected, fit_blend(said, SCALE, expected, truth)) @ SCALE
    assert np.sqrt((found**2).mean()) <= 1.003 * np.sqrt((errors**2).mean()) and np.abs(found).mean() <= np.abs(errors).mean()


def test_few_answers_or_answers_of_one_kind_fit_nothing():
    said, truth = drawn(3.0, questions=LEAST - 1)
    assert fit_temperature(said, truth) == 1.0
    assert fit_temperature(np.full((100, 2), 0.5), np.zeros(100, dtype=np.int64)) == 1.0


SCALE = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_blend_of_a_scale_has_the_mean_of_the_weighted_sum():
    said, _ = drawn(1.0, questions=500, answers=5)
    expected = np.random.default_rng(1).uniform(1, 5, (500, 2))
    got = blended(said, SCALE, expected, [0.5, 0.2, 0.3, 0.1])
    wanted = 0.5 * said @ SCALE + expected @ [0.2, 0.3] + 0.1
    assert got.sum(axis=1) == pytest.approx(1) and (got @ SCALE) == pytest.approx(wanted, abs=1e-6)
    # tilted: between neighbouring answers the odds all moved by one factor
    moved = np.diff(np.log(got / said), axis=1)
    assert np.abs(moved - moved[:, :1]).max() < 1e-6
    assert blended(said, SCALE, expected, [1.0, 0.0, 0.0, 0.0]) == pytest.approx(said, abs=1e-6)
    extreme = blended(np.array([[1.0, 0, 0, 0, 0]]), SCALE, np.array([[5.0, 5.0]]), [0.0, 1.0, 1.0, 0.0])
    assert np.isfinite(extreme).all() and (extreme @ SCALE)[0] == pytest.approx(5, abs=0.01)


def test_a_blend_of_two_answers_has_the_weighted_odds():
    got = blended(np.array([[0.2, 0.8]]), np.array([0.0, 1.0]), np.array([[3.0]]), [0.5, -1.0, 2.0])
    assert np.log(got[0, 1] / got[0, 0]) == pytest.approx(0.5 * np.log(4) - 3 + 2)


def test_known_weights_of_a_blend_are_found():
    rng = np.random.default_rng(0)
    said, _ = drawn(1.0, questions=20_000, answers=5)
    expected = rng.uniform(1, 5, (20_000, 2))
    truth = np.rint(np.clip(0.4 * said @ SCALE + expected @ [0.6, 0.0] + rng.normal(0, 0.3, 20_000), 1, 5)).astype(np.int64) - 1
    assert fit_blend(said, SCALE, expected, truth) == pytest.approx([0.4, 0.6, 0.0, 0.0], abs=0.03)
    yes = rng.uniform(0.05, 0.95, 20_000)
    odds = 0.5 * np.log(yes / (1 - yes)) + 1.5 * expected[:, 0] - 4
    found = fit_blend(np.stack([1 - yes, yes], axis=1), np.array([0.0, 1.0]), expected, (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(np.int64))
    assert found == pytest.approx([0.5, 1.5, 0.0, -4.0], abs=0.2)


def test_few_answers_or_answers_of_one_kind_blend_nothing():
    said, truth = drawn(1.0, questions=LEAST - 1, answers=2)
    assert fit_blend(said, np.array([0.0, 1.0]), np.ones((len(said), 1)), truth) is None
    assert fit_blend(np.full((100, 2), 0.5), np.array([0.0, 1.0]), np.ones((100, 1)), np.zeros(100, dtype=np.int64)) is None


def test_a_scale_is_spread_around_means_that_stay():
    said, _ = drawn(1.0, questions=300, answers=5)
    means = np.random.default_rng(1).uniform(1.2, 4.8, 300)
    for temperature in (0.5, 1.0, 3.0):
        got = spread(said, SCALE, means, temperature)
        assert got.sum(axis=1) == pytest.approx(1) and got @ SCALE == pytest.approx(means, abs=1e-6)
        moved = np.diff(np.log(got / tempered(said, temperature)), axis=1)
        assert np.abs(moved - moved[:, :1]).max() < 1e-6
    assert spread(said, SCALE, said @ SCALE, 1.0) == pytest.approx(said, abs=1e-6)
    assert np.isfinite(spread(said, SCALE, np.full(300, 9.0), 2.0)).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_known_spread_is_found(temperature):
    said, _ = drawn(1.0, questions=20_000, answers=5)
    means = np.clip(said @ SCALE + 0.3, 1.1, 4.9)
    chances = spread(said, SCALE, means, temperature)
    truth = (chances.cumsum(axis=1) < np.random.default_rng(2).random((20_000, 1))).sum(axis=1).clip(max=4)
    assert fit_spread(said, SCALE, means, truth) == pytest.approx(temperature, rel=0.08)
    assert fit_spread(said[: LEAST - 1], SCALE, means[: LEAST - 1], truth[: LEAST - 1]) == 1.0


def test_answers_are_ordered_within_users_where_many_gave_both():
    """Two estimates: one tells users from each other well and items badly, the other items alone."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(300), 30)
    level, liked = rng.normal(0, 2, 300)[users], rng.normal(0, 1, len(users))
    truth = (rng.random(len(users)) < 1 / (1 + np.exp(-level - liked))).astype(np.int64)
    said = 1 / (1 + np.exp(-(level + rng.normal(0, 1, len(users)))))
    expected = (0.3 * liked + 1.5 * rng.normal(0, 1, 300)[users])[:, None]
    values, said = np.array([0.0, 1.0]), np.stack([1 - said, said], axis=1)

    def figures(weights):
        found = blended(said, values, expected, weights)[:, 1]
        answers = BinaryAnswers(found, truth.astype(float), users)
        return float(uauc(answers)), float(logloss(answers)), found.mean()

    plain, within = fit_blend(said, values, expected, truth), fit_blend(said, values, expected, truth, users)
    assert figures(within)[0] > figures(plain)[0] + 0.02 and figures(within)[2] == pytest.approx(truth.mean(), abs=0.01)
    assert within[0] == pytest.approx(0, abs=0.1 * within[1]) and within[1] > 0
    few = np.where(users < LEAST - 1, users, 1_000 + np.arange(len(users)))  # all others have a single answer each
    assert fit_blend(said, values, expected, truth, few) == plain
    shuffled = rng.permutation(len(users))
    assert fit_blend(said[shuffled], values, expected[shuffled], truth[shuffled], users[shuffled]) == pytest.approx(within, rel=1e-3)


def test_what_is_the_same_everywhere_gets_no_weight():
    """Its mean misses it by the last digit: a slope made of that answers whatever differs from it with certainty."""
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 5, 7, 10, 20, 50):
        for size in (37, 256, 1000):
            told = rng.normal(size=size)
            truth = (rng.random(size) < 1 / (1 + np.exp(-told))).astype(int)
            weights = logistic(np.column_stack([told, np.full(size, np.log1p(length))]), truth)
            assert weights[1] == 0 and 0 < weights[0] < 3 and abs(weights[2]) < 2
