"""A statistic under weights, its bootstrap interval, and paired differences."""

import numpy as np
import pytest

from llmrec.metrics.statistic import estimate, estimate_difference, mean_of, ratio_of


def test_mean_leaves_out_questions_that_are_not_a_number():
    assert float(mean_of(np.array([1.0, np.nan, 0.0, 0.5]))) == 0.5
    assert np.isnan(float(mean_of(np.array([np.nan]))))


def test_a_weight_counts_a_question_that_often():
    statistic = mean_of(np.array([0.0, 1.0, 5.0]))
    assert statistic.under(np.array([[1.0, 3.0, 0.0], [2.0, 0.0, 0.0]])).tolist() == [0.75, 0.0]


def test_ratio_is_of_sums_not_the_mean_of_ratios():
    assert float(ratio_of(np.array([1, 0]), np.array([1, 3]))) == 0.25
    assert np.isnan(float(ratio_of(np.array([0]), np.array([0]))))


def test_interval_is_the_same_for_the_same_seed_and_holds_the_mean():
    values = np.random.default_rng(0).normal(size=200)
    users = [str(i) for i in range(200)]
    first, again, other = (estimate({"m": mean_of(values)}, users, seed=seed)["m"] for seed in (1, 1, 2))
    assert first == again != other
    assert first.low < first.mean < first.high


def test_interval_of_many_questions_by_few_users_is_that_of_the_users():
    per_user = np.random.default_rng(0).normal(size=20)
    single = estimate({"m": mean_of(per_user)}, [str(i) for i in range(20)], seed=0)["m"]
    repeated = estimate({"m": mean_of(np.repeat(per_user, 50))}, [str(i) for i in np.repeat(np.arange(20), 50)], seed=0)["m"]
    assert repeated == pytest.approx(single, abs=1e-12)


def test_interval_covers_the_truth_in_about_95_of_100_sets():
    generator = np.random.default_rng(0)
    users = [str(i) for i in range(60)]
    covered = 0
    for trial in range(300):
        found = estimate({"m": mean_of(generator.normal(size=60))}, users, seed=trial, resamples=300)["m"]
        covered += found.low <= 0 <= found.high
    # 95 % less the small-sample loss of the percentile interval, give or take 3 standard deviations of 300 trials.
    assert 0.90 <= covered / 300 <= 0.98


def test_paired_difference_of_a_model_with_itself_is_exactly_zero():
    statistic = mean_of(np.random.default_rng(0).normal(size=50))
    assert estimate_difference(statistic, statistic, [str(i) for i in range(50)], seed=0) == (0.0, 0.0, 0.0)


def test_paired_difference_sees_a_small_steady_gain_that_separate_intervals_hide():
    noise = np.random.default_rng(0).normal(size=300)
    users = [str(i) for i in range(300)]
    better, worse = mean_of(noise + 0.01), mean_of(noise)
    separate = estimate({"better": better, "worse": worse}, users, seed=0)
    assert separate["better"].low < separate["worse"].high
    assert estimate_difference(better, worse, users, seed=0).low == pytest.approx(0.01)
