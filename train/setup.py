"""What both commands prepare before the loop: the data, the composer, the mixture, the validation; and what they write after it."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import polars as pl
import torch
import yaml
from accelerate import Accelerator

import llmrec
from llmrec.assets import folder_of
from llmrec.bases import Base
from llmrec.composer import Composer
from llmrec.config import PhaseSettings, Settings, recipe_of
from llmrec.content import Content, item_texts
from llmrec.exam import Exam
from llmrec.exits import STOPPED
from llmrec.indexing import ItemIndex
from llmrec.interactions import TRAIN, VALID, Corpus
from llmrec.launch import collect_seldom
from llmrec.metrics import METRICS, NEITHER_IS_BETTER
from llmrec.mixture import Mixture
from llmrec.model import LanguageModel
from llmrec.objective import Objective
from llmrec.publishing import check_free, publish, sole_writer
from llmrec.recommender import Backing, Fitted, Recommender, audit_hash, prompt_room, save_recommender, vocabulary_of
from llmrec.splits import some_users
from llmrec.tasks import OBJECTIVES, TASKS
from llmrec.templates import BARE, PromptTemplate, load_templates
from llmrec.timelines import Timelines

from .calibrate import calibrated, valid_exam
from .checkpoint import Checkpoints
from .items import content_of_others
from .loop import Validation, train
from .stopping import Stop, Stopped

log = logging.getLogger(__name__)

MAX_REVIEWS = 200_000
"""Reviews the tokenizer learns its pieces from: more change none of them."""


def scratch_of(output: Path) -> Path:
    """Where a run keeps its checkpoints and its log until it is finished, beside its output."""
    return output.with_name(f"{output.name}.run")


def templates_of(task: str) -> tuple[PromptTemplate, ...]:
    """The shipped templates of an objective."""
    declared = OBJECTIVES[task]
    return load_templates(folder_of("prompts") / f"{task}.yaml", required=declared.required, offered=declared.offered)


def bare(templates: Sequence[PromptTemplate]) -> tuple[PromptTemplate, ...]:
    """The template without words, where there is one, else all: codes are learned before any wording is."""
    return tuple(t for t in templates if t.name == BARE) or tuple(templates)


def offered(phase: PhaseSettings, corpus: Corpus) -> PhaseSettings:
    """The phase with those of its tasks that the corpus allows; the others are named with the reason. Raises KeyError for an unknown task, ValueError where none is left, or train has fewer than two users or the catalogue fewer than two items."""
    kept, users, items = {}, corpus.interactions.part(TRAIN).frame["user_id"].n_unique(), len(corpus.catalog)
    for name in (*phase.tasks, *phase.tokens):
        if name not in OBJECTIVES:
            raise KeyError(f"unknown task {name!r} in {'tasks' if name in phase.tasks else 'tokens'}; available: {', '.join(OBJECTIVES)}")
    for name, share in phase.tasks.items():
        reason = OBJECTIVES[name].reason_absent(corpus)
        if reason is None and share > 0:
            kept[name] = share
        elif reason is not None:
            log.info("left out: %s", reason)
    if not kept:
        raise ValueError(f"none of the tasks {', '.join(phase.tasks)} can be trained on this corpus (reasons above)")
    if min(users, items) < 2:
        raise ValueError(f"train has {users} user(s) and the catalogue {items} item(s): nothing can be told apart with fewer than two of each")
    return phase.model_copy(update={"tasks": kept})


def run(
    settings: Settings, phase: PhaseSettings, accelerator: Accelerator, *, corpus: Corpus, model: LanguageModel, base: Base, index: ItemIndex, content: Content | None,
    templates: Mapping[str, Sequence[PromptTemplate]], answers: Mapping[str, Sequence[PromptTemplate]], kind: str, base_name: str, base_folder: Path | None,
) -> None:
    """Trains a model and publishes its folder at settings.output.

    templates: the wordings each objective is trained in.   answers: those the finished model answers its tasks in.

    Raises BlockingIOError where another training writes there.
    """
    check_free(settings.output, overwrite=settings.overwrite)
    scratch = scratch_of(settings.output)
    with alone_in(scratch) if accelerator.is_main_process else nullcontext():
        timelines = Timelines.of(corpus)
        vocabulary = vocabulary_of(base, size=model.vocabulary_size)
        items = index.space(corpus.catalog.item_ids, vocabulary.size)
        backing = backing_of(settings, timelines, list(answers), index=index.scheme)
        composer = Composer(
            vocabulary, corpus.catalog, items, rating_scale=corpus.rating_scale, max_prompt_tokens=prompt_room(model.base, index, phase.max_prompt_tokens),
        )
        fold_content = content_of_others(settings, corpus, index)
        learned = timelines if settings.data.fraction == 1 else Timelines.of(some_users(corpus, settings.data.fraction, settings.seed))
        bound = {name: OBJECTIVES[name].bind(learned, seed=settings.seed) for name in templates}
        mixture = Mixture(
            bound, templates, composer, phase.tasks, batch_tokens=phase.batch_tokens // phase.accumulation, row_tokens=phase.row_tokens,
            languages=settings.data.languages, seed=settings.seed, tokens=phase.tokens, temperature=phase.balance_temperature if phase.balance == "temperature" else None,
            codes=index.new_tokens if fold_content is not None else 0,
        )
        if fold_content is not None:
            model.set_fold_content(fold_content)
        model.to(accelerator.device)
        model.set_spaces(composer.spaces)
        objective = Objective(model, spaces=mixture.spaces, num_tasks=len(mixture.names), squared_error=phase.squared_error)
        card = about_run(settings, corpus, accelerator, base=base_name)
        validation = _validation(phase, timelines, settings.seed, list(answers), lambda: Recommender(model.eval(), composer, answers))
        checkpoints = Checkpoints(scratch / "checkpoints", fingerprint_of(settings, corpus, accelerator))
        check_isolation(model, mixture)
        collect_seldom()
        stop = Stop()  # before this nothing is lost when a signal ends the process
        progress = train(accelerator, objective, mixture, phase, settings, validation=validation, checkpoints=checkpoints, scratch=scratch, stop=stop)
        if accelerator.is_main_process:  # alone from here on: the others have nothing to wait for
            card["valid"] = progress.best_figures
            card["valid_part"] = VALID if validation is not None else None
            card["steps"], card["best_step"] = progress.step, progress.best_step
            try:
                with stop.interruptible():
                    card.update(calibrated(Recommender(model.eval(), composer, answers, backing=backing), timelines, settings.seed, limit=phase.validation.limit, lexical=settings.lexical, consensus=settings.consensus))
            except Stopped:
                log.info("stopped behind the last step as asked; the same command goes on from here")
                sys.exit(STOPPED)
            with publish(settings.output, overwrite=settings.overwrite, hashes=True) as folder:
                save_recommender(
                    folder, model=model.cpu(), tokenizer=base.tokenizer, index=index, composer=composer, templates=answers, content=content, card=card, kind=kind, base_folder=base_folder, backing=backing.used(Fitted.of(card)),
                )
                (folder / "train_config.yaml").write_text(settings_yaml(settings), encoding="utf-8")
                for name in ("log.jsonl", "tensorboard"):
                    source = scratch / name
                    if source.exists():
                        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
            # All at once: half of its checkpoints would be taken for those of a run that can't be gone on with.
            finished = scratch.with_name(f".old-{scratch.name}")
            shutil.rmtree(finished, ignore_errors=True)  # left by one that was killed here
            os.rename(scratch, finished)
            shutil.rmtree(finished)
            log.info("wrote %s", settings.output)
            sys.stdout.write(json.dumps({"output": str(settings.output), "steps": progress.step, "valid": card["valid"]}) + "\n")
        accelerator.end_training()


def backing_of(settings: Settings, timelines: Timelines, tasks: Sequence[str], *, index: str) -> Backing:
    """What the settings put behind the answers of a model for these tasks. index: the scheme of its codes. Raises ValueError for settings that do not go together."""
    for name in ("memory", "lexical"):
        if getattr(settings, name) and index != "atomic":
            raise ValueError(f"{name}=true needs an answer of one token for each item: set index=atomic, or {name}=false with index={index}")
    return Backing.of(timelines, tasks, seed=settings.seed, expectations=settings.expectations, memory=settings.memory, precedents=settings.precedents, unquoted=settings.unquoted)


@contextmanager
def alone_in(scratch: Path) -> Iterator[None]:
    """A block in which no other process trains into this folder; where nothing else was put there, it leaves nothing. Raises BlockingIOError where another process does."""
    try:
        lock = sole_writer(scratch / "lock")
    except BlockingIOError as error:
        holder = ""
        with suppress(OSError):  # it may be done by now
            holder = (scratch / "lock").read_text(encoding="utf-8").strip()
        raise BlockingIOError(error.errno, f"{holder or 'another process'} is training into this; wait for it, or name another output", str(scratch)) from None
    try:
        with suppress(OSError):  # a full disk is told by whoever needs room on it
            lock.truncate(0)
            lock.write(f"process {os.getpid()} of {socket.gethostname()}\n")
            lock.flush()
        yield
    finally:
        with suppress(OSError):  # there are checkpoints, or the run is finished and all of it is gone
            (scratch / "lock").unlink()
            scratch.rmdir()
        lock.close()


def check_isolation(model: LanguageModel, mixture: Mixture) -> None:
    """Raises ValueError where a token of one packed example moves another's hidden states: such a family can't be trained packed."""
    batch = mixture.batch(0).to(model.device)
    row = int((batch.example.max(dim=1).values > 0).long().argmax())
    others = batch.example[row] != 0
    changed = batch.tokens[row : row + 1].clone()
    changed[0, others] = (changed[0, others] + 1) % model.vocabulary_size
    if not bool(others.any()) or int(batch.example[row].max()) < 1:
        return  # nothing is packed together
    training = model.training
    model.eval()
    with torch.no_grad():
        mask, rows = batch.mask()[row : row + 1], model.input_rows(model.rows())
        before, after = (model.hidden(t, batch.positions[row : row + 1], mask, rows=rows) for t in (batch.tokens[row : row + 1], changed))
    model.train(training)
    moved = float((before - after)[0, ~others].abs().max())
    if moved > 1e-4 * float(before.abs().max()):
        raise ValueError(f"{type(model.base).__name__} lets packed examples see each other (hidden states moved by {moved:.2g}); this family can't be trained here")


def about_run(settings: Settings, corpus: Corpus, accelerator: Accelerator, *, base: str) -> dict[str, object]:
    """What a model folder says of how it was made."""
    return {
        "base": base, "base_recipe": recipe_of(Path(base)) if Path(base).is_dir() else None, "corpus": str(settings.data.corpus), "data_hash": corpus.data_hash, "audit_hash": audit_hash(corpus), "seed": settings.seed,
        "split": dict(corpus.split), "precision": accelerator.mixed_precision, "command": shlex.join(sys.argv), "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what computes the figures."""
    return {"llmrec": llmrec.__version__, **{name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "accelerate")}}


def fingerprint_of(settings: Settings, corpus: Corpus, accelerator: Accelerator) -> dict[str, object]:
    """What must not change between the parts of one run."""
    flat: dict[str, object] = {"data_hash": corpus.data_hash, "precision_used": accelerator.mixed_precision}

    def walk(prefix: str, value: object) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            if isinstance(inner, dict) and key != "tasks":
                walk(f"{prefix}{key}.", inner)
            elif f"{prefix}{key}" not in ("output", "overwrite", "processes", "threads", "checkpoint_steps", "data.corpus"):
                flat[f"{prefix}{key}"] = inner

    walk("", yaml.safe_load(settings_yaml(settings)))
    return flat


def settings_yaml(settings: Settings) -> str:
    """The resolved settings as the YAML that reads back the same."""
    return yaml.safe_dump(settings.model_dump(mode="json"), allow_unicode=True, sort_keys=False)


def corpus_texts(corpus: Corpus, prompts: Path) -> Iterator[str]:
    """What the built-in tokenizer is trained on: the words of prompts, items and train reviews; of reviews at most MAX_REVIEWS."""
    for path in sorted(prompts.glob("*.yaml")):
        yield from [path.read_text(encoding="utf-8")] * 2
    yield from item_texts(corpus)
    log = corpus.interactions.part(TRAIN).frame
    if corpus.interactions.context:  # as prompts write it, value behind value
        log = log.with_columns(context=pl.concat_str(*corpus.interactions.context, separator=" ", ignore_nulls=True))
    for name in ("review", "summary", "query", "context"):
        if name in log.columns:
            yield from log[name].drop_nulls().head(MAX_REVIEWS).to_list()


def _validation(phase: PhaseSettings, timelines: Timelines, seed: int, answered: Sequence[str], recommender: Callable[[], Recommender]) -> Validation | None:
    exams = {name: exam for name in phase.validation.metric if (exam := _exam(name, phase, timelines, seed, answered)) is not None}
    if not exams:
        log.warning("no step is chosen by validation: the last one is kept")
    return Validation(exams, recommender) if exams else None


def _exam(name: str, phase: PhaseSettings, timelines: Timelines, seed: int, answered: Sequence[str]) -> Exam | None:
    """The held-out questions behind TASK/METRIC; None, with a sentence, where the model or the corpus has none. Raises ValueError for a name that is none."""
    task_name, _, metric = name.partition("/")
    if task_name not in TASKS or not metric:
        raise ValueError(f"validation.metric is {name!r}; expected TASK/METRIC, such as next_item/ndcg@10. Tasks: {', '.join(TASKS)}")
    task = TASKS[task_name]
    known = [metric for metric in METRICS[task.family] if metric not in NEITHER_IS_BETTER]
    if metric not in known:
        raise ValueError(f"validation.metric is {name!r}; {task_name} is judged by: {', '.join(known)}")
    if task_name not in answered:
        log.warning("no validation by %s: %s is not among the trained tasks (%s). Set validation.metric to one of theirs", name, task_name, ", ".join(answered))
        return None
    exam = valid_exam(task, timelines, seed, limit=phase.validation.limit)
    if exam is None:
        log.info("no validation by %s: the corpus has no held-out questions for it", name)
    return exam
