"""What users of a simulated world write: queries before they look, reviews after they rated.

Separate from the sessions, because texts are made one at a time while everything else is made for many users at once.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from llmrec.simulation.chance import GOLDEN, REVIEW, Wheel, mix
from llmrec.simulation.lexicon import article, capital
from llmrec.simulation.moments import cues_at, occasion_of
from llmrec.simulation.people import MAX_SLOTS, People
from llmrec.simulation.sentences import (
    BUTS, KITCHEN_BLAME, KITCHEN_KEYWORDS, KITCHEN_PRAISE, KITCHEN_REQUESTS, LIKE_REQUESTS, MOMENTS, OPENERS, REASONS, STORY_BLAME, STORY_KEYWORDS, STORY_PRAISE,
    STORY_REQUESTS, SUMMARIES,
)
from llmrec.simulation.shelf import FACT_WEIGHTS, FACTS, Shelf
from llmrec.simulation.things import Thing


def write_query(wheel: Wheel, shelf: Shelf, focus: int, last: int, occasion: str) -> str:
    """What a user types who wants the item `focus` and last clicked `last` (-1: nothing yet): one to three words, or a sentence."""
    thing = shelf.things[focus]
    kitchen = thing.scenario == 2
    topics = [topic.split(" ", 1)[1] if topic.startswith(("a ", "an ", "the ")) else topic for topic in thing.subjects]
    fields = {
        "genre": thing.genres[0], "mood": wheel.one(thing.moods), "creator": thing.creator, "topic": wheel.one(topics),
        "use": thing.subjects[1], "subject": wheel.one(thing.subjects), "noun": thing.noun, "nouns": "books" if thing.noun == "book" else "films",
        "verb": "read" if thing.noun == "book" else "watch",
        "length": thing.length, "pace": thing.pace, "material": thing.subjects[0], "occasion": occasion,
        "like": shelf.things[last].title if last >= 0 and last < shelf.starts[2] else "",
    }
    if wheel.turn(2):
        short = [form.format(**fields) for form in (KITCHEN_KEYWORDS if kitchen else STORY_KEYWORDS)]
        return wheel.one([words for words in short if len(words.split()) <= 3])
    related = last >= 0 and not kitchen and focus in shelf.successors[last] and fields["like"]
    forms = LIKE_REQUESTS if related else KITCHEN_REQUESTS if kitchen else STORY_REQUESTS
    fields["a_mood"], fields["a_length"], fields["a_genre"], fields["a_material"] = (article(fields[name]) for name in ("mood", "length", "genre", "material"))
    return wheel.one(forms).format(**fields)


def write_reviews(shown: pl.DataFrame, people: People, shelf: Shelf) -> tuple[list[str | None], list[str | None]]:
    """A review and a summary for each row that has one (else None), about the facts of the item that its user's taste weighs most."""
    reviews: list[str | None] = [None] * len(shown)
    summaries: list[str | None] = [None] * len(shown)
    places = np.flatnonzero(shown["reviewed"].to_numpy())
    columns = ("user", "session", "slot", "item", "rating", "day", "hour", "weekday", "device", "place", "scenario")
    table = {name: shown[name].to_numpy()[places] for name in columns}
    tastes = people.tastes(table["user"], table["day"], table["scenario"])
    weights = FACT_WEIGHTS * (shelf.vectors[shelf.facts[table["item"]]] * tastes[:, None, :]).sum(axis=-1)
    cues = cues_at(table["hour"], table["weekday"], table["device"], table["place"])
    counter = table["session"] * MAX_SLOTS + table["slot"]
    # The bits of one throw for each row: Dice throws one counter at a time, so the key of the row is mixed with its counter here.
    bits = mix(people.dice.bits(REVIEW, 0, lanes=1, rows=table["user"])[:, 0] + GOLDEN * counter.astype(np.uint64))
    for i, place in enumerate(places.tolist()):
        facts = shelf.facts[table["item"][i]]
        order = [k for k in np.argsort(-weights[i], kind="stable").tolist() if facts[k] >= 0]
        thing = shelf.things[table["item"][i]]
        told = [(_kind(k, thing), shelf.words[facts[k]]) for k in order]
        reviews[place], summaries[place] = _review(Wheel(int(bits[i])), thing, int(table["rating"][i]), told, occasion_of(cues[i]))
    return reviews, summaries


def _kind(place: int, thing: Thing) -> str:
    """The kind of fact in this place of FACTS: the two subjects of a kitchen thing are its material and its use."""
    return ("material", "use")[place - 5] if thing.scenario == 2 and FACTS[place] == "subject" else FACTS[place]


def _review(wheel: Wheel, thing: Thing, rating: int, told: list[tuple[str, str]], occasion: str) -> tuple[str, str]:
    """One or two sentences and a summary; `told` are the item's facts (kind, word), what the user likes best of it first."""
    praise, blame = (KITCHEN_PRAISE, KITCHEN_BLAME) if thing.scenario == 2 else (STORY_PRAISE, STORY_BLAME)
    # The strongest fact three times in five, else the second: the same item is not always praised for the same thing.
    best, worst = told[wheel.turn(5) // 3], told[-1 - wheel.turn(5) // 3]
    mixed = rating == 3
    liked = rating > 3

    def say(forms: dict[str, tuple[str, ...]], fact: tuple[str, str]) -> str:
        return wheel.one(forms[fact[0]]).format(x=fact[1], **_nouns(thing))

    clause = f"{say(praise, best)}{wheel.one(BUTS)}{say(blame, worst)}" if mixed else say(praise, best) if liked else say(blame, worst)
    sentences = [f"{wheel.one(OPENERS[rating])}{wheel.one((': ', '; '))}{clause}" if wheel.turn(5) < 3 else clause]
    mood = "mixed" if mixed else "liked" if liked else "disliked"
    closing = wheel.turn(6)
    if closing < 3:
        weighed = [fact for fact in told if fact not in (best, worst)]
        reason = weighed[0] if liked else weighed[-1]
        sentences.append(wheel.one(REASONS[mood]).format(y=_liking(reason, thing)))
    elif closing == 3:
        sentences.append(wheel.one(MOMENTS[mood]).format(m=occasion))
    fields = {**_nouns(thing), "mood": wheel.one(thing.moods)}
    summary = wheel.one(SUMMARIES[rating]).format(**fields)
    return " ".join(f"{capital(sentence)}." for sentence in sentences), capital(summary)


def _nouns(thing: Thing) -> dict[str, str]:
    """The words a form may use for the item."""
    genre = thing.genres[0]
    if thing.scenario == 2:
        return {"noun": thing.noun, "a_noun": article(thing.noun), "g": f"{genre} tool", "a_g": article(f"{genre} tool"), "mass": f"{genre} gear"}
    one = f"{genre} {thing.noun}"
    part, extent = ("scene", "running time") if thing.noun == "film" else ("page", "page count")
    return {"noun": thing.noun, "a_noun": f"a {thing.noun}", "g": one, "a_g": article(one), "mass": f"{genre} storytelling", "part": part, "extent": extent}


def _liking(fact: tuple[str, str], thing: Thing) -> str:
    """A fact as the thing somebody likes: ("mood", "cosy") of a book is "cosy books"."""
    kind, word = fact
    things = f"{thing.noun}s" if thing.scenario < 2 else "gear" if kind == "genre" else "kitchen things"
    if kind in ("genre", "mood", "length"):
        return f"{word} {things}"
    return {"pace": "a {} pace", "creator": "the work of {}", "subject": "stories about {}"}.get(kind, "{}").format(word)
