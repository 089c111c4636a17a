"""auc, uauc, logloss, ece, f1, precision, recall: by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from llmrec.metrics import binary
from llmrec.metrics.binary import BinaryAnswers, calibration_curve


def answers(probability, label, user=None) -> BinaryAnswers:
    return BinaryAnswers(np.array(probability, dtype=float), np.array(label, dtype=float), np.array(user if user is not None else ["u"] * len(label)))


@pytest.fixture
def random_answers() -> BinaryAnswers:
    generator = np.random.default_rng(0)
    label = (generator.random(2000) < 0.3).astype(float)
    probability = np.clip(generator.integers(0, 21, 2000) / 20 * 0.7 + label * 0.2, 0, 1)  # many ties
    return answers(probability, label, generator.integers(0, 300, 2000).astype(str))


def test_equals_scikit_learn(random_answers):
    probability, label = random_answers.probability, random_answers.label
    says_yes = probability >= 0.5
    expected = {
        binary.auc: sklearn_metrics.roc_auc_score(label, probability),
        binary.logloss: sklearn_metrics.log_loss(label, probability),
        binary.f1: sklearn_metrics.f1_score(label, says_yes),
        binary.precision: sklearn_metrics.precision_score(label, says_yes),
        binary.recall: sklearn_metrics.recall_score(label, says_yes),
    }
    for function, value in expected.items():
        assert float(function(random_answers)) == pytest.approx(value, abs=1e-9), function.__name__


def test_uauc_is_the_mean_over_users_who_have_both_classes(random_answers):
    users = [random_answers.user == user for user in np.unique(random_answers.user)]
    both = [rows for rows in users if 0 < random_answers.label[rows].mean() < 1]
    expected = np.mean([sklearn_metrics.roc_auc_score(random_answers.label[rows], random_answers.probability[rows]) for rows in both])
    assert len(both) < len(users)
    assert float(binary.uauc(random_answers)) == pytest.approx(expected, abs=1e-9)


def test_uauc_weighs_a_user_with_many_questions_like_any_other():
    found = answers([0.9, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5], [1, 0, 1, 0, 0, 0, 0], ["a", "a", "b", "b", "b", "b", "b"])
    assert float(binary.uauc(found)) == 0.5


def test_auc_counts_a_tie_one_half():
    assert float(binary.auc(answers([0.5, 0.5], [0, 1]))) == 0.5
    assert float(binary.auc(answers([0.2, 0.8, 0.8], [0, 0, 1]))) == 0.75


def test_auc_under_weights_equals_that_of_repeated_questions():
    generator = np.random.default_rng(1)
    probability, label, weights = generator.integers(0, 5, 60) / 4, generator.integers(0, 2, 60), generator.integers(0, 4, 60)
    statistic = binary.auc(answers(probability, label))
    repeated = sklearn_metrics.roc_auc_score(np.repeat(label, weights), np.repeat(probability, weights))
    assert statistic.under(weights[None].astype(float))[0] == pytest.approx(repeated, abs=1e-12)


def test_one_class_has_no_auc():
    assert np.isnan(float(binary.auc(answers([0.1, 0.9], [1, 1]))))
    assert np.isnan(float(binary.uauc(answers([0.1, 0.9], [1, 1]))))


def test_calibration_error_by_hand():
    # .7 in one bin: two of four are yes, off by .2; 0 in the first bin: all no, off by nothing
    found = answers([0.7, 0.7, 0.7, 0.7, 0.0, 0.0, 0.0, 0.0], [1, 1, 0, 0, 0, 0, 0, 0])
    assert float(binary.ece(found)) == pytest.approx(0.1)
    assert calibration_curve(found.probability, found.label) == [(0.0, 0.0, 4), (pytest.approx(0.7), 0.5, 4)]


def test_the_calibration_error_that_true_probabilities_show():
    probability = np.random.default_rng(0).beta(2, 2, 600)
    labels = [(np.random.default_rng(draw).random(600) < probability).astype(float) for draw in range(400)]
    seen = np.mean([float(binary.ece(answers(probability, label))) for label in labels])
    assert float(binary.ece_expected(answers(probability, labels[0]))) == pytest.approx(seen, rel=0.05) and seen > 0.03
    assert float(binary.ece_expected(answers([0.0, 1.0], [1, 1]))) == 0


def test_edges_of_bins_belong_to_the_bin_below_and_one_to_the_last():
    curve = calibration_curve(np.array([1.0, 0.95, 0.0]), np.array([1.0, 1.0, 0.0]))
    assert [bin.count for bin in curve] == [1, 2]


def test_precision_is_zero_where_nothing_is_said_to_be_yes():
    found = answers([0.1, 0.2], [1, 0])
    assert [float(function(found)) for function in (binary.precision, binary.recall, binary.f1)] == [0.0, 0.0, 0.0]


def test_certain_and_wrong_costs_a_finite_loss():
    assert float(binary.logloss(answers([0.0], [1]))) == pytest.approx(-np.log(np.finfo(float).eps))
