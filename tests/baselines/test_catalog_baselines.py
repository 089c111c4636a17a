"""The contract of every baseline that answers with items, on a checkerboard whose answer is known, and each model's scores by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import lapack
from threadpoolctl import threadpool_info, threadpool_limits

from llmrec.baselines import BASELINES
from llmrec.baselines.catalog_model import CatalogModel, next_item_questions
from llmrec.baselines.ease import EASE, MAX_ITEMS, ease_weights
from llmrec.baselines.markov import MarkovChain
from llmrec.baselines.neighbours import ALIKE, HybridKNN, ItemKNN, SequentialKNN, likenesses, nearest, similarities
from llmrec.baselines.popularity import MostPopular, Random
from llmrec.interactions import Event
from llmrec.predictions import HeldOut, Request

SIDE = 10
CATALOG_MODELS = [name for name, model in BASELINES.items() if issubclass(model, CatalogModel)]
KNOWING = ["item_knn", "sequential_knn", "hybrid_knn", "ease", "markov_chain"]


def checkerboard_stream(user: int) -> list[int]:
    """User u went round the items of u's colour, all but item u, starting right behind it: item u comes next."""
    return [(user + 2 * step) % SIDE for step in range(1, SIDE // 2)]


def ask(user: int, **fields) -> Request:
    return Request(id=str(user), query="title", history=tuple(Event(f"i{item}") for item in checkerboard_stream(user)), **{"k": 3, **fields})


@pytest.fixture(scope="module")
def checkerboard(build):
    items = [{"item_id": f"i{item}", "title": f"title {item}", "colour": ["white" if item % 2 else "black"]} for item in range(SIDE)]
    return build([{"user_id": f"u{user}", "item_id": f"i{item}"} for user in range(SIDE) for item in checkerboard_stream(user)], items)


@pytest.fixture(scope="module", params=CATALOG_MODELS)
def fitted(request, checkerboard):
    return BASELINES[request.param]().fit(checkerboard, seed=1)


def task_of(model) -> str:
    return model.tasks[0]


@pytest.mark.parametrize("name", KNOWING)
def test_checkerboard_answers_the_missing_item_of_the_own_colour(name, checkerboard):
    answers = BASELINES[name]().fit(checkerboard).predict([ask(user) for user in range(SIDE)])
    assert [answer.item_ids[0] for answer in answers] == [f"i{user}" for user in range(SIDE)]


def test_batch_equals_single(fitted):
    requests = [ask(user, task=task_of(fitted)) for user in range(SIDE)]
    assert fitted.predict(requests) == [fitted.predict([request])[0] for request in requests]


def test_same_seed_same_answers(fitted, checkerboard):
    requests = [ask(user, task=task_of(fitted)) for user in range(SIDE)]
    assert type(fitted)().fit(checkerboard, seed=1).predict(requests) == fitted.predict(requests)


def test_answers_are_k_distinct_catalogue_items_best_first(fitted, checkerboard):
    for answer in fitted.predict([ask(user, task=task_of(fitted), k=5) for user in range(SIDE)]):
        assert len(set(answer.item_ids)) == 5 and set(answer.item_ids) <= set(checkerboard.corpus.catalog.item_ids)
        assert all(map(math.isfinite, answer.scores)) and list(answer.scores) == sorted(answer.scores, reverse=True)
        assert not answer.truncated and answer.error is None


def test_seen_items_are_left_out_only_when_asked(fitted):
    seen = {f"i{item}" for item in checkerboard_stream(0)}
    [without] = fitted.predict([ask(0, task=task_of(fitted), k=SIDE)])
    [with_seen] = fitted.predict([ask(0, task=task_of(fitted), k=SIDE, exclude_seen=False)])
    assert not seen & set(without.item_ids) and without.truncated
    assert len(with_seen.item_ids) == SIDE and not with_seen.truncated


def test_constraints_choose_items_and_change_no_score(fitted):
    everything = ask(0, task=task_of(fitted), k=SIDE, exclude_seen=False)
    [free] = fitted.predict([everything])
    scores = dict(zip(free.item_ids, free.scores, strict=True))
    for fields, allowed in (
        ({"exclude": ("i3", "nowhere")}, set(scores) - {"i3"}),
        ({"include": ("i3", "i4", "nowhere")}, {"i3", "i4"}),
        ({"candidates": ("i5", "i5", "i6")}, {"i5", "i6"}),
        ({"include": ("i3", "i4"), "exclude": ("i4",)}, {"i3"}),
        ({"where": {"colour": "white"}}, {f"i{item}" for item in range(1, SIDE, 2)}),
        ({"where": {"colour": ["white", "black"]}}, set(scores)),
    ):
        [answer] = fitted.predict([replace(everything, **fields)])
        assert set(answer.item_ids) == allowed
        assert dict(zip(answer.item_ids, answer.scores, strict=True)) == {item: scores[item] for item in allowed}


def test_k_beyond_what_is_left_gives_all_and_says_so(fitted):
    [answer] = fitted.predict([ask(0, task=task_of(fitted), k=50, include=("i1", "i3"))])
    assert set(answer.item_ids) == {"i1", "i3"} and answer.truncated
    [nothing] = fitted.predict([ask(0, task=task_of(fitted), include=())])
    assert nothing.item_ids == [] and nothing.truncated


def test_unknown_history_items_are_skipped_and_counted(fitted):
    request = replace(ask(0, task=task_of(fitted)), user_id="someone")
    stranger = replace(request, history=(*request.history, Event("unheard of")))
    [known], [answer] = fitted.predict([request]), fitted.predict([stranger])
    assert answer.skipped == 1 and answer.user_id == "someone"
    if fitted.name != "random":  # which draws anew for another request
        assert answer.item_ids == known.item_ids


def test_empty_history_and_empty_batch_are_answered(fitted):
    [answer] = fitted.predict([replace(ask(0, task=task_of(fitted)), history=())])
    assert len(answer.item_ids) == 3
    assert fitted.predict([]) == []


def test_a_task_it_does_not_know_is_an_error_beside_good_answers(fitted):
    bad, good = fitted.predict([ask(0, task="juggling"), ask(1, task=task_of(fitted))])
    assert "juggling" in bad.error and bad.id == "0" and good.error is None


def test_ranking_without_candidates_and_where_with_unknown_attribute_are_errors(checkerboard):
    model = MostPopular().fit(checkerboard)
    no_candidates, no_attribute = model.predict([ask(0, task="ranking"), ask(0, where={"size": "big"})])
    assert "candidates" in no_candidates.error and "size" in no_attribute.error and "colour" in no_attribute.error


def test_predict_before_fit_is_refused():
    with pytest.raises(ValueError, match="not fitted"):
        MostPopular().predict([])


def test_only_train_counts(build):
    timelines = build([
        {"user_id": "a", "item_id": "x"}, {"user_id": "a", "item_id": "y", "part": "valid"}, {"user_id": "a", "item_id": "z", "part": "test"},
        {"user_id": "b", "item_id": "x"}, {"user_id": "b", "item_id": "z", "part": "test"},
    ])
    [answer] = MostPopular().fit(timelines).predict([Request(k=3)])
    assert dict(zip(answer.item_ids, answer.scores, strict=True)) == {"x": 2, "y": 0, "z": 0}


def test_ties_go_to_the_more_popular_then_to_the_smaller_row(build):
    timelines = build([{"user_id": user, "item_id": item} for user, items in (("a", "cb"), ("b", "c"), ("c", "d")) for item in items], [{"item_id": "a", "title": ""}])

    class Same(CatalogModel):
        name = "same"

        def _learn(self, timelines):
            pass

        def score(self, requests, histories):
            return np.zeros((len(requests), len(self.catalog)))

    model = Same().fit(timelines)
    assert [model.predict([Request(k=k)])[0].item_ids for k in (1, 2, 3, 4)] == [["c"], ["c", "b"], ["c", "b", "d"], ["c", "b", "d", "a"]]


def test_mean_ndcg_counts_a_tied_target_at_its_mean_rank(build):
    model = MostPopular().fit(build([{"user_id": "a", "item_id": item} for item in "wxyz"]))
    # Four items, all as popular: without the seen w three are level, the target's mean rank is 2 of 1..3.
    question = HeldOut(Request(history=(Event("w"),)), "x")
    assert model.mean_ndcg([question]) == pytest.approx(1 / math.log2(3))


def test_valid_questions_see_what_stands_before(build):
    timelines = build([{"user_id": "a", "item_id": item, "part": part} for item, part in (("x", "train"), ("y", "valid"), ("z", "test"))])
    [question] = next_item_questions(timelines)
    assert [event.item_id for event in question.request.history] == ["x"] and question.target == "y"


def test_random_depends_on_seed_and_request_and_ranks_by_chance(checkerboard):
    requests = [Request(id=str(number), k=1) for number in range(2000)]
    first, other = Random().fit(checkerboard, seed=0).predict(requests), Random().fit(checkerboard, seed=1).predict(requests)
    assert first != other
    hits = np.mean([answer.item_ids[0] == "i0" for answer in first])
    assert abs(hits - 1 / SIDE) < 4 * math.sqrt(0.1 * 0.9 / 2000)


def test_item_similarity_by_hand():
    events = sp.csr_array(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=float))
    # Users of the items: 4, 2, 1; together: (0, 1) 2, (0, 2) 1, (1, 2) 1.
    tables = similarities(events, num_neighbours=3, shrinkages=(0.0, 2.0))
    plain = [[0, 2 / math.sqrt(8), 1 / 2], [2 / math.sqrt(8), 0, 1 / math.sqrt(2)], [1 / 2, 1 / math.sqrt(2), 0]]
    assert tables[0.0].toarray() == pytest.approx(np.array(plain))
    assert tables[2.0].toarray()[0] == pytest.approx([0, 2 / (math.sqrt(8) + 2), 1 / 4])
    assert similarities(events, num_neighbours=1, shrinkages=(0.0,))[0.0].toarray()[0] == pytest.approx([0, 2 / math.sqrt(8), 0])


def test_nearest_keeps_the_largest_and_the_smaller_column_of_equals():
    kept = nearest(sp.csr_array(np.array([[3.0, 5.0, 3.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])), 2)
    assert kept.toarray().tolist() == [[3, 5, 0], [0, 0, 0], [1, 0, 2]]


def test_knn_adds_the_similarities_of_the_history(build):
    timelines = build([{"user_id": f"u{number}", "item_id": item} for number, items in enumerate(("xy", "xyz", "x", "x")) for item in items])
    model = ItemKNN().fit(timelines)
    [answer] = model.predict([Request(history=(Event("y"), Event("z"), Event("y")), k=1)])
    assert model.settings == {"num_neighbours": 100, "shrinkage": 10.0}
    assert answer.scores == pytest.approx([2 / (math.sqrt(8) + 10) + 1 / 12])


def test_sequential_knn_by_hand(build):
    timelines = build([{"user_id": "a", "item_id": item} for item in "xyxz"] + [{"user_id": "b", "item_id": item} for item in "xy"])
    model = SequentialKNN().fit(timelines)
    assert (model.settings["following"], model.settings["decay"]) == (1.0, 0.8)
    [answer] = model.predict([Request(history=(Event("x"), Event("z"), Event("x")), k=3, exclude_seen=False)])
    # x stands last and votes whole, z one event before it; two users have x and y, of 3 and 2 events; y came right after x twice.
    beside = {"xy": 2 / (2 + 10), "xz": 1 / (math.sqrt(2) + 10), "yz": 1 / (math.sqrt(2) + 10)}
    assert dict(zip(answer.item_ids, answer.scores, strict=True)) == pytest.approx({
        "y": beside["xy"] + 2 / (math.sqrt(6) + 30) + 0.8 * beside["yz"], "z": beside["xz"] + 1 / (math.sqrt(3) + 30), "x": 0.8 * beside["xz"],
    })


def test_sequential_knn_learns_whether_order_matters(build):
    """Whoever had a has b next, and valid asks for it; c and d stand beside a as often."""
    rows = [{"user_id": f"u{user}", "item_id": item} for user in range(12) for item in ("cdab" if user % 2 else "dcab")]
    model = SequentialKNN().fit(build([*rows, *({"user_id": f"v{user}", "item_id": item, "part": "valid" if item == "b" else "train"} for user in range(6) for item in "eab")]))
    assert model.settings["following"] == 1.0
    assert model.predict([Request(history=(Event("a"),), k=1)])[0].item_ids == ["b"]


def test_items_of_like_text_by_hand():
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0], [0, 0]], dtype=np.float32)
    assert likenesses(vectors).toarray() == pytest.approx(np.array([[0, 0.36, 0, 0, 0], [0.36, 0, 0.64, 0, 0], [0, 0.64, 0, 0, 0], [0] * 5, [0] * 5]))
    many = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    cosine = many @ many.T
    np.fill_diagonal(cosine, 0)
    for row, found in zip(cosine, likenesses(many).toarray()):
        expected = np.where(row >= np.sort(row)[-ALIKE], row.clip(0), 0) ** 2
        assert found == pytest.approx(expected, abs=1e-6)


def test_hybrid_knn_knows_items_nobody_has_had_by_their_text(build):
    """Whoever had one of a kind wants the next of its kind; those of valid were never seen in train."""
    kinds = ["alpine", "maritime", "urban", "desert"]
    items = [{"item_id": f"{kind[0]}{n}", "title": f"{kind} number{n}"} for kind in kinds for n in range(6)]
    rows = [{"user_id": f"u{user}", "item_id": f"{kinds[(user + step) % 4][0]}{step}"} for user in range(12) for step in range(3)]
    rows += [{"user_id": f"v{n}", "item_id": f"{kind[0]}{place}", "part": part} for n, kind in enumerate(kinds) for place, part in ((0, "train"), (4, "valid"))]
    model = HybridKNN().fit(build(rows, items))
    assert model.settings["likeness"] > 0
    [answer] = model.predict([Request(history=(Event("m0"),), k=24)])
    nobodys = [item_id for item_id in answer.item_ids if item_id[1] in "345"]
    assert set(nobodys[:3]) == {"m3", "m4", "m5"} and dict(zip(answer.item_ids, answer.scores))[nobodys[3]] < 1e-6
    for title in ("", "untitled"):
        untitled = HybridKNN().fit(build(rows, [{**item, "title": title} for item in items]))
        assert "likeness" not in untitled.settings
    assert (untitled.similarity != SequentialKNN().fit(build(rows, items)).similarity).nnz == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ease_on_three_items_by_hand(dtype):
    # X'X + 1 = [[3, 1, 0], [1, 2, 0], [0, 0, 2]], its inverse [[2, -1, 0], [-1, 3, 0], [0, 0, 2.5]] / 5, B = -P / diag P by column.
    events = sp.csr_array(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=float))
    weights = ease_weights(events, 1.0, dtype=dtype)
    assert weights == pytest.approx(np.array([[0, 1 / 3, 0], [1 / 2, 0, 0], [0, 0, 0]]), abs=1e-6)
    assert weights.dtype == dtype


@pytest.mark.parametrize(("bound", "threads"), [(2, 1), (3, 2)])
def test_ease_inverts_many_items_with_one_thread(monkeypatch, bound, threads):
    """With several, a large matrix ends the process."""
    seen, factor = set(), lapack.spotrf
    monkeypatch.setattr("llmrec.baselines.ease.ONE_THREAD_ITEMS", bound)
    monkeypatch.setattr(lapack, "spotrf", lambda *given, **how: seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas") or factor(*given, **how))
    with threadpool_limits(2, user_api="blas"):
        ease_weights(sp.csr_array(np.eye(3)), 1.0, dtype=np.float32)
    assert seen == {threads}


def test_ease_refuses_what_lapack_cannot_hold(checkerboard, monkeypatch):
    monkeypatch.setattr("llmrec.baselines.ease.MAX_ITEMS", SIDE - 1)
    with pytest.raises(ValueError, match=f"at most {SIDE - 1} items; the catalogue has {SIDE}"):
        EASE().fit(checkerboard)
    assert MAX_ITEMS**2 < 2**31
    with pytest.raises(ValueError, match="l2 is 0"):
        ease_weights(sp.csr_array((2, 2)), 0.0)


def test_markov_chain_by_hand(build):
    timelines = build([{"user_id": "a", "item_id": item} for item in "xyxz"] + [{"user_id": "b", "item_id": item} for item in "xy"])
    model = MarkovChain().fit(timelines)
    scores = model.predict([Request(history=(Event("z"), Event("x")), k=3, exclude_seen=False)])[0]
    # After x: y twice, z once; shares 3/6, 2/6, 1/6; smoothing 1.
    assert dict(zip(scores.item_ids, scores.scores, strict=True)) == pytest.approx({"y": (2 + 2 / 6) / 4, "z": (1 + 1 / 6) / 4, "x": (3 / 6) / 4})
    start = model.predict([Request(k=3)])[0]
    assert start.scores == pytest.approx([3 / 6, 2 / 6, 1 / 6])


def test_settings_are_chosen_on_valid(build):
    # Valid repeats a transition of train against all popularity: little smoothing wins, and the default is the first of equals.
    rows = [{"user_id": f"u{n}", "item_id": item} for n in range(5) for item in ("p", "q")] + [{"user_id": "v", "item_id": item} for item in ("x", "y")]
    rows += [{"user_id": "w", "item_id": "x"}, {"user_id": "w", "item_id": "y", "part": "valid"}]
    assert MarkovChain().fit(build(rows)).settings == {"smoothing": 1.0}
    rows[-1]["item_id"] = "p"
    assert MarkovChain().fit(build(rows)).settings == {"smoothing": 10.0}


def test_sasrec_learns_the_checkerboard(checkerboard):
    answers = BASELINES["sasrec"](num_epochs=60).fit(checkerboard).predict([ask(user) for user in range(SIDE)])
    assert sum(answer.item_ids[0] == f"i{user}" for user, answer in enumerate(answers)) >= SIDE - 1


def test_sasrec_keeps_the_epoch_and_the_settings_that_valid_likes_best(build, monkeypatch):
    rows = [{"user_id": f"u{user}", "item_id": f"i{(user + step * step) % SIDE}", "part": "valid" if step == 5 else "train"} for user in range(SIDE) for step in range(6)]
    timelines, model, seen = build(rows), BASELINES["sasrec"](num_epochs=12, patience=3), []
    measured = model.mean_ndcg
    monkeypatch.setattr(model, "mean_ndcg", lambda questions: seen.append(measured(questions)) or seen[-1])
    model.fit(timelines)
    assert set(model.settings) == {"width", "dropout", "epochs", "length"} and 1 <= model.settings["epochs"] <= 12
    assert len(set(seen)) > 3 and measured(next_item_questions(timelines)) == max(seen)


@pytest.mark.parametrize(("long", "length", "dropout"), [(3, 200, 0.2), (1, 50, 0.5)])
def test_sasrec_reads_longer_histories_with_less_dropout_where_most_are_long(build, long, length, dropout):
    rows = [{"user_id": f"u{user}", "item_id": f"i{(user + step) % 90}", "part": "train"} for user in range(4) for step in range(60 if user < long else 9)]
    settings = BASELINES["sasrec"](num_epochs=1).fit(build(rows)).settings
    assert (settings["length"], settings["dropout"]) == (length, dropout)
