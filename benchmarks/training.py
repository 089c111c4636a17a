"""Training: targets per second against one prompt per target, what the loader and the loop cost, and the quality both ways reach.

    python benchmarks/training.py --corpus corpora/ml-100k                 # speed, minutes on two CPU cores
    python benchmarks/training.py --corpus corpora/ml-100k --minutes 3     # quality, too: ours for 3 minutes, theirs for 30
    python benchmarks/training.py --corpus corpora/ml-100k --device cuda

One prompt per target is how P5, OpenP5, LC-Rec and MiniOneRec train: the history is written again before each item to predict, and the loss falls on that item alone. Here it has the same
model, optimiser, items and histories of at most 50 events, padded to the longest of the batch, and its loss is ours: over the items, at the last token, nowhere else.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.measure import Figure, in_turn, options, ratios, record
from llmrec.answers import ITEMS
from llmrec.bases import add_residual_dropout, create_base, decoder_of
from llmrec.composer import Composer
from llmrec.config import Settings, load_settings
from llmrec.exam import Exam
from llmrec.indexing import Material, build_index
from llmrec.interactions import VALID, Corpus
from llmrec.mixture import Batch, Mixture
from llmrec.model import LanguageModel
from llmrec.objective import Objective, TableCrossEntropy
from llmrec.recommender import Recommender, vocabulary_of
from llmrec.tasks import TASKS
from llmrec.timelines import Timelines
from train.checkpoint import Checkpoints
from train.loop import LOG_STEPS, Validation, train
from train.processes import own_cores, start
from train.stopping import Stop
from train.setup import bare, templates_of

WINDOW = 50
TOKENS = 4096
PROMPTS = 128
STEPS = 10
"""Steps of ours timed as one."""
ROWS = (64, 128, 256, 512, 1024)
LOOKS = 12
"""Times a training is measured on valid."""
RATE, DECAY, DROPOUT = 1e-3, 0.01, 0.2


class Stage:
    """A corpus, and a fresh model for each run over it."""

    def __init__(self, corpus: Path, device: str):
        self.corpus, self.device = Corpus.load(corpus), device
        self.timelines = Timelines.of(self.corpus)
        self.templates = {"next_item": bare(templates_of("next_item"))}
        self.base = create_base(["words"] * 10, vocabulary=300, width=128, layers=2, heads=2, mlp_width=512, max_positions=1024)
        self.model()
        bound = TASKS["next_item"].bind(self.timelines, seed=0)
        self.mixture = Mixture({"next_item": bound}, self.templates, self.composer, {"next_item": 1.0}, batch_tokens=TOKENS, row_tokens=256, languages=["en"], seed=0)

    def model(self) -> LanguageModel:
        """The same model every time: 128 wide, 2 layers, a row for every item."""
        torch.manual_seed(0)
        base = create_base(["words"] * 10, vocabulary=300, width=128, layers=2, heads=2, mlp_width=512, max_positions=1024)
        vocabulary = vocabulary_of(base, size=base.lm.get_input_embeddings().weight.shape[0])
        index = build_index("atomic", Material(self.corpus.catalog.titles, np.zeros((len(self.corpus.catalog), 1), dtype=np.float32), vocabulary, 0))
        model = LanguageModel(base.lm, vocabulary_size=vocabulary.size, new_tokens=index.new_tokens, embedding_dropout=DROPOUT)
        add_residual_dropout(model.base, DROPOUT)
        self.composer = Composer(vocabulary, self.corpus.catalog, index.space(self.corpus.catalog.item_ids, vocabulary.size), rating_scale=self.corpus.rating_scale, max_prompt_tokens=WINDOW + 1)
        model.to(self.device).set_spaces(self.composer.spaces)
        return model

    def objective(self, model: LanguageModel) -> Objective:
        return Objective(model, spaces=self.mixture.spaces, num_tasks=1)

    def figure(self, model: LanguageModel) -> float:
        """next_item ndcg@10 on valid."""
        task = TASKS["next_item"]
        exam = Exam("next_item", task.family, tuple(task.bind(self.timelines, seed=0).held_out(VALID)), part=VALID)
        found = Validation({"next_item/ndcg@10": exam}, lambda: Recommender(model.eval(), self.composer, self.templates)).figures()
        model.train()
        return found["next_item/ndcg@10"]


class OnePrompt:
    """Batches of one prompt per target: each train event behind the up to WINDOW events before it."""

    def __init__(self, stage: Stage):
        timelines = stage.timelines
        code = np.array([stage.composer.spaces[ITEMS].trie.code(row)[0] for row in range(len(stage.corpus.catalog))])
        self.head, self.device = stage.composer.head(stage.templates["next_item"][0]), stage.device
        self.codes, self.rows = code[timelines.items], stage.composer.spaces[ITEMS].trie.rank[timelines.items]
        users = np.repeat(np.arange(len(timelines)), np.diff(timelines.starts))
        self.places = np.flatnonzero(timelines.parts == 0)
        self.begin = np.maximum(timelines.starts[users[self.places]], self.places - WINDOW)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """tokens (B, T), the place of each prompt's last token (B,), and the item to predict (B,); without end."""
        rng = np.random.default_rng(0)
        while True:
            order = rng.permutation(len(self.places))
            for start_ in range(0, len(order) - PROMPTS + 1, PROMPTS):
                chosen = order[start_ : start_ + PROMPTS]
                size = self.places[chosen] - self.begin[chosen]
                tokens = np.zeros((PROMPTS, len(self.head) + size.max()), dtype=np.int64)
                tokens[:, : len(self.head)] = self.head
                within = np.arange(size.max()) < size[:, None]
                tokens[:, len(self.head) :][within] = self.codes[(self.begin[chosen][:, None] + np.arange(size.max()))[within]]
                yield tuple(torch.as_tensor(array, device=self.device) for array in (tokens, len(self.head) + size - 1, self.rows[self.places[chosen]].astype(np.int64)))

    @staticmethod
    def loss(model: LanguageModel, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        tokens, last, target = batch
        size, length = tokens.shape
        rows = model.rows()
        causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        hidden = model.hidden(tokens, torch.arange(length, device=tokens.device).expand(size, length), causal.expand(size, length, length), rows=rows)
        return TableCrossEntropy.apply(hidden[torch.arange(size, device=tokens.device), last], rows, target).mean()


def stepper(model: LanguageModel) -> Callable[[torch.Tensor], None]:
    """Takes a loss and makes a step of it, as a loop written by hand does."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=DECAY)

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def mean_loss(objective: Objective, batch: Batch) -> torch.Tensor:
    return (objective(batch) / batch.answers.clamp(min=1)).sum()


def speed(stage: Stage, device: str, rounds: int) -> None:
    """Targets per second, ours against one prompt per target."""
    mine, theirs = stage.model(), stage.model()
    objective, prompts = stage.objective(mine), iter(OnePrompt(stage))
    step_mine, step_theirs = stepper(mine), stepper(theirs)
    batches = [stage.mixture.batch(step) for step in range(STEPS)]
    targets = sum(float(batch.answers.sum()) for batch in batches)

    def ours() -> None:
        for number in range(STEPS):
            step_mine(mean_loss(objective, stage.mixture.batch(number).to(device)))

    def peer() -> None:
        for _ in range(STEPS):
            step_theirs(OnePrompt.loss(theirs, next(prompts)))

    seconds = in_turn({"ours": ours, "one prompt per target": peer}, rounds=rounds, device=device)
    factor = targets / (STEPS * PROMPTS)
    record([Figure.of("training: times the targets per second of one prompt per target", [factor * ratio for ratio in ratios(seconds["one prompt per target"], seconds["ours"])], goal=">= 10", device=device)])


def overheads(stage: Stage, device: str, rounds: int) -> None:
    """What the loader and the loop add to a loop written by hand over batches that lie ready. Both loops count from their first step to their last."""
    made = [stage.mixture.batch(step).to(device) for step in range(LOG_STEPS)]
    by_hand_objective = stage.objective(stage.model())
    step = stepper(by_hand_objective.model)

    def by_hand() -> None:
        by_hand_objective.model.train()
        for batch in made:
            step(mean_loss(by_hand_objective, batch))

    class Ready:
        """A mixture whose batches lie ready."""

        def __init__(self) -> None:
            self.names, self.shares, self.units_per_step = stage.mixture.names, stage.mixture.shares, stage.mixture.units_per_step
            self.steps_per_epoch = len(made)

        def batch(self, part: int, *, rank: int, world: int) -> Batch:
            return made[part]

    def loop(mixture: object) -> float:
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(folder)
            accelerator = start(settings)
            logging.disable()
            train(accelerator, stage.objective(stage.model()), mixture, settings.pretrain, settings, validation=None, checkpoints=Checkpoints(Path(folder) / "c", {}), scratch=Path(folder), stop=Stop())
            (line,) = (Path(folder) / "log.jsonl").read_text().splitlines()
            return LOG_STEPS / json.loads(line)["steps_per_second"]

    seconds = in_turn({"by hand": by_hand, "loop": lambda: loop(Ready()), "loop and loader": lambda: loop(stage.mixture)}, rounds=3 * rounds, device=device)
    record([
        Figure.of("training: times a loop written by hand over batches that lie ready, the loop alone", ratios(seconds["loop"], seconds["by hand"]), goal="<= 1.05", device=device),
        Figure.of("training: times the loop over batches that lie ready, with the loader", ratios(seconds["loop and loader"], seconds["loop"]), goal="<= 1.03", device=device),
    ])


def packing(stage: Stage, device: str, rounds: int) -> None:
    """Targets per second by the length of a packed row."""
    objective = stage.objective(stage.model())
    step, sides, targets = stepper(objective.model), {}, {}
    for length in ROWS:
        mixture = Mixture(stage.mixture.bound, stage.templates, stage.composer, {"next_item": 1.0}, batch_tokens=TOKENS, row_tokens=length, languages=["en"], seed=0)
        made = [mixture.batch(number).to(device) for number in range(STEPS)]
        targets[length] = sum(float(batch.answers.sum()) for batch in made)

        def side(made: list[Batch] = made) -> None:
            for batch in made:
                step(mean_loss(objective, batch))

        sides[length] = side
    seconds = in_turn(sides, rounds=rounds, device=device)
    for length in ROWS:
        record([Figure.of(f"training: targets per second with rows of {length} tokens, times those with {ROWS[0]}", [targets[length] / targets[ROWS[0]] * ratio for ratio in ratios(seconds[ROWS[0]], seconds[length])], device=device)])


def arithmetic(stage: Stage, device: str, rounds: int) -> None:
    """The same steps in bf16, and with the decoder compiled, against plain fp32."""
    made = [stage.mixture.batch(step).to(device) for step in range(2 * STEPS)]

    def side(*, bf16: bool = False, compiled: bool = False) -> Callable[[], None]:
        model = stage.model()
        if compiled:
            decoder_of(model.base).compile(dynamic=True)
        objective, step = stage.objective(model), stepper(model)
        model.train()

        def run() -> None:
            for batch in made:
                with torch.autocast(device, torch.bfloat16, enabled=bf16):
                    loss = mean_loss(objective, batch)
                step(loss)

        return run

    sides = {"fp32": side(), "bf16": side(bf16=True)}
    # torch compiles for a CPU with the machine's own compiler.
    if device == "cuda" or shutil.which("g++"):
        sides |= {"compiled": side(compiled=True), "bf16 compiled": side(bf16=True, compiled=True)}
    seconds = in_turn(sides, rounds=rounds, device=device)
    record([Figure.of(f"training: times as fast as plain fp32, {name}", ratios(seconds["fp32"], seconds[name]), device=device) for name in seconds if name != "fp32"])


def settings_of(folder: str) -> Settings:
    """What the loop needs to be told for as many steps as `overheads` takes by hand, without averaged weights, which a loop by hand has not."""
    phase = f"{{tasks: {{next_item: 1.0}}, max_steps: {LOG_STEPS}, epochs: 1000, batch_tokens: {TOKENS}, learning_rate: {RATE}, weight_decay: {DECAY}, average: 0, warmup_steps: 0, schedule: constant}}"
    return load_settings(None, [f"output={folder}/run", "data.corpus=.", "precision=fp32", f"pretrain={phase}", "checkpoint_steps=100000"])


def quality(stage: Stage, device: str, minutes: float) -> None:
    """ndcg@10 of both after their time: ours after `minutes`, theirs after ten times as many."""
    found = {}
    for name, budget in (("ours", minutes), ("theirs", 10 * minutes)):
        model = stage.model()
        objective, step, prompts = stage.objective(model), stepper(model), iter(OnePrompt(stage))
        best, spent, steps, looks = 0.0, 0.0, 0, 0
        with tqdm(total=round(60 * budget), desc=name, unit="s") as bar:
            while spent < 60 * budget:
                begun = time.perf_counter()
                step(mean_loss(objective, stage.mixture.batch(steps).to(device)) if name == "ours" else OnePrompt.loss(model, next(prompts)))
                steps += 1
                passed = time.perf_counter() - begun
                spent += passed
                bar.update(min(passed, bar.total - bar.n))
                if spent >= 60 * budget * (looks + 1) / LOOKS:
                    best, looks = max(best, stage.figure(model)), looks + 1
        found[name] = best
    record([
        Figure.of(f"training: best next_item ndcg@10 on valid within {minutes:g} minutes, ours", [found["ours"]], device=device),
        Figure.of(f"training: best next_item ndcg@10 on valid within {10 * minutes:g} minutes, one prompt per target", [found["theirs"]], device=device),
        Figure.of("training: quality over that of one prompt per target in ten times the time", [found["ours"] / found["theirs"]], goal=">= 1", device=device),
    ])


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--corpus", type=Path, required=True, help="a prepared corpus")
    parser.add_argument("--minutes", type=float, default=0.0, help="how long ours trains for the comparison of quality; 0: no such comparison")
    arguments = parser.parse_args()
    torch.set_num_threads(own_cores())
    stage = Stage(arguments.corpus, arguments.device)
    speed(stage, arguments.device, arguments.rounds)
    overheads(stage, arguments.device, arguments.rounds)
    packing(stage, arguments.device, arguments.rounds)
    arithmetic(stage, arguments.device, arguments.rounds)
    if arguments.minutes:
        quality(stage, arguments.device, arguments.minutes)


if __name__ == "__main__":
    main()
