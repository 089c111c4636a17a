"""Content vectors: from text alone, from train alone, the same after a save."""

import shutil

import numpy as np
import polars as pl
import pytest

from llmrec.content import Content, content_vectors, item_text, item_texts, text_terms
from llmrec.interactions import REQUIRED, Catalog, Corpus, Interactions


def catalog_of(items: list[tuple[str, str, list[str]]]) -> Catalog:
    rows = {"item_id": [i for i, _, _ in items], "title": [t for _, t, _ in items], "genres": [g for _, _, g in items]}
    return Catalog(pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String, "genres": pl.List(pl.String)}))


def corpus_of(catalog: Catalog, reviews: list[tuple[str, str, str, str]] = []) -> Corpus:
    """reviews: (item_id, part, summary, review)."""
    frame = pl.DataFrame(
        {
            "user_id": ["u"] * len(reviews), "item_id": [r[0] for r in reviews], "position": list(range(len(reviews))), "event": ["rating"] * len(reviews),
            "part": [r[1] for r in reviews], "summary": [r[2] for r in reviews], "review": [r[3] for r in reviews],
        },
        schema={**REQUIRED, "summary": pl.String, "review": pl.String},
    )
    return Corpus("toy", Interactions(frame), catalog)


FILMS = catalog_of(
    [
        ("a", "Star Wars (1977)", ["Action", "Sci-Fi"]), ("b", "Star Trek (1979)", ["Action", "Sci-Fi"]), ("c", "Love Story (1970)", ["Drama", "Romance"]),
        ("d", "Another Love (1988)", ["Drama", "Romance"]), ("e", "", []), ("f", "战争与和平", ["战争"]), ("g", "战争之王", ["战争"]),
    ]
)


def test_item_text_is_title_then_a_line_for_each_value():
    assert item_text("Heat\n(1995)", {"genres": ["Crime", " "], "brand": ["A  B"]}) == "Heat (1995)\ngenres: Crime\nbrand: A B"
    assert item_text("", {"genres": ["Crime"]}) == "\ngenres: Crime"
    assert item_text(" ", {"genres": []}) == ""


def test_terms_are_grams_of_each_line_and_whole_values():
    assert list(text_terms("Star Wars\ngenres: Sci-Fi")) == ["star", "wars", "star wars", "genres: sci-fi", "sci", "fi", "sci fi"]


def test_chinese_counts_by_characters_beside_words():
    assert list(text_terms("战争 film")) == ["战", "争", "战争", "film"]


def test_vectors_have_length_one_and_an_item_without_text_is_zero():
    content = content_vectors(corpus_of(FILMS))
    assert content.vectors.dtype == np.float32 and content.vectors.shape == (7, content.width)
    assert np.linalg.norm(content.vectors, axis=1) == pytest.approx([1, 1, 1, 1, 0, 1, 1], abs=1e-6)


def test_alike_items_are_closer():
    vectors = content_vectors(corpus_of(FILMS)).vectors
    alike = vectors @ vectors.T
    assert alike[0].argsort()[-2:].tolist() == [1, 0] and alike[2, 3] > alike[2, 0] and alike[5, 6] > alike[5, 0]


def test_full_width_keeps_the_cosines_of_tf_idf():
    # Two items, no shared term but "red": tf is 1 everywhere, idf("red") = ln(4 / 4) + 1 = 1, of the other words and pairs ln(4 / 2) + 1 or ln(4 / 3) + 1.
    content = content_vectors(corpus_of(catalog_of([("a", "red car", []), ("b", "red dog", []), ("c", "red", [])])))
    rare = np.log(4 / 2) + 1  # "car" and "red car" stand in one of three items
    assert content.vectors[0] @ content.vectors[2] == pytest.approx(1 / np.sqrt(1 + 2 * rare**2), abs=2e-3)  # components are float16


def test_width_is_the_rank_where_the_catalogue_offers_less_than_size():
    assert content_vectors(corpus_of(catalog_of([("a", "red car", []), ("b", "red dog", []), ("c", "red car", [])]))).width == 2
    assert content_vectors(corpus_of(FILMS), size=3).width == 3


def test_catalogue_without_text_has_width_zero():
    content = content_vectors(corpus_of(catalog_of([("a", "", []), ("b", "", [])])))
    assert content.vectors.shape == (2, 0) and content.encode(["words"]).shape == (1, 0)


def test_new_item_gets_its_vector_from_text_alone():
    content = content_vectors(corpus_of(FILMS))
    new = content.encode([item_text("Star Wars (1977)", {"genres": ["Action", "Sci-Fi"]}), "unheard-of", item_text("Sky Battle", {"genres": ["Action", "Sci-Fi"]})])
    assert np.array_equal(new[0], content.vectors[0])
    assert not new[1].any()
    assert (content.vectors @ new[2]).argmax() in (0, 1)


def test_terms_of_a_single_item_are_dropped_from_a_hundred_items_on():
    items = [(f"i{n}", f"shared only{n}", []) for n in range(100)]
    assert content_vectors(corpus_of(catalog_of(items))).terms == ("shared",)
    assert "only1" in content_vectors(corpus_of(catalog_of(items[:99]))).terms


def test_items_without_text_take_train_reviews_and_no_others():
    bare = catalog_of([("a", "", []), ("b", "", []), ("c", "Named", [])])
    train = [("a", "train", "Great", "sturdy strings"), ("a", "train", "Fine", "warm tone"), ("c", "train", "Bad", "not used")]
    held = [("a", "test", "Secret", "hidden"), ("b", "valid", "Secret", "hidden")]
    corpus = corpus_of(bare, train + held)
    assert item_texts(corpus) == ["Great sturdy strings Fine warm tone", "", "Named"]
    changed = corpus_of(bare, train + [("a", "test", "Other", "words"), ("b", "valid", "Quite", "different")])
    first, second = content_vectors(corpus), content_vectors(changed)
    assert first.terms == second.terms and np.array_equal(first.vectors, second.vectors)


def test_item_order_does_not_matter_beyond_rounding():
    forward, backward = content_vectors(corpus_of(FILMS)), content_vectors(corpus_of(Catalog(FILMS.frame.reverse())))
    assert forward.terms == backward.terms
    assert forward.vectors @ forward.vectors.T == pytest.approx((backward.vectors @ backward.vectors.T)[::-1, ::-1], abs=5e-3)


def test_components_of_a_sample_place_all_items(monkeypatch):
    rng = np.random.default_rng(0)
    kinds = [("Action", "war gun chase"), ("Romance", "love heart kiss")]
    items = [(f"i{n}", f"{rng.choice(kinds[n % 2][1].split())} {rng.choice(kinds[n % 2][1].split())}", [kinds[n % 2][0]]) for n in range(400)]
    monkeypatch.setattr("llmrec.content.MAX_FITTED", 100)
    vectors = content_vectors(corpus_of(catalog_of(items)), size=2).vectors
    alike = vectors @ vectors.T
    assert alike[::2, ::2].min() > 0.99 and alike[::2, 1::2].max() < 0.01


def test_saved_content_encodes_the_same(tmp_path):
    content = content_vectors(corpus_of(FILMS))
    content.save(tmp_path)
    loaded = Content.load(tmp_path)
    assert loaded.terms == content.terms and np.array_equal(loaded.vectors, content.vectors)
    assert np.array_equal(loaded.encode(item_texts(corpus_of(FILMS))), content.vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.json", "content.safetensors"]


def test_load_names_what_is_missing_or_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="content.json"):
        Content.load(tmp_path)
    content_vectors(corpus_of(FILMS)).save(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    content_vectors(corpus_of(catalog_of([("a", "red", [])]))).save(other)
    shutil.copy(other / "content.json", tmp_path)
    with pytest.raises(ValueError, match="not of one fit"):
        Content.load(tmp_path)
    (tmp_path / "content.json").write_text('{"format": 99, "terms": []}')
    with pytest.raises(ValueError, match="format 99"):
        Content.load(tmp_path)
