"""The items of a training: their codes, what their rows are made of, and the model that reads them.

Separate from what surrounds the loop (`setup`), for both commands begin here: with new codes, or with those a trained folder holds.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from llmrec.bases import Base, load_base
from llmrec.collaborative import collaborative_vectors, vectors_of_others
from llmrec.config import Settings
from llmrec.content import Content, content_vectors, item_texts
from llmrec.encoders import sentence_vectors, token_embeddings
from llmrec.exits import reading_model
from llmrec.indexing import ItemIndex, Material, build_index
from llmrec.interactions import Catalog, Corpus
from llmrec.model import LanguageModel
from llmrec.publishing import FILES, verify
from llmrec.recommender import Layout, vocabulary_of
from llmrec.recommender.folder import FREE

log = logging.getLogger(__name__)


def base_of(name: str) -> Base:
    """What `bases.load_base` takes by this name, checked first against the hashes it was published with, where it was.

    Raises FileNotFoundError where there is none, exits.ModelError for one that cannot be used.
    """
    with reading_model():
        if (Path(name) / FILES).is_file():
            verify(Path(name), skip=FREE)
        return load_base(name)


def model_of(settings: Settings, corpus: Corpus, base: Base) -> tuple[LanguageModel, ItemIndex, Content | None]:
    """The model of a base and the catalogue, its index, and the text pipeline to keep beside it. A base that `train.pretrain` wrote keeps its codes, rows and projection.

    Raises ValueError for such a base of another catalogue.
    """
    made, size, projection = settings.model, base.lm.get_input_embeddings().weight.shape[0], None
    layout = Layout(Path(made.base))
    if layout.about.is_file():
        index = ItemIndex.load(layout.folder)
        if Catalog.load(layout.catalog).item_ids != corpus.catalog.item_ids:
            raise ValueError(f"{made.base} was trained on another catalogue than {settings.data.corpus}; pretrain on this corpus first")
        content = Content.load(layout.content) if layout.content.is_dir() else None
        size -= index.new_tokens
        projection = load_file(layout.rows).get("projection")
    else:
        index, content = new_index(settings, corpus, base, size)
    model = LanguageModel(base.lm, vocabulary_size=size, new_tokens=index.new_tokens, content=index.vectors, embedding_dropout=made.embedding_dropout)
    if projection is not None and model.projection is not None:
        model.adopt_projection(projection)
    if not settings.content.learned:
        model.project_only()
    return model, index, content


def item_vectors(settings: Settings, corpus: Corpus, base: Base) -> tuple[np.ndarray, Content | None]:
    """The content vectors of the catalogue, (items, width) float32, of width 0 where its items have no text; and the text pipeline to keep, where TF-IDF made them."""
    source = settings.content.source
    if source == "tfidf":
        content = content_vectors(corpus, size=settings.content.size, seed=settings.seed)
        return content.vectors, content if content.width else None
    texts = [text.replace("\n", "; ") for text in item_texts(corpus)]
    return token_embeddings(base, texts) if source == "base" else sentence_vectors(source, texts), None


def new_index(settings: Settings, corpus: Corpus, base: Base, size: int) -> tuple[ItemIndex, Content | None]:
    """The index of a catalogue for a base with `size` rows of its own, and the text pipeline to keep beside it."""
    vectors, content = item_vectors(settings, corpus, base)
    known = vectors if vectors.shape[1] else np.zeros((len(corpus.catalog), 1), dtype=np.float32)
    index = build_index(settings.index, Material(corpus.catalog.titles, known, vocabulary_of(base, size=size), settings.seed))
    keep = settings.content.rows and vectors.shape[1] > 0
    index = index if keep else replace(index, vectors=None)
    if settings.content.collaborative:
        if not settings.content.rows:
            raise ValueError(f"content.collaborative={settings.content.collaborative} stands behind the content, which content.rows=false leaves out: set content.rows=true, or content.collaborative=0")
        if settings.index != "atomic":
            raise ValueError(f"content.collaborative={settings.content.collaborative} needs a row for each item: set index=atomic, or content.collaborative=0 with index={settings.index}")
        found = collaborative_vectors(corpus, size=settings.content.collaborative, seed=settings.seed)
        company = np.empty_like(found)
        company[index.codes[:, 0]] = found
        index = replace(index, vectors=company if index.vectors is None else np.hstack([index.vectors, company]))
    return index, content


def content_of_others(settings: Settings, corpus: Corpus, index: ItemIndex) -> np.ndarray | None:
    """(FOLDS, new_tokens, width): the index's vectors, with what events say of an item as the users of all other folds say it; None where the vectors hold no such thing, or hold that of another corpus."""
    if not settings.content.collaborative or index.vectors is None:
        return None
    known = collaborative_vectors(corpus, size=settings.content.collaborative, seed=settings.seed)
    codes, width = index.codes[:, 0], known.shape[1]
    carried = index.vectors[codes, -width:] if index.scheme == "atomic" else None
    if carried is None or carried.shape != known.shape or np.abs(carried - known).max(initial=0.0) > 1e-2:
        log.info("item vectors are read as they are: they hold no company of this corpus, in %d dimensions, that could be made without a fold of users", settings.content.collaborative)
        return None
    others = vectors_of_others(corpus, size=settings.content.collaborative, seed=settings.seed)
    vectors = np.repeat(index.vectors[None], len(others), axis=0)
    vectors[:, codes, -width:] = others
    return vectors
