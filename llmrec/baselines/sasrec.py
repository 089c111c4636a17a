"""SASRec: causal self-attention over the history, the specialist that a language model's next item is measured by.

Separate from the models that count (`markov`, `neighbours`, `ease`): this one is trained. Written here because libraries encode every prefix of every history anew, where causal attention reads
all prefixes of a history in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np
from tqdm import tqdm

from llmrec.baselines.catalog_model import CatalogModel, next_item_questions
from llmrec.baselines.histories import Histories, in_train, users_of_events
from llmrec.predictions import HeldOut, Request
from llmrec.timelines import Timelines

BATCH_EVENTS = 2048
GRIDS = {
    50: ({"width": 64, "dropout": 0.5}, {"width": 64, "dropout": 0.2}, {"width": 128, "dropout": 0.5}),
    200: ({"width": 64, "dropout": 0.2}, {"width": 128, "dropout": 0.2}, {"width": 256, "dropout": 0.2}),
}
"""How many events of a history are read -> the settings that are tried: the first, unless most streams are longer. Long histories carry wider models, and want less dropout (docs/lab-notes.md)."""


class SASRec(CatalogModel):
    """Vectors of the latest 50 items (200 where most streams of train are longer than 50) and of their places through two pre-norm layers of causal self-attention; an item's score is its vector times the last state. An empty history gives popularity.

    Learned with the cross-entropy over the whole catalogue at every place of every train stream, which is stronger than the published loss over one negative. Adam, learning rate .001.
    After each epoch it answers valid; the best epoch is kept, and no better one within `patience` ends the training; without valid the last of `num_epochs`.
    Chosen on valid: width and dropout of (64, .5), (64, .2), (128, .5), for long streams of (64, .2), (128, .2), (256, .2); default the first.

    Source: Kang and McAuley, Self-attentive sequential recommendation, ICDM 2018; the loss: Klenitskiy and Vasilev, Turning dross into gold loss, RecSys 2023.
    """

    name = "sasrec"

    def __init__(self, *, num_epochs: int = 100, patience: int = 5) -> None:
        super().__init__()
        self.num_epochs, self.patience = num_epochs, patience

    def _learn(self, timelines: Timelines) -> None:
        torch = import_module("torch")  # a library that takes seconds to load, for those who fit this model
        chosen = in_train(timelines)
        users, items = users_of_events(timelines)[chosen], timelines.items[chosen]
        streams = [stream for stream in np.split(items, np.flatnonzero(np.diff(users)) + 1) if len(stream) > 1]
        short, long = GRIDS
        self._length = long if np.median([len(stream) for stream in streams] or [0]) > short else short
        streams = [stream[-self._length - 1 :] for stream in streams]
        questions = next_item_questions(timelines, seed=self.seed)
        best = -1.0
        with torch.random.fork_rng():
            for settings in GRIDS[self._length][: None if questions else 1]:
                torch.manual_seed(self.seed)
                network = _network(torch, items=len(self.catalog), max_length=self._length, **settings).to("cuda" if torch.cuda.is_available() else "cpu")
                ndcg, epochs, state = self._train(torch, network, streams, questions, f"sasrec {', '.join(f'{name} {value}' for name, value in settings.items())}")
                if ndcg > best:
                    best, kept = ndcg, (network, state)
                    self.settings = {**settings, "epochs": epochs, "length": self._length}
        self._network, state = kept
        self._network.load_state_dict(state)
        self._network.eval()

    def _train(self, torch, network, streams: Sequence[np.ndarray], questions: Sequence[HeldOut], told: str) -> tuple[float, int, dict]:
        """ndcg@10 on the questions (0 without any), the epoch that has it, and its weights."""
        self._network, random = network, np.random.default_rng(self.seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        sizes = np.array([len(stream) - 1 for stream in streams], dtype=np.int64)
        best, found = -1.0, (0.0, 0, network.state_dict())
        for epoch in tqdm(range(1, self.num_epochs + 1), desc=told, unit="epoch", disable=None, leave=False):
            network.train()
            order = random.permutation(len(streams))
            number = np.cumsum(sizes[order]) // BATCH_EVENTS
            for batch in np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(order) else ():
                optimizer.zero_grad()
                network.loss(*(part.to(network.places.weight.device) for part in _padded(torch, [streams[row] for row in batch]))).backward()
                optimizer.step()
            network.eval()
            ndcg = self.mean_ndcg(questions) if questions else 0.0
            if ndcg > best or not questions:
                best, found = ndcg, (ndcg, epoch, {name: value.clone() for name, value in network.state_dict().items()})
            elif epoch - found[1] >= self.patience:
                break
        return found

    def score(self, requests: Sequence[Request], histories: Histories) -> np.ndarray:
        torch = import_module("torch")
        device = self._network.places.weight.device
        scores = np.tile(self.popularity, (len(requests), 1))
        with torch.no_grad():
            for row, (start, stop) in enumerate(zip(histories.starts[:-1], histories.starts[1:], strict=True)):
                if stop > start:  # each alone: a row of a larger product may differ in its last bits
                    history = torch.as_tensor(histories.items[max(start, stop - self._length) : stop], device=device)[None]
                    scores[row] = self._network.scores(self._network.states(history, torch.tensor([history.shape[1]], device=device))[0, -1]).cpu().numpy()
        return scores


def _padded(torch, streams: Sequence[np.ndarray]) -> tuple:
    """Items (B, T + 1), 0 behind the end of each, and lengths (B,), T + 1 at most."""
    lengths = np.array([len(stream) for stream in streams])
    items = np.zeros((len(streams), lengths.max()), dtype=np.int64)
    for row, stream in enumerate(streams):
        items[row, : len(stream)] = stream
    return torch.from_numpy(items), torch.from_numpy(lengths)


def _network(torch, *, items: int, max_length: int, width: int, dropout: float):
    """The network, as a module of torch, which is given so that nobody loads it who does not fit this model."""
    nn, functional = torch.nn, torch.nn.functional

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.items, self.places, self.drop = nn.Embedding(items, width), nn.Embedding(max_length, width), nn.Dropout(dropout)
            layer = nn.TransformerEncoderLayer(width, 2, width, dropout=dropout, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
            for table in (self.items, self.places):
                nn.init.normal_(table.weight, std=0.02)

        def states(self, history, lengths):
            """(B, T) items, the first `lengths` (B,) of each row valid -> (B, T, width). Places count from the latest."""
            place = (lengths[:, None] - 1 - torch.arange(history.shape[1], device=history.device)).clamp(min=0)
            mask = torch.ones(history.shape[1], history.shape[1], dtype=torch.bool, device=history.device).triu(1)
            return self.encoder(self.drop(self.items(history) * width**0.5 + self.places(place)), mask=mask, is_causal=True)

        def scores(self, states):
            """(..., width) -> (..., items)."""
            return states @ self.items.weight.T

        def loss(self, streams, lengths):
            """The mean cross-entropy of every event but the first of each stream; (B, T + 1), (B,)."""
            known = torch.arange(streams.shape[1] - 1, device=streams.device) < lengths[:, None] - 1
            states = self.states(streams[:, :-1], lengths - 1)
            return functional.cross_entropy(self.scores(states[known]), streams[:, 1:][known])

    return Network()
