"""PETER: a small transformer that explains from who asks and what is offered, as learned vectors of the two, with no history.

Separate from the texts that are found or filled in (`texts`): this one is trained, word by word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from llmrec.baselines.baseline import Baseline
from llmrec.baselines.histories import users_of_events
from llmrec.evidence import own_sentence, telling_features
from llmrec.interactions import PARTS, TRAIN, VALID
from llmrec.predictions import Prediction, Request
from llmrec.timelines import Timelines

MAX_WORDS = 20_000
MAX_EXPLANATIONS = 100_000
"""Of train, drawn by the seed; so that fitting a baseline ends."""
BATCH = 128
UNKNOWN, START, END = 0, 1, 2
_WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
_BEFORE, _AFTER = re.compile(r"\s+([.,!?;:%)\]])"), re.compile(r"([(\[$])\s+")


class _Examples(NamedTuple):
    """users, items: (n,) int64, 0 for one that train lacks.   words: (n, 1 + length + 1) int64, START, the words, END, and END to the right.   ratings: (n,) float64, NaN where there is none."""

    users: np.ndarray
    items: np.ndarray
    words: np.ndarray
    ratings: np.ndarray


class PETER(Baseline):
    """Vectors of user and item, then the words so far, through a causal transformer in which user and item see each other; greedy, up to `length` words.

    Learned beside the words (weight 1): all words of the text from the item's place alone (context, weight 1), and the rating from the user's (weight .1).
    AdamW where the paper has SGD; the epoch with the best log-probability of valid's words is kept, without valid the last of `num_epochs`. A user or item that train lacks has the mean of all vectors.

    Source: Li, Zhang and Chen, Personalized Transformer for Explainable Recommendation, ACL 2021 (there 512 wide, 15 words).

    Raises:
        ValueError: train holds no reviews or summaries.
    """

    name = "peter"
    tasks = ("explanation",)

    def __init__(self, *, width: int = 256, layers: int = 2, num_epochs: int = 30, patience: int = 2, length: int = 20) -> None:
        super().__init__()
        self.width, self.layers, self.num_epochs, self.patience, self.length = width, layers, num_epochs, patience, length

    def _fit(self, timelines: Timelines) -> None:
        said = {part: _said(timelines, part) for part in (TRAIN, VALID)}
        if not said[TRAIN]:
            raise ValueError(f"peter needs reviews or summaries in train; corpus {timelines.corpus.name!r} has none")
        torch = import_module("torch")  # a library that takes seconds to load, for those who fit this model
        if len(said[TRAIN]) > MAX_EXPLANATIONS:
            kept = np.random.default_rng(self.seed).choice(len(said[TRAIN]), MAX_EXPLANATIONS, replace=False)
            said[TRAIN] = [said[TRAIN][place] for place in kept.tolist()]
        counts = Counter(word for _, text in said[TRAIN] for word in _WORD.findall(text.lower()))
        self._words = ["", "", "", *(word for word, _ in counts.most_common(MAX_WORDS))]
        self._numbers = {word: number for number, word in enumerate(self._words) if word}
        places = [place for place, _ in said[TRAIN]]
        users = users_of_events(timelines)
        self._users = {timelines.user_ids[user]: number for number, user in enumerate(np.unique(users[places]).tolist(), start=1)}
        self._items = {item: number for number, item in enumerate(np.unique(timelines.items[places]).tolist(), start=1)}
        train, valid = (self._examples(timelines, users, said[part]) for part in (TRAIN, VALID))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._network = _network(torch, users=len(self._users) + 1, items=len(self._items) + 1, words=len(self._words), width=self.width, layers=self.layers)
            self._learn(torch, train, valid)

    def _learn(self, torch, train: _Examples, valid: _Examples) -> None:
        network, random = self._network, np.random.default_rng(self.seed)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        best, kept, waited = float("inf"), None, 0
        for epoch in tqdm(range(self.num_epochs), desc="peter", unit="epoch", disable=None, leave=False):
            network.train()
            for chosen in np.array_split(random.permutation(len(train.users)), -(-len(train.users) // BATCH)):
                optimizer.zero_grad()
                words, context, rating = network.losses(*_tensors(torch, train, chosen))
                (words + context + 0.1 * rating).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
            if not len(valid.users):
                continue
            network.eval()
            with torch.no_grad():
                parts = [np.arange(start, min(start + BATCH, len(valid.users))) for start in range(0, len(valid.users), BATCH)]
                loss = sum(len(part) * float(network.losses(*_tensors(torch, valid, part))[0]) for part in parts)
            if loss < best:
                best, waited, kept = loss, 0, {name: value.clone() for name, value in network.state_dict().items()}
                self.settings["epochs"] = epoch + 1
            elif (waited := waited + 1) >= self.patience:
                break
        if kept is not None:
            network.load_state_dict(kept)
        network.eval()
        with torch.no_grad():
            for table in (network.users, network.items):
                table.weight[UNKNOWN] = table.weight[1:].mean(dim=0)

    def _answer(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        torch = import_module("torch")
        for start in range(0, len(requests), BATCH):
            asked = requests[start : start + BATCH]
            users = torch.tensor([self._users.get(request.user_id, UNKNOWN) for request in asked])
            items = torch.tensor([self._items.get(self.catalog.rows[request.item_id], UNKNOWN) for request in asked])
            words = torch.full((len(asked), 1), START)
            with torch.no_grad():
                while words.shape[1] <= self.length and not bool((words == END).any(dim=1).all()):
                    following = self._network.words_after(users, items, words)
                    following[:, [UNKNOWN, START]] = -torch.inf
                    words = torch.cat([words, following.argmax(dim=1, keepdim=True)], dim=1)
            for request, row in zip(asked, words[:, 1:].tolist(), strict=True):
                yield Prediction(id=request.id, task=request.task, user_id=request.user_id, text=self._text(row))

    def _text(self, numbers: list[int]) -> str:
        numbers = numbers[: numbers.index(END)] if END in numbers else numbers
        return _AFTER.sub(r"\1", _BEFORE.sub(r"\1", " ".join(self._words[number] for number in numbers)))

    def _examples(self, timelines: Timelines, users: np.ndarray, said: Sequence[tuple[int, str]]) -> _Examples:
        words = np.full((len(said), self.length + 2), END)
        words[:, 0] = START
        for row, (_, text) in enumerate(said):
            numbers = [self._numbers.get(word, UNKNOWN) for word in _WORD.findall(text.lower())[: self.length]]
            words[row, 1 : 1 + len(numbers)] = numbers
        places = np.array([place for place, _ in said], dtype=np.int64)
        who = [self._users.get(timelines.user_ids[user], UNKNOWN) for user in users[places].tolist()]
        what = [self._items.get(item, UNKNOWN) for item in timelines.items[places].tolist()]
        return _Examples(np.array(who, dtype=np.int64), np.array(what, dtype=np.int64), words, timelines.ratings[places])


def _said(timelines: Timelines, part: str) -> list[tuple[int, str]]:
    """Events of a part whose user said something of the item, by their places in the flat arrays, and the sentence that the task asks for."""
    frame = timelines.corpus.interactions.frame
    columns = [frame[name] for name in ("review", "summary") if name in frame.columns]
    features = telling_features(timelines.corpus) if columns else set()
    places = np.flatnonzero(timelines.parts == PARTS.index(part)).tolist()
    texts = ((place, own_sentence([column[int(timelines.rows[place])] for column in columns], features)) for place in places)
    return [(place, text) for place, text in texts if text]


def _tensors(torch, examples: _Examples, chosen: np.ndarray) -> tuple:
    return tuple(torch.as_tensor(column[chosen]) for column in examples)


def _network(torch, *, users: int, items: int, words: int, width: int, layers: int):
    """The network, as a module of torch, which is given so that nobody loads it who does not fit this model."""
    nn, functional = torch.nn, torch.nn.functional

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items, self.words = nn.Embedding(users, width), nn.Embedding(items, width), nn.Embedding(words, width)
            layer = nn.TransformerEncoderLayer(width, 2, 4 * width, dropout=0.2, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.to_word = nn.Linear(width, words)
            self.to_rating = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, 1))
            for module in (self.users, self.items, self.words, self.to_word):
                nn.init.uniform_(module.weight, -0.1, 0.1)

        def hidden(self, who, what, said):
            """(B,), (B,), (B, T) -> (B, 2 + T, width)."""
            inputs = torch.cat([self.users(who)[:, None], self.items(what)[:, None], self.words(said)], dim=1)
            length = inputs.shape[1]
            places, half = torch.arange(length)[:, None], torch.arange(0, width, 2) / width
            angles = places / 10_000**half
            mask = torch.ones(length, length, dtype=torch.bool).triu(1)
            mask[0, 1] = False  # the user sees the item
            waves = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]
            return self.encoder(inputs * width**0.5 + waves, mask=mask)

        def losses(self, who, what, said, ratings):
            """Of the words, of all words from the item's place, and of the rating: three scalars."""
            hidden, wanted = self.hidden(who, what, said[:, :-1]), said[:, 1:]
            counted = torch.cat([torch.ones_like(wanted[:, :1], dtype=torch.bool), wanted[:, :-1] != END], dim=1)  # to the first END
            each = functional.cross_entropy(self.to_word(hidden[:, 2:]).transpose(1, 2), wanted, reduction="none")
            spoken = counted & (wanted != END)
            context = -self.to_word(hidden[:, 1]).log_softmax(dim=1).gather(1, wanted)
            rated = ~ratings.isnan()
            error = (self.to_rating(hidden[:, 0]).squeeze(1) - ratings.float())[rated]
            return each[counted].mean(), context[spoken].mean() if bool(spoken.any()) else context.sum() * 0, error.square().mean() if bool(rated.any()) else hidden.sum() * 0

        def words_after(self, who, what, said):
            """(B, words): the logits of the next word."""
            return self.to_word(self.hidden(who, what, said)[:, -1])

    return Network()
