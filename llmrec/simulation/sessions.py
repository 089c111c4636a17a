"""What happens in a simulated world: sessions open, items are shown slot by slot, users click, buy and rate.

Separate from the world's files, so that the life of users is arrays alone, one row a shown item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from llmrec.simulation.chance import OUTCOME, QUERY, SESSION, SLOT, Wheel
from llmrec.simulation.moments import CUES, cues_at, occasion_of, place_and_device
from llmrec.simulation.people import MAX_SLOTS, People
from llmrec.simulation.shelf import SUCCESSORS_NEAR, Shelf
from llmrec.simulation.texts import write_query
from llmrec.simulation.things import SCENARIOS

EVENTS = ("impression", "click", "purchase", "rating")
CANDIDATES, SPARE = 8, 4  # drawn for a slot by its policy, and at random in case all of those were seen
POPULAR, TASTE, RELATED, RANDOM = range(4)
POLICY = np.array([0.24, 0.48, 0.16, 0.12])  # how often a slot is filled by each
PURCHASE_BASE, SLOT_PENALTY, FOCUS_BONUS = -0.75, 0.13, 1.8
RATING_SLOPE, RATING_THRESHOLDS = 1.5, np.array([-1.4, -0.3, 1.1, 3.0])
PROMOTION_CLICK, PROMOTION_PURCHASE = np.array([0.0, 0.45, 0.25]), np.array([0.0, 0.6, 0.1])


def live(people: People, shelf: Shelf) -> tuple[pl.DataFrame, list[str]]:
    """Everything that is shown to these users, one row a shown item, in the order it happened to all of them side by side; and the queries, by number."""
    life = Life.start(len(people), len(shelf))
    pieces: list[dict[str, np.ndarray]] = []
    for number in range(int(np.isfinite(people.begins).sum(axis=1).max())):
        rows = np.flatnonzero(np.isfinite(people.begins[:, number]))
        session = _open(people, shelf, life, rows, number)
        for slot in range(MAX_SLOTS):
            here = np.flatnonzero(slot < session.slots)
            items = _choose(people, shelf, life, session, here, slot)
            left = items >= 0  # a catalogue seen through shows nothing more
            pieces.append(_show(people, shelf, life, session, here[left], items[left], slot))
    return pl.DataFrame({name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}), life.queries


@dataclass(frozen=True)
class Life:
    """What changes while n users live, as arrays written in place.

    seen: (n, I) bool.   last, before: (n,) the last two clicked items, -1 for none.   clock: (n,) seconds after EPOCH.   queries: all that were typed.
    """

    seen: np.ndarray
    last: np.ndarray
    before: np.ndarray
    clock: np.ndarray
    queries: list[str]

    @classmethod
    def start(cls, users: int, items: int) -> Life:
        return cls(np.zeros((users, items), dtype=bool), np.full(users, -1), np.full(users, -1), np.zeros(users, dtype=np.int64), [])


@dataclass(frozen=True)
class Session:
    """Session number `number` of m users, who are the `rows` (m,) of their chunk; every array has m rows.

    tastes: (m, DIMENSIONS).   cues: (m, CUES).   focus, focus_slot: the item a search is for (-1 without one) and the slot that shows it.   query: its number.
    place, device, weekday, scenario: index into their constant.   slots: how many items are shown.   day: since EPOCH, with its fraction.
    """

    number: int
    rows: np.ndarray
    day: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    place: np.ndarray
    device: np.ndarray
    scenario: np.ndarray
    slots: np.ndarray
    cues: np.ndarray
    tastes: np.ndarray
    focus: np.ndarray
    focus_slot: np.ndarray
    query: np.ndarray


def _open(people: People, shelf: Shelf, life: Life, rows: np.ndarray, number: int) -> Session:
    u = people.dice.throw(SESSION, number, lanes=32, rows=rows)
    begins = people.begins[rows, number].astype(np.int64)
    life.clock[rows] = begins
    day, hour, weekday = begins / 86400.0, begins // 3600 % 24, begins // 86400 % 7
    place, device = place_and_device(people.habit[rows], hour, weekday, u[:, 0], u[:, 1])
    cues = cues_at(hour, weekday, device, place)
    scenario = _scenario(people.fondness[rows], shelf, life.last[rows], cues, u[:, 2], u[:, 3])
    tastes = people.tastes(rows, day, scenario)
    focus = np.where(u[:, 4] < people.seeks[rows], _aim(shelf, life, rows, scenario, day, tastes, u[:, 8:16]), -1)
    query = np.full(len(rows), -1)
    bits = people.dice.bits(QUERY, number, lanes=1, rows=rows)[:, 0]
    for m in np.flatnonzero(focus >= 0):
        query[m] = len(life.queries)
        life.queries.append(write_query(Wheel(int(bits[m])), shelf, int(focus[m]), int(life.last[rows[m]]), occasion_of(cues[m])))
    slots, focus_slot = 4 + (5 * u[:, 5]).astype(int), (3 * u[:, 6]).astype(int)
    return Session(number, rows, day, hour, weekday, place, device, scenario, slots, cues, tastes, focus, focus_slot, query)


def _scenario(fondness: np.ndarray, shelf: Shelf, last: np.ndarray, cues: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The scenario of a session: with chance 0.45 that of the last click, else by fondness (books on the way, films on the television, kitchen at the weekend)."""
    commute, weekend, tv = (cues[:, CUES.index(name)] for name in ("commute", "weekend", "tv"))
    weight = fondness * np.stack([1 + 1.5 * tv, 1 + 0.8 * commute - 0.7 * tv, 1 + 0.8 * weekend - 0.5 * tv], axis=1)
    drawn = np.minimum((v[:, None] * weight.sum(axis=1, keepdims=True) > np.cumsum(weight, axis=1)).sum(axis=1), len(SCENARIOS) - 1)
    return np.where((u < 0.45) & (last >= 0), np.searchsorted(shelf.starts, last, side="right") - 1, drawn)


def _aim(shelf: Shelf, life: Life, rows: np.ndarray, scenario: np.ndarray, day: np.ndarray, tastes: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m,) the item a search is for: the most liked of a handful, half of them related to the last click; -1 where all are seen."""
    half = u.shape[1] // 2
    related = shelf.successors[life.last[rows, None], (u[:, :half] * SUCCESSORS_NEAR).astype(int)]
    candidates = np.concatenate([related, _popular(shelf, scenario, u[:, half:])], axis=1)
    allowed = _allowed(shelf, life, rows, scenario, day, candidates)
    best = np.where(allowed, shelf.taste(tastes, candidates), -np.inf).argmax(axis=1)
    chosen = candidates[np.arange(len(rows)), best]
    return np.where(allowed.any(axis=1), chosen, -1)


def _popular(shelf: Shelf, scenario: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m, k) items of the scenario, drawn by popularity."""
    drawn = np.searchsorted(shelf.popularity_cdf, scenario[:, None] + u)
    return np.minimum(drawn, shelf.starts[scenario + 1][:, None] - 1)


def _allowed(shelf: Shelf, life: Life, rows: np.ndarray, scenario: np.ndarray, day: np.ndarray, items: np.ndarray) -> np.ndarray:
    """(m, k): the item is of the session's scenario, has appeared, and was never shown to the user."""
    here = (items >= shelf.starts[scenario][:, None]) & (items < shelf.starts[scenario + 1][:, None])
    return here & ~life.seen[rows[:, None], items] & (shelf.release[items] <= day[:, None])


def _choose(people: People, shelf: Shelf, life: Life, session: Session, here: np.ndarray, slot: int) -> np.ndarray:
    """The item shown in this slot of the sessions `here`, -1 where none is left: the first allowed of some drawn by the policy, or the most liked of them.

    A search shows its focus in one of the first three slots, and mostly what is related to it in the others.
    """
    rows, scenario, day, focus = session.rows[here], session.scenario[here], session.day[here], session.focus[here]
    u = people.dice.throw(SLOT, session.number * MAX_SLOTS + slot, lanes=CANDIDATES + SPARE + 2, rows=rows)
    draws, spare, pick, fallback = u[:, :CANDIDATES], u[:, CANDIDATES:-2], u[:, -2], u[:, -1]
    searching = focus >= 0
    anchor = np.where(searching, focus, life.last[rows])
    policy = np.searchsorted(np.cumsum(POLICY)[:-1], pick)
    policy = np.where(searching & (pick < 0.85), RELATED, np.where((policy == RELATED) & (anchor < 0), POPULAR, policy))
    candidates = np.concatenate([_anywhere(shelf, scenario, draws), _anywhere(shelf, scenario, spare)], axis=1)
    popular, related, liked = (np.flatnonzero(policy == name) for name in (POPULAR, RELATED, TASTE))
    candidates[popular, :CANDIDATES] = _popular(shelf, scenario[popular], draws[popular])
    candidates[related, :CANDIDATES] = shelf.successors[anchor[related, None], (draws[related] ** 1.5 * shelf.successors.shape[1]).astype(int)]
    sought = np.flatnonzero(searching & (slot == session.focus_slot[here]))
    candidates[sought, 0] = focus[sought]
    allowed = _allowed(shelf, life, rows, scenario, day, candidates)
    score = np.tile(-1000.0 - np.arange(CANDIDATES + SPARE), (len(rows), 1))
    score[liked, :CANDIDATES] = shelf.taste(session.tastes[here[liked]], candidates[liked, :CANDIDATES])
    score[sought, 0] = 0.0
    items = candidates[np.arange(len(rows)), np.where(allowed, score, -np.inf).argmax(axis=1)]
    for m in np.flatnonzero(~allowed.any(axis=1)):  # seldom: everything drawn was seen, so any unseen item of the scenario
        block = np.arange(shelf.starts[scenario[m]], shelf.starts[scenario[m] + 1])
        left = block[_allowed(shelf, life, rows[[m]], scenario[[m]], day[[m]], block[None])[0]]
        items[m] = left[int(fallback[m] * len(left))] if len(left) else -1
    return items


def _anywhere(shelf: Shelf, scenario: np.ndarray, u: np.ndarray) -> np.ndarray:
    """(m, k) items of the scenario, each as likely."""
    first, stop = shelf.starts[scenario][:, None], shelf.starts[scenario + 1][:, None]
    return first + (u * (stop - first)).astype(int)


def _show(people: People, shelf: Shelf, life: Life, session: Session, here: np.ndarray, items: np.ndarray, slot: int) -> dict[str, np.ndarray]:
    """What the users of the sessions `here` do with the items of this slot: the columns of one row each; `life` goes on."""
    rows, one, focus = session.rows[here], items[:, None], session.focus[here]
    u = people.dice.throw(OUTCOME, session.number * MAX_SLOTS + slot, lanes=9, rows=rows)
    promotion = shelf.promotions[items, (session.day[here] // 7).astype(int)]
    sought = np.where(focus < 0, 0.0, np.where(items == focus, FOCUS_BONUS, 0.5 * shelf.relation(focus, one)[:, 0]))
    logit = (
        shelf.appeal(session.tastes[here], session.cues[here], one)[:, 0] + shelf.pull(life.last[rows], life.before[rows], one)[:, 0]
        + PROMOTION_CLICK[promotion] + sought - SLOT_PENALTY * slot
    )
    taste = shelf.taste(session.tastes[here], one)[:, 0]
    worth = people.appetite[rows] - people.thrift[rows] * shelf.price[items] + PROMOTION_PURCHASE[promotion]
    click_probability = _sigmoid(logit)
    purchase_probability = _sigmoid(PURCHASE_BASE + 0.7 * taste + 0.4 * shelf.quality[items] + worth)
    ratings = _ratings(0.9 * taste + 0.5 * shelf.quality[items] + people.leniency[rows])
    clicked = u[:, 0] < click_probability
    bought = clicked & (u[:, 1] < purchase_probability)
    rated = bought & (u[:, 2] < 0.7)
    seconds = np.floor(u[:, 5:9] * [15, 15, 80, 120]).astype(np.int64) + [2, 3, 15, 20]  # to the impression, from it to the click, and so on
    times = life.clock[rows, None] + np.cumsum(seconds, axis=1)
    stages = clicked.astype(int) + bought + rated
    life.clock[rows] = times[np.arange(len(rows)), stages]
    life.seen[rows, items] = True
    life.before[rows[clicked]] = life.last[rows[clicked]]
    life.last[rows[clicked]] = items[clicked]
    columns = {
        "user": rows, "session": np.full(len(rows), session.number), "slot": np.full(len(rows), slot + 1), "item": items, "stages": stages,
        "rating": 1 + (u[:, 3, None] > np.cumsum(ratings, axis=1)[:, :4]).sum(axis=1), "reviewed": rated & (u[:, 4] < people.talks[rows]),
        "promotion": promotion, "query": session.query[here], "click_probability": click_probability, "purchase_probability": purchase_probability,
    }
    for name in ("day", "hour", "weekday", "device", "place", "scenario"):
        columns[name] = getattr(session, name)[here]
    columns |= {f"time_{stage}": times[:, stage] for stage in range(len(EVENTS))}
    return columns | {f"rating_{k + 1}": ratings[:, k] for k in range(5)}


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def _ratings(utility: np.ndarray) -> np.ndarray:
    """(n, 5): the probabilities of one to five stars for these utilities (n,)."""
    above = _sigmoid(RATING_SLOPE * utility[:, None] - RATING_THRESHOLDS)
    return -np.diff(above, axis=1, prepend=1.0, append=0.0)
