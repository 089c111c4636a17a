"""A seeded world of films, books and kitchen things whose every probability is known: the built-in data set, written as ordinary files.

Separate from the readers, so that the data a newcomer starts with takes the same way in as anybody's own files, while tests and calibration
plots can ask what the truth was.

    session of user 17 (hour 8, Tuesday, mobile, commute; scenario films)      the log, one row each, seconds going up
      slot 1  a popular film          not clicked                              impression
      slot 2  a film to her taste     clicked, bought, rated, reviewed         impression  click  purchase  rating (with review and summary)
      slot 3  the next of its series  clicked                                  impression  click

    click     sigmoid(base + taste + quality + context + promotion + relation to the last clicks + query - slot)
    purchase  given a click: sigmoid(base + taste + quality - price + promotion)
    rating    given a purchase: ordered logit, P(rating >= k) = sigmoid(slope * (taste + quality + the user's leniency) - threshold k)

An item's latent vector is the weighted sum of the vectors of its attributes and a small remainder, so text tells most of what taste sees.
A user is shown an item at most once: the answer to an impression is then the click that follows it, and nothing later.
Every random number of a user is a function of (seed, user number, place in the user's life), so a user has the same log in any world with the same seed,
items and days, whatever the number of users and the size of the chunks.

    lexicon -things-> shelf          what there is: words, then arrays
    chance  -people-> sessions       who comes, and what happens in the moments of each; `texts` writes their queries and reviews in the forms of `sentences`
    world                            all of it, and its files
"""

from llmrec.simulation.moments import CONTEXT, EPOCH
from llmrec.simulation.world import World, truth, write_world

__all__ = ["CONTEXT", "EPOCH", "World", "truth", "write_world"]
