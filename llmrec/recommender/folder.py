"""A trained model as a folder: every file it consists of, written by training and read by the Recommender.

Separate from the Recommender, so that what is on disk, and what of it is checked, stands in one place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from llmrec.answers import RATING
from llmrec.assets import folder_of
from llmrec.bases import Base, check_numbers, load_base, load_lm, start_and_end
from llmrec.composer import MAX_ANSWER_TOKENS, Composer
from llmrec.content import Content
from llmrec.indexing import ItemIndex, Material, build_index
from llmrec.inspection import inspect_files
from llmrec.interactions import Catalog, Corpus
from llmrec.model import LanguageModel
from llmrec.publishing import FILES, publish, verify
from llmrec.recommender.combining import PARTS, Backing
from llmrec.tasks import TASKS, find_task
from llmrec.templates import PromptTemplate, load_templates, save_templates
from llmrec.vocabulary import Vocabulary

FORMAT = 1
FREE = ("README.md", "log.jsonl", "tensorboard")
"""What a model folder tells and nobody loads: anybody may write there."""


@dataclass(frozen=True)
class Layout:
    """The files of a model folder."""

    folder: Path

    @property
    def about(self) -> Path:
        return self.folder / "recommender.json"

    @property
    def prompts(self) -> Path:
        return self.folder / "prompts"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.parquet"

    @property
    def content(self) -> Path:
        return self.folder / "content"

    @property
    def rows(self) -> Path:
        return self.folder / "item_rows.safetensors"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def merged(self) -> Path:
        return self.folder / "merged"


def load_parts(folder: Path, *, backing: bool = True) -> tuple[LanguageModel, Composer, dict[str, tuple[PromptTemplate, ...]], Backing, dict[str, object]]:
    """Model, composer, templates by task, what stands behind its answers (where `backing` wants it), and card of a folder; nothing outside it is read but a hub base named in it.

    Raises FileNotFoundError naming what is missing, ValueError for a folder of another format, or one that is no longer what was published (where files.json tells).
    """
    layout = Layout(folder)
    if not layout.about.is_file():
        raise FileNotFoundError(f"{layout.about} is missing: {folder} is not a model folder; train one with `accelerate launch -m train.finetune`")
    inspect_files([*folder.iterdir(), *layout.content.glob("*")])  # what else we wrote is read by ourselves alone
    try:
        about = json.loads(layout.about.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{layout.about} is not what training wrote ({error}); use another folder") from None
    if about.get("format") != FORMAT:
        raise ValueError(f"{layout.about} has format {about.get('format')!r}; this version reads {FORMAT}")
    if (folder / FILES).is_file():
        verify(folder, skip=FREE)
    index, catalog = ItemIndex.load(layout.folder), Catalog.load(layout.catalog)
    vocabulary = Vocabulary.load(layout.folder, size=about["vocabulary_size"], start=about["start"], end=about["end"])
    model = LanguageModel(_load_plain(layout, about), vocabulary_size=vocabulary.size, new_tokens=index.new_tokens)
    items = index.space(catalog.item_ids, vocabulary.size)
    behind = Backing.load(layout.folder, catalog, about["tasks"]) if backing else Backing()  # before the prompts: their words may be of the same other version
    composer = Composer(vocabulary, catalog, items, rating_scale=about["rating_scale"], max_prompt_tokens=about["max_prompt_tokens"])
    templates = {name: load_task_templates(layout.prompts, name) for name in about["tasks"]}
    return model, composer, templates, behind, about


def load_task_templates(prompts: Path, task: str) -> tuple[PromptTemplate, ...]:
    """The templates of a task from a folder of prompts, checked against what the task offers."""
    declared = find_task(task)
    return load_templates(prompts / f"{task}.yaml", required=declared.required, offered=declared.offered)


def save_recommender(
    folder: Path, *, model: LanguageModel, tokenizer, index: ItemIndex, composer: Composer, templates: Mapping[str, Sequence[PromptTemplate]], content: Content | None,
    card: Mapping[str, object], kind: str, base_folder: Path | None = None, backing: Backing = Backing(),
) -> None:
    """Writes a model folder into `folder`, which exists and is published by the caller.

    kind: "base": the plain model stands in the folder itself; "adapter": PEFT's files do, with the merged plain model in merged/ and a copy of a local base in base/.
    """
    layout = Layout(folder)
    plain = model.plain()
    if kind == "base":
        plain.save_pretrained(folder)
    else:
        model.lm.save_pretrained(folder, save_embedding_layers=False)
        plain.save_pretrained(layout.merged)
        if base_folder is not None:
            _copy_base(base_folder, layout.base)
    tokenizer.save_pretrained(folder)
    rows = {"rows": model.rows().detach().cpu().contiguous()}
    if model.projection is not None:
        rows["projection"] = model.projection.weight.detach().cpu().contiguous()
    save_file(rows, layout.rows)
    index.save(folder)
    composer.catalog.save(layout.catalog)
    backing.save(folder)
    if content is not None:
        layout.content.mkdir()
        content.save(layout.content)
    layout.prompts.mkdir()
    for name, entries in templates.items():
        save_templates(layout.prompts / f"{name}.yaml", entries)
    vocabulary = composer.vocabulary
    rating = composer.spaces.get(RATING)
    about = {
        "format": FORMAT, "kind": kind, "index": index.scheme, "tasks": list(templates), "vocabulary_size": vocabulary.size, "start": vocabulary.start, "end": vocabulary.end,
        "rating_scale": [] if rating is None else rating.values.tolist(), "max_prompt_tokens": composer.max_prompt_tokens, **card,
    }
    _tell(layout, about, len(composer.catalog))


def renew(folder: Path, source: Path, *, backing: Backing, card: Mapping[str, object]) -> None:
    """Writes into `folder`, which exists and is published by the caller, the model folder `source` with something else behind its answers and these entries of its card."""
    for path in source.iterdir():
        if path.stem not in PARTS and path.name not in (FILES, "README.md", "recommender.json"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    backing.save(folder)
    about = {**json.loads(Layout(source).about.read_text(encoding="utf-8")), **card}
    _tell(Layout(folder), about, len(Catalog.load(Layout(source).catalog)))


def _tell(layout: Layout, about: Mapping[str, object], num_items: int) -> None:
    layout.about.write_text(json.dumps(about, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    (layout.folder / "README.md").write_text(model_card(about, num_items), encoding="utf-8")


def model_card(about: Mapping[str, object], num_items: int) -> str:
    """The card of a model folder, in Markdown."""
    valid = about.get("valid") or {}
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in valid.items())
    return f"""---
library_name: llmrec
tags: [recommendation]
---
# {about.get('corpus', 'llmrec model')}

A recommender of {num_items} items ({about['index']} codes), made with llmrec {about.get('versions', {}).get('llmrec', '')}. It answers: {', '.join(about['tasks'])}.

```python
from llmrec import Recommender
Recommender.from_pretrained("THIS FOLDER").recommend(history=["ITEM", "ITEM"], k=10)
```

| | |
|---|---|
| base | {about.get('base', '')} |
| data hash | {about.get('data_hash', '')} |
| audit hash | {about.get('audit_hash', '')} |
| seed | {about.get('seed', '')} |
| command | `{about.get('command', '')}` |
| privacy | made of its users' events, and may tell whose: `python -m eval.membership` measures how well |

Validation (the part that chose the step):

| metric | value |
|---|---|
{figures}
"""


def prepare_model(base: str, corpus: Path, out: Path, *, overwrite: bool = False) -> None:
    """A model folder around an untrained base: items are named by their titles, so that any pretrained model recommends as it is.

    Raises ValueError where the catalogue has no titles.
    """
    data = Corpus.load(Path(corpus))
    if not any(data.catalog.titles):
        raise ValueError(f"the catalogue of {corpus} has no titles; an untrained model can name items by titles only")
    lm, tokenizer = load_base(base)
    vocabulary = vocabulary_of(Base(lm, tokenizer), size=lm.get_input_embeddings().weight.shape[0])
    index = build_index("title", Material(data.catalog.titles, np.zeros((len(data.catalog), 1), np.float32), vocabulary, 0))
    model = LanguageModel(lm, vocabulary_size=vocabulary.size, new_tokens=0)
    composer = Composer(vocabulary, data.catalog, index.space(data.catalog.item_ids, vocabulary.size), rating_scale=data.rating_scale, max_prompt_tokens=prompt_room(lm, index, 1024))
    templates = {name: load_task_templates(folder_of("prompts"), name) for name, task in TASKS.items() if task.reason_absent(data) is None}
    card = {"base": base, "corpus": data.name, "data_hash": data.data_hash, "audit_hash": audit_hash(data)}
    with publish(Path(out), overwrite=overwrite, hashes=True) as folder:
        save_recommender(folder, model=model, tokenizer=tokenizer, index=index, composer=composer, templates=templates, content=None, card=card, kind="base")


def vocabulary_of(base: Base, *, size: int) -> Vocabulary:
    """The vocabulary of a base. size: its own table's rows, code tokens not counted."""
    from_backend = type(base.tokenizer.backend_tokenizer).from_str(base.tokenizer.backend_tokenizer.to_str())
    start, end = start_and_end(base.tokenizer)
    return Vocabulary(from_backend, size=size, start=start, end=end)


def prompt_room(lm, index: ItemIndex, wanted: int) -> int:
    """The longest prompt: what is wanted, or what the base's positions allow behind which an answer must fit."""
    positions = getattr(lm.config, "max_position_embeddings", None) or wanted + MAX_ANSWER_TOKENS
    room = min(wanted, positions - max(MAX_ANSWER_TOKENS, index.codes.shape[1]))
    if room < 16:
        raise ValueError(f"the base has {positions} positions; a prompt and an answer need at least {16 + MAX_ANSWER_TOKENS}")
    return room


def audit_hash(corpus: Corpus) -> str:
    """The hash of the corpus's audit, or "" where it has none."""
    audit = corpus.report.get("audit")
    return str(audit.get("hash", "")) if isinstance(audit, Mapping) else ""


def _load_plain(layout: Layout, about: Mapping[str, object]):
    if about["kind"] == "base":
        return load_lm(str(layout.folder))
    if layout.merged.is_dir():
        return load_lm(str(layout.merged))
    if not (layout.folder / "adapter_model.safetensors").is_file():
        raise FileNotFoundError(f"{layout.folder / 'adapter_model.safetensors'} is missing; adapters are read in safetensors alone")
    from peft import PeftModel

    base = load_lm(str(about["base"]))
    _check_adapter(layout.folder)
    try:
        merged = PeftModel.from_pretrained(base, str(layout.folder)).merge_and_unload()
    except RuntimeError as error:
        raise ValueError(f"the adapter of {layout.folder} is not one of its base: {str(error).splitlines()[-1].strip()}") from None
    model = LanguageModel(merged, vocabulary_size=about["vocabulary_size"], new_tokens=len(load_file(layout.rows)["rows"]))
    with torch.no_grad():
        model.learned.copy_(load_file(layout.rows)["rows"])
    plain = model.plain()
    check_numbers(plain, str(layout.folder))
    return plain


def _check_adapter(folder: Path) -> None:
    """PEFT makes matrices of whatever kind and rank the adapter's settings name, and then looks whether the file has them. Raises ValueError for others than we write."""
    about = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if not isinstance(about, dict) or about.get("peft_type") != "LORA" or about.get("rank_pattern"):
        raise ValueError(f"adapter_config.json of {folder} is not that of a LoRA of one rank, which training writes; use another folder")
    rank = about.get("r")
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        for key in file.keys():
            shape = file.get_slice(key).get_shape()
            if (".lora_A." in key and shape[:1] != [rank]) or (".lora_B." in key and shape[-1:] != [rank]):
                raise ValueError(f"adapter_config.json of {folder} says r={rank}, and {key} has the shape {shape}: they do not belong together")


def _copy_base(source: Path, target: Path) -> None:
    """The files of a plain Hugging Face folder, and no others."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and (path.suffix == ".safetensors" and path.name.startswith("model") or path.name in _BASE_FILES or path.name.startswith("tokenizer")):
            (target / path.name).write_bytes(path.read_bytes())


_BASE_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja")
