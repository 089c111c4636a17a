"""rmse, mae and the calibration of rating distributions: by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from llmrec.metrics import rating
from llmrec.metrics.rating import RatingAnswers


def answers(predicted, actual, confidence=None, most_probable=None) -> RatingAnswers:
    nothing = np.full(len(predicted), np.nan)
    return RatingAnswers(np.array(predicted, dtype=float), np.array(actual, dtype=float),
                         nothing if confidence is None else np.array(confidence), nothing if most_probable is None else np.array(most_probable, dtype=float))


def test_by_hand():
    found = answers([3.0, 5.0], [4.0, 2.0])
    assert float(rating.rmse(found)) == pytest.approx(5 ** 0.5)
    assert float(rating.mae(found)) == 2.0


def test_equals_scikit_learn_on_random_ratings():
    generator = np.random.default_rng(0)
    predicted, actual = generator.uniform(1, 5, 1000), generator.integers(1, 6, 1000)
    assert float(rating.rmse(answers(predicted, actual))) == pytest.approx(root_mean_squared_error(actual, predicted), abs=1e-9)
    assert float(rating.mae(answers(predicted, actual))) == pytest.approx(mean_absolute_error(actual, predicted), abs=1e-9)


def test_certainty_of_the_most_probable_rating():
    # four answers at .75, three of them right: calibrated; with one right they are half off
    assert float(rating.ece(answers([1, 1, 1, 1], [4, 4, 4, 5], [0.75] * 4, [4, 4, 4, 4]))) == 0.0
    assert float(rating.ece(answers([1, 1, 1, 1], [4, 5, 5, 5], [0.75] * 4, [4, 4, 4, 4]))) == 0.5


def test_the_calibration_error_that_true_certainties_show():
    random = np.random.default_rng(0)
    certainty = random.uniform(0.3, 0.9, 600)
    seen = np.mean([float(rating.ece(answers(np.ones(600), np.where(random.random(600) < certainty, 4, 5), certainty, np.full(600, 4)))) for _ in range(400)])
    assert float(rating.ece_expected(answers(np.ones(600), np.full(600, 4), certainty, np.full(600, 4)))) == pytest.approx(seen, rel=0.05) and seen > 0.03


def test_no_calibration_without_distributions():
    assert np.isnan(float(rating.ece(answers([1, 2], [1, 2])))) and np.isnan(float(rating.ece_expected(answers([1, 2], [1, 2]))))
