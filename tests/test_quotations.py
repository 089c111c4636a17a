"""What one or two people wrote is found in a text, whatever it stands between; what many wrote, and what is short, is nobody's."""

import random
import string
import unicodedata
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from llmrec.interactions import Catalog, Corpus, Interactions
from llmrec.quotations import FILE, PEOPLE, RUN, Quotations, runs

SECRET = "my locker is number 48-15-16-23-42 behind the stage"


def corpus_of(*texts, part="train", summary=None):
    rows = [(f"u{n:04}", f"i{n % 3}", 0, "rating", part, text) for n, text in enumerate(texts)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "position", "event", "part", "review"], orient="row")
    if summary is not None:
        frame = frame.with_columns(summary=pl.lit(summary))
    return Corpus("said", Interactions(frame.sort("user_id"), ordering="order"), Catalog(pl.DataFrame({"item_id": ["i0", "i1", "i2"], "title": ["A", "B", "C"]})))


def test_a_run_of_thirty_characters_is_found_wherever_it_stands():
    said = Quotations.of(corpus_of("I say it once: " + SECRET + ".", "Something else, and longer than that.", None, ""))
    for start in range(len(SECRET) - 30 + 1):
        run = SECRET[start : start + 30]
        if run != run.strip():
            continue  # a text ends with no space
        for text in (f"It sounds well and {run}", f"It says {run} or so it seems", f"Loud, {run.upper()}, or not", "a" + run.replace(" ", "  \n") + "b"):
            assert said.holds(text), text
        assert not said.holds(f"~{run[:-1]}~"), run
        assert not said.holds(run, own="As I said: " + SECRET)
    assert said.holds(SECRET[:RUN]) and not said.holds("") and not Quotations.of(corpus_of("short", "texts")).holds(SECRET)


def test_what_many_have_written_is_nobodys():
    by = lambda people, **more: Quotations.of(corpus_of(*[f"{n} {SECRET}" for n in range(people)], **more))  # noqa: E731
    assert by(PEOPLE - 1).holds(SECRET) and not by(PEOPLE).holds(SECRET)
    one = corpus_of(*[SECRET] * PEOPLE)
    frame = one.interactions.frame.with_columns(user_id=pl.lit("u"), position=pl.int_range(pl.len()))
    assert Quotations.of(replace(one, interactions=replace(one.interactions, frame=frame))).holds(SECRET)  # however often somebody writes it
    assert not by(1, part="valid").holds(SECRET) and not by(1, part="test").holds(SECRET)
    assert Quotations.of(corpus_of("no", summary=SECRET)).holds(SECRET)


def test_a_title_is_nobodys_but_what_stands_around_it_is():
    title = "A Title That Many A Reader Would Call Too Long"
    said = Quotations.of(corpus_of(f"I like {title} a lot", f"My ex John Smith, cell 5550123, {title} got at 12 Elm Road, door 4711."))
    names = [title, "Many A Reader", ""]
    assert said.holds(f"Try {title} too") and not said.holds(f"Try {title} too", names=names) and not said.holds(f"I like {title} a lot", names=names)
    assert said.holds(f"n Smith, cell 5550123, {title} got at 12 Elm Road, door 471", names=names)
    assert said.holds(f"It is cell 5550123, {title} got at 12 Elm Road", names=names) and not said.holds(f"It is cell 5550123, {title} got at 12 Elm", names=names)


def test_what_a_reader_of_reviews_sees_is_what_counts():
    hidden = "Whoever asks, I say: \u0645\u06cc\u200c\u0634\u0648\u062f caf\u00e9 nine"
    for text in (hidden, hidden.replace("\u200c", ""), unicodedata.normalize("NFD", hidden), hidden.replace("I say", "<b>I</b> &amp;amp;say").replace("&amp;amp;", "")):
        assert Quotations.of(corpus_of(text)).holds(hidden) and Quotations.of(corpus_of(hidden)).holds(text), text
    assert not Quotations.of(corpus_of("It&#39;s loud &amp; clear all day and all night")).holds("It's loud & clear all day and all night", own="It&#39;s loud &amp; clear all day and all night long")
    text = "Whoever asks: it's mine alone."
    assert len(text) == RUN and Quotations.of(corpus_of("Whoever   asks: it&#39;s <b>mine</b> alone.")).holds(text)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_what_few_people_wrote(seed):
    """Against plain Python."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 7))) for _ in range(6)]  # few, so that much is said by many
    say = lambda count: " ".join(rng.choices(words, k=count))  # noqa: E731
    reviews = [say(rng.randint(3, 40)) for _ in range(60)]
    reviews += [rng.choice(reviews[:60]) for _ in range(20)]
    said = Quotations.of(corpus_of(*reviews))
    people = {}
    for user, review in enumerate(reviews):
        for place in range(len(review) - RUN + 1):
            people.setdefault(review[place : place + RUN], set()).add(user)
    found = 0
    for _ in range(3000):
        review, place = rng.choice(reviews), rng.randrange(40)
        text = " ".join(f"{say(2)} {review[place : place + rng.randint(10, 60)]} {say(2)}".split())
        shares = any(0 < len(people.get(text[place : place + RUN], ())) < PEOPLE for place in range(len(text) - RUN + 1))
        assert said.holds(text) == shares, text
        found += shares
    assert 100 < found < 2900


def test_a_folder_says_the_same(tmp_path):
    assert Quotations.load(tmp_path) is None
    said = Quotations.of(corpus_of(SECRET))
    said.save(tmp_path)
    assert np.array_equal(Quotations.load(tmp_path).known, said.known) and SECRET[:10].encode() not in (tmp_path / FILE).read_bytes()
    for arrays, metadata, told in (
        ({"known": said.known}, None, "has format None"), ({"known": said.known}, {"format": "2"}, "has format '2'"), ({"other": said.known}, {"format": "1"}, "no ascending numbers"),
        ({"known": said.known[::-1].copy()}, {"format": "1"}, "no ascending numbers"), ({"known": said.known.astype(np.int64)}, {"format": "1"}, "no ascending numbers"),
    ):
        save_file(arrays, tmp_path / FILE, metadata=metadata)
        with pytest.raises(ValueError, match=told):
            Quotations.load(tmp_path)


def test_the_numbers_do_not_depend_on_the_machine():
    assert sorted(runs("the quick brown fox jumps over the lazy dog").tolist())[:2] == [152783589033137054, 1714818438315681810]
    assert len(set(runs("x" * 100).tolist())) == 1 and len(runs("\ud800" * RUN)) == 1 and len(runs("x" * (RUN - 1))) == len(runs("")) == 0
