"""Shows one held-out user: the history in titles, and what the model answers to every task it knows.

    python -m eval.show --model runs/demo/model data.corpus=runs/demo/corpus
    python -m eval.show --model runs/demo/model --user u17 data.corpus=runs/demo/corpus
"""

from __future__ import annotations

import argparse
import sys

from llmrec.exits import exit_code

SHOWN = 10


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.show", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the folder of a trained model")
    parser.add_argument("--user", help="a user of the corpus (default: the first one with a held-out event and a middling history)")
    parser.add_argument("setting", metavar="data.corpus=DIR", help="the prepared corpus")
    options = parser.parse_args(argv)
    name, _, folder = options.setting.partition("=")
    if name != "data.corpus" or not folder:
        parser.error(f"got {options.setting!r}; expected data.corpus=DIR")

    # After the arguments are read: --help must answer without torch or polars.
    from llmrec.interactions import TEST, Corpus
    from llmrec.predictions import Request
    from llmrec.recommender import Recommender
    from llmrec.timelines import Timelines

    try:
        corpus = Corpus.load(folder)
        recommender = Recommender.from_pretrained(options.model)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return exit_code(error)
    timelines = Timelines.of(corpus)
    places = dict(timelines.places(TEST))
    lengths = {user: len(timelines.visible(user, place, TEST)) for user, place in places.items()}
    if options.user is not None and options.user not in timelines.user_ids:
        parser.error(f"the corpus has no user {options.user!r}; it has {len(timelines)}, such as {timelines.user_ids[:3]}")
    user = timelines.user_ids.index(options.user) if options.user is not None else min(lengths, key=lambda u: abs(lengths[u] - SHOWN), default=None)
    if user not in places:
        parser.error("this user has no held-out event" if options.user else "the corpus has no held-out event; prepare it with --split leave_one_out")
    place = places[user]
    event, history = timelines.event(place), timelines.history(user, place, TEST)
    shared = dict(history=history, context=event.context, timestamp=event.timestamp)
    title = recommender.titles.get

    print(f"User {timelines.user_ids[user]}, {len(history)} events; the last {min(SHOWN, len(history))}:")
    for past in history[-SHOWN:]:
        print(f"    {title(past.item_id)}" + ("" if past.rating is None else f"   rated {past.rating:g}"))
    print(f"What came next (held out): {title(event.item_id)}")
    answers = {}
    for task in recommender.tasks:
        if task in ("next_item", "rating", "click", "purchase", "explanation"):
            answers[task] = recommender.predict([Request(task=task, item_id=None if task == "next_item" else event.item_id, k=SHOWN, **shared)])[0]
    if "next_item" in answers:
        found = answers["next_item"].items(recommender.titles)
        print("\nRecommended:")
        for number, item in enumerate(found, 1):
            print(f"{number:4}  {item.title}" + ("   <- came next" if item.item_id == event.item_id else ""))
    print(f"\nAbout {title(event.item_id)}:")
    if "rating" in answers:
        print(f"    predicted rating   {answers['rating'].value:.2f}" + ("" if event.rating is None else f"   (given: {event.rating:g})"))
    for task in ("click", "purchase"):
        if task in answers:
            print(f"    {task} probability" + f"   {answers[task].probability:.3f}".rjust(10))
    if "explanation" in answers:
        print(f"    explanation        {answers['explanation'].text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
