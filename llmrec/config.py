"""Training settings: what an experiment's YAML may say, with the meaning of every key.

Separate from the loops, so that a misspelt key is refused before anything is loaded, and the resolved settings can be saved with the model.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from llmrec.assets import folder_of


class Section(BaseModel):
    """Settings of one kind; a key it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Shares = dict[str, Annotated[float, Field(ge=0)]]
Metrics = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class DataSettings(Section):
    corpus: Path
    """Folder that `python -m llmrec.prepare` wrote."""
    languages: list[str] = ["en", "zh"]
    """Languages of the prompts in training; each keeps its share of the wordings."""
    fraction: float = Field(1.0, gt=0, le=1)
    """The part of the users whose events are learned from, drawn by the seed (to see how quality grows with the data); content and held-out questions are those of all."""


class LoraSettings(Section):
    rank: int = Field(16, ge=1)
    """Rank of the adapters: more learns more and forgets more."""
    alpha: int = Field(32, ge=1)
    """Adapters are scaled by alpha / rank."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapters' input."""
    targets: list[str] | str = "all-linear"
    """Names of the linear layers that get one, or "all-linear"."""


class ModelSettings(Section):
    base: str = "built-in"
    """A folder, a hub's ORG/NAME@COMMIT, or "built-in": a small Llama created for the corpus."""
    vocabulary: int = Field(4000, ge=300)
    """Pieces of the built-in tokenizer; a small text gets fewer."""
    width: int = Field(128, ge=8)
    """Hidden units of the built-in base."""
    layers: int = Field(2, ge=1)
    """Decoder layers of the built-in base."""
    heads: int = Field(2, ge=1)
    """Attention heads of the built-in base."""
    mlp_width: int = Field(512, ge=8)
    """Units of the built-in base's MLP."""
    max_positions: int = Field(1024, ge=64)
    """Longest sequence of the built-in base, in tokens."""
    rope_theta: float = Field(1e4, gt=0)
    """Base of the built-in base's rotary positions: a larger one lets attention look less at distance, which suits histories without order."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the built-in base's attention weights."""
    embedding_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on every input row; small data needs much."""
    residual_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on what each attention and MLP adds; small data needs much."""
    lora: LoraSettings = LoraSettings()
    """The adapters of finetune."""


class ContentSettings(Section):
    rows: bool = True
    """Whether an item's row is its learned vector plus a projection of its content; False: the learned vector alone."""
    learned: bool = True
    """Whether an item's row has a learned vector of its own; False: its content alone, where data are so small that a row would learn its users by heart."""
    source: str = "tfidf"
    """Where content vectors come from: "tfidf" (TF-IDF and truncated SVD of title and attributes), "base" (the base model's own token embeddings of them), or a sentence encoder: a folder, or a hub's ORG/NAME@COMMIT."""
    size: int = Field(256, ge=1)
    """Dimensions of the TF-IDF vectors; encoders keep their own."""
    collaborative: int = Field(0, ge=0)
    """Dimensions of what train's events say about an item (co-occurrence, then rating bias and count), put behind its content; 0: none. Atomic codes only."""


class ValidationSettings(Section):
    metric: Metrics = ("next_item/ndcg@10",)
    """TASK/METRIC on the valid part that chooses the best step: errors (rmse, mae, logloss, ece) are minimised, all others maximised. A list: their geometric mean, errors inverted."""
    every_epochs: float = Field(1.0, gt=0)
    """Epochs between two validations."""
    every_steps: int | None = Field(None, ge=1)
    """Steps between two validations, whatever an epoch has: for trainings on different data that are to be compared."""
    limit: int = Field(2000, ge=1)
    """Users whose held-out questions are used, the same at every validation. At the end temperatures and blends are fitted on up to 2,000 users where that is more, the share of the memory and the weight of words on up to 10,000, whatever stands here."""
    patience: int = Field(5, ge=1)
    """Validations without a gain after which training stops."""


class PhaseSettings(Section):
    """One training: `pretrain` or `finetune`."""

    tasks: Shares = {"next_item": 1.0}
    """Each task's share of the loss; tasks the data lacks are left out with a sentence."""
    tokens: Shares = {}
    """A task's share of the tokens where it is another than of the loss: few answers, passed over often, are learned by heart."""
    balance: Literal["static", "temperature", "dwa", "uncertainty", "pcgrad"] = "static"
    """How tasks are weighed against each other: static, by the shares above; temperature, these times the size of each task's data to the power of 1 / balance_temperature; dwa, a task whose loss falls slower counts more (dynamic weight average); uncertainty, learned factors; pcgrad, without what two gradients take from each other (a backward pass and three gradients in memory for each task)."""
    balance_temperature: float = Field(2.0, gt=0)
    """Of temperature and dwa: larger is closer to static."""
    epochs: float = Field(10.0, gt=0)
    """Passes over the data: one is as many tokens as all tasks' units have."""
    max_steps: int | None = Field(None, ge=1)
    """An upper bound on the steps, whatever the epochs."""
    batch_tokens: int = Field(4096, ge=64)
    """Tokens of one step, over all processes and accumulated parts."""
    accumulation: int = Field(1, ge=1)
    """Parts a step is computed in, to save memory."""
    row_tokens: int = Field(128, ge=16)
    """Tokens of one packed row; longer wastes attention on a CPU, shorter wastes padding."""
    max_prompt_tokens: int = Field(256, ge=16)
    """A history is cut to its newest whole events that fit."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak of AdamW's learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decay of matrices (not of vectors)."""
    squared_error: float = Field(0.0, ge=0)
    """Weight of the squared error of an expected rating beside its cross-entropy (scales whose values are single tokens)."""
    warmup_steps: int = Field(100, ge=0)
    """Steps over which the learning rate rises."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """The learning rate after the warm-up; cosine falls to a tenth."""
    average: float = Field(0.99, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is validated and kept; 0: the last weights themselves."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    validation: ValidationSettings = ValidationSettings()
    """How the best step is chosen."""


class Settings(Section):
    """Everything an experiment says."""

    data: DataSettings
    output: Path
    """The folder of the trained model."""
    overwrite: bool = False
    """Whether a finished model at `output` may be replaced."""
    seed: int = Field(0, ge=0, le=2**32 - 1)
    """Decides order, words, initial rows and dropout."""
    processes: int = Field(1, ge=1)
    """How many processes are meant; another number is refused."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the device computes with it, else fp32."""
    threads: int = Field(0, ge=0)
    """CPU threads of each process; 0: its part of the machine's physical cores. A tiny model is no faster on several."""
    index: Literal["atomic", "semantic", "title"] = "atomic"
    """How items are coded."""
    expectations: bool = False
    """Whether answers of rating and yes/no questions are weighed against what others' ratings let expect (biases, item neighbours and matrix factors), and yes and no that are no ratings against what others answered and how alike items are; fitted on train, weights on valid."""
    memory: bool = False
    """Whether item answers are mixed with what stood beside the history's items in train (item-based neighbours; the share of each task is fitted on valid). Atomic codes only."""
    lexical: bool = False
    """Whether answers to searches are weighed with how well an item's own words fit the query (BM25; the weight is fitted on valid). Atomic codes only."""
    consensus: bool = False
    """Whether a written answer is the one of several drafts that the others agree with most, for tasks where that serves valid. Then 32 texts are written for each answer."""
    precedents: bool = False
    """Whether the consensus also asks what train answered to the most similar questions (the share of each task is fitted on valid). Only for answers that people wrote. The model's folder then holds them, with the histories and the words of the reviews they are found by, and may give one word for word: not where others must not read them."""
    unquoted: bool = False
    """Whether no written answer may hold 30 characters in a row that one or two people wrote in train; another draft, or a plain sentence, stands in. The model's folder then holds hashes from which the reviews can be read back (8 bytes a character): keep it as you keep the log."""
    tasks: Shares | None = None
    """Shares of the tasks in finetune; in short for finetune.tasks."""
    model: ModelSettings = ModelSettings()
    content: ContentSettings = ContentSettings()
    pretrain: PhaseSettings = PhaseSettings(tasks={"next_item": 0.8, "item_card": 0.1, "item_text": 0.1})
    finetune: PhaseSettings = PhaseSettings()
    checkpoint_steps: int = Field(500, ge=1)
    """Steps between two checkpoints."""

    @model_validator(mode="after")
    def _go_together(self) -> Settings:
        if self.data.fraction < 1 and (self.expectations or self.memory or self.precedents or self.unquoted or self.content.collaborative):
            raise ValueError(f"data.fraction={self.data.fraction} learns from a part of the users, but expectations, memory, precedents, unquoted and content.collaborative are made of all: switch them off, or set data.fraction=1")
        if self.precedents and not self.consensus:
            raise ValueError("precedents=true has a part in the consensus of drafts alone: set consensus=true, too")
        if self.precedents and self.unquoted:
            raise ValueError("precedents=true answers in the words of others, unquoted=true forbids them: choose one")
        return self

    def resolved(self) -> Settings:
        """With the short form of the tasks written out."""
        if self.tasks is None:
            return self
        return self.model_copy(update={"tasks": None, "finetune": self.finetune.model_copy(update={"tasks": self.tasks})})


def load_settings(config: str | None, overrides: Sequence[str]) -> Settings:
    """The settings of a shipped config's name or a YAML path, with `key.sub=value` overrides (values are YAML).

    Raises FileNotFoundError for a config that does not exist, ValueError with the key and the nearest known one for anything else.
    """
    values = _read(find_config(config)) if config else {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign or not key:
            raise ValueError(f"got {override!r}; expected key=value, such as data.corpus=corpora/mine")
        try:
            _set(values, key.split("."), yaml.safe_load(text) if text else None)
        except yaml.YAMLError:
            raise ValueError(f"the value of {override!r} is not YAML; expected such as key=3, key=[a, b] or key={{a: 1}}") from None
    values.setdefault("data", {})  # so that what is missing is its corpus
    try:
        return Settings.model_validate(values).resolved()
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(problem) for problem in error.errors())) from None


def find_config(name: str) -> Path:
    """The YAML of a shipped config by name, or the path itself. Raises FileNotFoundError naming the shipped ones."""
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name)
        raise FileNotFoundError(f"there is no config file {name}")
    shipped = {path.stem: path for path in sorted((folder_of("train") / "configs").glob("*.yaml"))}
    if name not in shipped:
        raise FileNotFoundError(f"there is no config {name!r}; shipped: {', '.join(shipped)}; or give the path of a .yaml file")
    return shipped[name]


PLACES = {"output", "overwrite", "seed", "processes", "threads", "checkpoint_steps"}
"""Settings that say where and how often, not how."""


def recipe_of(folder: Path) -> str:
    """16 hex digits that stand for the settings a model folder was trained with, and its base, whatever their seeds and places: seeds of one recipe have the same. Empty for a model that was not trained.

    Raises ValueError for a folder whose settings or card training did not write.
    """
    path, card = folder / "train_config.yaml", folder / "recommender.json"
    if not path.is_file():
        return ""
    values = load_settings(str(path), []).model_dump(mode="json", exclude_defaults=True, exclude={**dict.fromkeys(PLACES, True), "data": {"corpus"}})  # a key that comes later leaves the recipe as it is
    base = values.get("model", {}).pop("base", None)
    try:
        beneath = json.loads(card.read_text(encoding="utf-8")).get("base_recipe") if card.is_file() else None
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{card} is not what training wrote: {error}") from None
    return hashlib.sha256(json.dumps([values, base if beneath is None else beneath], sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> dict:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict | None):
        raise ValueError(f"{path} holds a {type(values).__name__}; expected settings as key: value")
    return values or {}


def _set(values: dict, keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ValueError(f"{'.'.join(keys)}: {key} is a value, not a section")
    values[keys[-1]] = value


def _sentence(problem: dict) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        section: type[BaseModel] | None = Settings
        for name in problem["loc"][:-1]:
            annotation = section.model_fields[name].annotation if section and name in section.model_fields else None
            section = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
        known = list(section.model_fields) if section else []
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
        return f"unknown key {key}{f'; did you mean {close[0]}?' if close else '.'} Known here: {', '.join(known)}"
    if not key:  # of settings that are each right
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return f"{key} is not set; give it as {key}=VALUE"
    return f"{key} is {json.dumps(problem['input'], default=str)}: {problem['msg']}"
