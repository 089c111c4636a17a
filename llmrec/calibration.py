"""Calibration: how far a model's answers to a task may be trusted, fitted on held-out questions.

Two forms of it. A temperature says how sure the model may be, and leaves its order of answers as it is; on a scale, their mean. A blend weighs the model's answer against expectations,
estimates that others have of the same answer: the mean of a scale's answers, or the log-odds of two, becomes a weighted sum of theirs.

Separate from the model, and from the metrics, which measure how well it did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

LEAST = 50
"""Answers below which no temperature is fitted: it would follow chance."""
BOUNDS = (0.1, 10.0)
MARGIN = 1e-3
"""A blended mean stays this part of the scale away from its ends, where a distribution would be a single answer."""
RIDGE = 1e-3
"""On standardised inputs: estimates are alike, and their difference alone has no weight to learn."""
STEEPEST, HALVINGS = 200.0, 50
MOST_PAIRS = 1_000
"""Pairs of a yes and a no that are drawn of each user at most."""
ROUNDS = 50
BENDS, SLACK = (0.125, 0.25, 0.375, 0.5, 1.0), 0.0025
"""Errors of a blended mean count squared up to a part of the scale and linearly beyond it, which favours mae over rmse: the smallest part of BENDS whose rmse is within SLACK of the least."""
_TINY = 1e-12


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities over answers, (..., answers), as their softmax at another temperature would be: above 1 flatter, below 1 sharper, at 1 themselves."""
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.maximum(probabilities, _TINY)) / temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature under which the true answers are most probable; 1 where there are fewer than LEAST questions, or all have one answer.

    probabilities: (questions, answers), over the answers of each question.   truth: (questions,) int64, the true ones.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    if len(truth) < LEAST or len(np.unique(truth)) < 2:
        return 1.0
    return _least_loss(lambda temperature: tempered(probabilities, temperature), truth)


def _least_loss(answers: Callable[[float], np.ndarray], truth: np.ndarray) -> float:
    """The temperature within BOUNDS at which the true answers are most probable."""
    places = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        return -float(np.log(np.maximum(answers(float(np.exp(log_temperature)))[places, truth], _TINY)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-4}).x))


def spread(probabilities: np.ndarray, values: np.ndarray, means: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities over the answers of a scale, (questions, answers), at another temperature and with these means: tilted, p(v) * exp(t * v), of all distributions with that mean the nearest.

    values: (answers,) ascending, the number each answer stands for.   means: (questions,), kept off the ends of the scale.
    """
    margin = MARGIN * (values[-1] - values[0])
    return _tilted(np.log(np.maximum(probabilities, _TINY)) / temperature, values, np.clip(means, values[0] + margin, values[-1] - margin))


def fit_spread(probabilities: np.ndarray, values: np.ndarray, means: np.ndarray, truth: np.ndarray) -> float:
    """The temperature at which, with these means, the true answers are most probable; 1 where there are fewer than LEAST questions, or all have one answer. As in `spread`; truth: (questions,) int64."""
    if len(truth) < LEAST or len(np.unique(truth)) < 2:
        return 1.0
    return _least_loss(lambda temperature: spread(probabilities, values, means, temperature), truth)


def blended(probabilities: np.ndarray, values: np.ndarray, expected: np.ndarray, weights: Sequence[float], temperature: float = 1.0) -> np.ndarray:
    """Probabilities over answers, (questions, answers), moved as far as a blend with what is expected says.

    values: (answers,) ascending, the number each answer stands for.   expected: (questions, estimates).   weights: as `fit_blend` gave them.   temperature: of more than two answers, as `fit_spread` gave it.
    Two answers get the log-odds of the blend, more its mean: see `spread`.
    """
    target = (_inputs(probabilities, values, expected) * np.asarray(weights)).sum(axis=1)  # not a product of matrices, whose sums depend on how many rows there are
    if len(values) == 2:
        return np.stack([expit(-target), expit(target)], axis=1)
    return spread(probabilities, values, target, temperature)


def fit_blend(probabilities: np.ndarray, values: np.ndarray, expected: np.ndarray, truth: np.ndarray, users: Sequence[str] | None = None) -> list[float] | None:
    """The weights of a blend (of the model, of each estimate, and a constant) under which two answers are most probable, or the mean of more has the least Huber loss; None where there are fewer than LEAST questions, or all have one answer.

    As in `blended`; truth: (questions,) int64, the true answers. Where errors begin to count linearly is chosen as BENDS says.
    users: whose question each is. Where at least LEAST users gave both of two answers, the weights are those that order the answers within users best, and only their common factor and the constant those under which all answers are most probable:
    how much more one user likes than another is easily told, and drowns what tells one item from another for the same user, which is what a recommendation needs.

    Sources: stacked generalisation, Wolpert 1992, with a linear combiner; Huber, Robust Estimation of a Location Parameter, 1964; pairs within users by their log loss: Rendle et al., BPR, UAI 2009.
    """
    if len(truth) < LEAST or len(np.unique(truth)) < 2:
        return None
    inputs = _inputs(probabilities, values, expected)
    if len(values) > 2:
        found = [_robust(inputs, values[truth], bend * (values[-1] - values[0])) for bend in BENDS]
        squared = [float(np.square(np.clip(inputs @ weights, values[0], values[-1]) - values[truth]).mean()) for weights in found]
        return next(weights for weights, error in zip(found, squared) if error <= min(squared) * (1 + SLACK) ** 2).tolist()
    order = _order_within(inputs[:, :-1], truth, np.asarray(users)) if users is not None else None
    if order is None:
        return logistic(inputs[:, :-1], truth).tolist()
    factor, constant = logistic(inputs[:, :-1] @ order[:, None], truth)
    return [*(factor * order).tolist(), float(constant)] if factor > 0 else logistic(inputs[:, :-1], truth).tolist()


def logistic(inputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(columns + 1,) the weights of (questions, columns) inputs, and a constant, under which the answers, 0 or 1, are most probable: logistic regression, with a ridge on standardised columns."""
    center = inputs.mean(axis=0)
    # What is the same everywhere differs from its mean in the last digit, of which any slope could be made: it gets none.
    spread = np.where(np.ptp(inputs, axis=0) > 1e-9 * np.abs(inputs).max(axis=0), inputs.std(axis=0) + _TINY, np.inf)
    scaled = np.column_stack([(inputs - center) / spread, np.ones(len(inputs))]) * (2.0 * truth - 1)[:, None]
    found = _least_log_loss(scaled, np.full(len(inputs), 1 / len(inputs)), np.r_[np.ones(inputs.shape[1]), 0])
    slopes = found[:-1] / spread
    return np.r_[slopes, found[-1] - slopes @ center]


def _order_within(inputs: np.ndarray, truth: np.ndarray, users: np.ndarray) -> np.ndarray | None:
    """(columns,) the weights that put the yes of a user before the no; None where fewer than LEAST users gave both. A user counts as often as the rarer of the two answers was given."""
    spread, rng = inputs.std(axis=0) + _TINY, np.random.default_rng(0)
    differences, counts = [], []
    order = np.argsort(users, kind="stable")
    _, firsts = np.unique(users[order], return_index=True)
    for rows in np.split(order, firsts[1:]):
        yes, no = rows[truth[rows] == 1], rows[truth[rows] == 0]
        pairs = len(yes) * len(no)
        if not pairs:
            continue
        chosen = np.arange(pairs) if pairs <= MOST_PAIRS else rng.choice(pairs, MOST_PAIRS, replace=False)
        differences.append((inputs[yes[chosen // len(no)]] - inputs[no[chosen % len(no)]]) / spread)
        counts.append(np.full(len(chosen), min(len(yes), len(no)) / len(chosen)))
    if len(counts) < LEAST:
        return None
    weights = np.concatenate(counts)
    return _least_log_loss(np.concatenate(differences), weights / weights.sum(), np.ones(inputs.shape[1])) / spread


def _least_log_loss(rows: np.ndarray, counts: np.ndarray, penalised: np.ndarray) -> np.ndarray:
    """(columns,) the weights under which rows @ weights is large: the mean log loss, each row counted as `counts` says, with a ridge on the `penalised` columns."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = rows @ weights
        return float(counts @ np.logaddexp(0, -odds)) + RIDGE / 2 * float(penalised @ weights**2), -(rows.T @ (counts * expit(-odds))) + RIDGE * penalised * weights

    return minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x


def _robust(inputs: np.ndarray, targets: np.ndarray, bound: float) -> np.ndarray:
    """(columns,) the weights with the least Huber loss, by reweighted least squares."""
    weights = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    for _ in range(ROUNDS):
        trust = np.sqrt(1 / np.maximum(1, np.abs(targets - inputs @ weights) / bound))
        weights = np.linalg.lstsq(inputs * trust[:, None], targets * trust, rcond=None)[0]
    return weights


def _inputs(probabilities: np.ndarray, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(questions, 1 + estimates + 1): the model's own mean, or its log-odds, what is expected, and ones."""
    own = np.log(np.maximum(probabilities[:, 1], _TINY) / np.maximum(probabilities[:, 0], _TINY)) if len(values) == 2 else (probabilities * values).sum(axis=1)
    return np.column_stack([own, expected, np.ones(len(own))])


def _tilted(logits: np.ndarray, values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The distributions with these means: exp(logit(v) + t * v), normalised, t found by halving an interval."""
    scale = (values - values[0]) / (values[-1] - values[0])
    steepest = STEEPEST + np.ptp(logits, axis=1) * len(values)  # enough to lift any answer above all others
    low, high = -steepest, steepest

    def at(tilt: np.ndarray) -> np.ndarray:
        raised = logits + tilt[:, None] * scale
        raised = np.exp(raised - raised.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        short = (at(middle) * values).sum(axis=1) < means
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return at((low + high) / 2)
