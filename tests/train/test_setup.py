"""What is prepared around the loop: here, how sure the finished model is of its answers."""

import numpy as np
import pytest

from llmrec.recommender import Recommender
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.setup import fitted_temperatures


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_fitted_temperature_makes_the_valid_answers_more_probable(toy_parts, toy_corpus, monkeypatch):
    monkeypatch.setattr("llmrec.calibration.LEAST", 10)
    timelines = Timelines.of(toy_corpus)
    held_out = TASKS["click"].held_out(timelines, "valid", 0)

    def loss(temperatures):
        model = Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates, card={"temperatures": temperatures})
        predictions = model.predict([h.request for h in held_out])
        chances = [p.probability if h.target else 1 - p.probability for p, h in zip(predictions, held_out, strict=True)]
        return -np.log(chances).mean()

    fitted = fitted_temperatures(Recommender(toy_parts.model.eval(), toy_parts.composer, toy_parts.templates), timelines, 0, limit=100)
    assert fitted.keys() == {"click"}
    assert fitted["click"] > 1.5 and loss(fitted) < loss({}) - 0.1  # an untrained model is far too sure
