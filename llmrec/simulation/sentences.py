"""The forms of what users write: queries by keywords and in sentences, reviews and their summaries.

Separate from choosing among them, so that the words are read, and more of them added, as lists. A form's slots are filled in `texts`.
"""

from __future__ import annotations



STORY_KEYWORDS = (
    "{mood} {genre}", "{topic}", "{creator}", "{genre} {noun}", "{length} {genre}", "{genre}", "{mood} {noun}", "{topic} {noun}", "{genre} {topic}",
    "{length} {mood} {noun}", "{pace} {genre}",
)
STORY_REQUESTS = (
    "{a_mood} {noun} about {subject}", "something {mood} for {occasion}", "looking for {a_genre} {noun} by {creator}",
    "{a_length} {genre} {noun} for {occasion}",
    "any {nouns} about {subject}?", "what should I {verb} if I like {mood} {genre} stories?", "I am in the mood for {genre}, preferably {mood}",
    "{a_mood} {genre} {noun}, not too complicated",
    "{nouns} with {subject} and a {pace} pace", "please find me something like the work of {creator}", "I want to {verb} something {mood} and {length}",
    "{genre} with {subject}, ideally {length}",
)
LIKE_REQUESTS = (
    "something {mood} like {like}", "what comes after {like}?", "more like {like}", "{a_mood} {noun} like {like}", "I enjoyed {like}, what next?",
    "{genre} in the style of {like}",
    "if I liked {like}, which {noun} should I {verb}?", "another {genre} {noun} like {like}",
)
KITCHEN_KEYWORDS = ("{noun}", "{material} {noun}", "{genre}", "{creator}", "{mood} {noun}", "{use}", "{noun} gift")
KITCHEN_REQUESTS = (
    "{a_mood} {noun} for {use}", "something for {use}", "{a_material} {noun} that lasts", "I need a good {noun} for {use}",
    "a gift for somebody who loves {use}",
    "which {noun} is best for {use}?", "anything {mood} by {creator}", "looking for {genre} gear made of {material}",
)

STORY_PRAISE = {
    "genre": (
        "this is {mass} at its finest", "it gets everything right that {a_g} can get right", "I rarely come across {a_g} this good",
        "it is just the {g} I was hoping for",
        "{mass} seldom feels this fresh", "I would give this to anybody who enjoys {mass}", "it is {a_g} with a heart", "it reminded me why I love {mass}"),
    "mood": (
        "it is {x} in the best way", "the {x} mood never slips", "I loved how {x} it is", "it stays {x} right to the end", "hardly any {noun} feels this {x}",
        "it turned out even more {x} than I had hoped", "the {x} tone carried me along", "it was as {x} as I wanted"),
    "creator": (
        "{x} is on top form here", "{x} never lets me down", "you can feel the hand of {x} in every {part}", "nobody does this like {x}",
        "{x} has outdone the earlier work", "I would follow {x} anywhere", "{x} keeps getting better", "this is {x} at full strength"),
    "subject": (
        "the part about {x} is wonderful", "everything around {x} works", "I adored the way it handles {x}", "it finds something new to say about {x}",
        "the idea of {x} is used so well", "I was gripped by the thread about {x}", "I could not get enough of {x}", "it brings {x} to life"),
    "length": (
        "the {x} {extent} suits it perfectly", "at this {x} {extent} nothing drags", "I was glad of the {x} {extent}", "the {x} {extent} felt just right",
        "it makes the most of its {x} {extent}", "a {x} {noun} was what I needed"),
    "pace": (
        "the {x} pace is a pleasure", "I enjoyed the {x} pace", "its {x} pace fits the story", "the {x} pace pulled me along",
        "it moves at a {x} pace and I was happy to follow",
        "I sank into its {x} pace"),
}
STORY_BLAME = {
    "genre": (
        "as {mass} it never comes alive", "it adds nothing to {mass}", "I expected more from {a_g}", "it is {a_g} without a spark",
        "it ticks the boxes of {mass} and stops there", "the {g} I hoped for is not here", "it is {mass} on tired legs", "I have seen better {mass}"),
    "mood": (
        "it tries so hard to be {x} that it tires you out", "the {x} tone wore me down", "I found it {x} in all the wrong places",
        "being {x} is not enough to carry {a_noun}",
        "it was too {x} for me", "I was not in the mood for something so {x}", "the {x} mood feels forced"),
    "creator": (
        "{x} has done better", "I do not see what people find in {x}", "{x} seems to be going through the motions", "the style of {x} grates on me",
        "{x} and I will never be friends", "{x} repeats old tricks", "it is minor work by {x}"),
    "subject": (
        "the part about {x} bored me", "I did not believe a word about {x}", "it is yet more about {x} and nothing new", "it has little to say about {x}",
        "the thread about {x} goes nowhere", "I have had my fill of {x}", "it wastes the idea of {x}"),
    "length": (
        "the {x} {extent} does it no favours", "the {x} {extent} was wrong for the story", "I struggled with the {x} {extent}",
        "at this {x} {extent} it never finds its feet",
        "a {x} {noun} is not what this needed"),
    "pace": (
        "the {x} pace spoiled it for me", "the {x} pace wore me out", "I could not get on with the {x} pace", "its {x} pace works against the story",
        "the {x} pace never lets it breathe"),
}
KITCHEN_PRAISE = {
    "genre": (
        "it makes {x} a pleasure", "it is the best piece of {mass} I own", "I reach for it before any other {mass}", "as {mass} goes it is superb",
        "my {mass} is complete at last",
        "every {g} should be like this"),
    "mood": (
        "it looks so {x} on the counter", "the {x} design makes me smile", "I love the {x} look", "guests keep noticing how {x} it is",
        "the {x} shape brightens the room",
        "hardly any {noun} looks this {x}"),
    "creator": (
        "{x} knows how to make things", "the {x} quality shows", "I trust {x} more with every purchase", "it is another winner from {x}",
        "{x} thought of everything"),
    "material": (
        "the {x} feels solid", "{x} was the right choice", "the {x} has held up beautifully", "the {x} is a joy to touch", "the {x} cleans up in no time",
        "I am very pleased with the {x}"),
    "use": (
        "it is made for {x}", "I use it for {x} all the time", "nothing beats it for {x}", "it earns its place through {x}", "it has changed {x} for me",
        "for {x} I would buy it again"),
}
KITCHEN_BLAME = {
    "genre": (
        "it makes {x} a chore", "I own better {mass}", "as {mass} it is second rate", "my old {mass} did more", "it is {a_noun} that gets in the way"),
    "mood": (
        "the {x} look is all it has", "somebody wanted it {x} and forgot to make it useful", "the {x} design is not to my taste",
        "it is too {x} for my kitchen", "it looked more {x} in the picture"),
    "creator": (
        "{x} used to do better", "I will not buy from {x} again", "{x} cut corners here", "I expected more care from {x}",
        "{x} does not listen to its customers"),
    "material": (
        "the {x} stained within a week", "the {x} feels flimsy", "{x} was the wrong choice for me", "the {x} is a pain to clean",
        "I should have avoided {x}", "the {x} let me down"),
    "use": (
        "it is no help with {x}", "I bought it for {x} and regret it", "for {x} it is useless", "it fails when it comes to {x}",
        "it was meant for {x} and sits in a drawer"),
}
BUTS = (", but ", ", yet ", ", though ", "; then again, ", ", only ")
OPENERS = {
    5: ("I loved this", "What a find", "A real treat", "Wonderful", "I could not be happier", "Superb", "An instant favourite", "Simply lovely", "This made my week", "Better than I dared hope"),
    4: ("Glad I picked this", "Good stuff", "Well worth it", "I enjoyed this", "A pleasant surprise", "Very decent", "A good choice", "Nicely done", "I was won over", "Easy to like"),
    3: ("A mixed bag", "Not sure about this", "It has its moments", "Fine, no more", "Somewhere in the middle", "So-so", "I am in doubt", "Neither here nor there", "Passable"),
    2: ("A let-down", "Not for me", "I wanted to like this", "Rather weak", "Below par", "I expected better", "Underwhelming", "It left me cold", "Sadly not my thing"),
    1: ("A waste", "I gave up", "Dreadful", "Best avoided", "What a disappointment", "I regret this", "Painful", "Never again", "I want my money back"),
}
REASONS = {
    "liked": (
        "I have a soft spot for {y}", "I can never resist {y}", "I keep coming back to {y}", "give me {y} any day", "this is why I look for {y}",
        "my shelves are full of {y}",
        "I am always after {y}", "nothing suits me better than {y}", "hardly anything pleases me like {y}", "I picked it out of love for {y}"),
    "mixed": (
        "I go back and forth on {y}", "on another day I might have been kinder to {y}", "my feelings about {y} are divided",
        "people who love {y} may see more in it",
        "I am still making up my mind about {y}"),
    "disliked": (
        "I have never warmed to {y}", "I should have known better, given how I feel about {y}", "I am done with {y} for a while", "I keep my distance from {y}",
        "my patience with {y} is short", "{y} and I do not mix", "I have little time for {y}", "others may enjoy {y} more than I do"),
}
MOMENTS = {
    "liked": ("just right for {m}", "it made {m} better", "lovely company for {m}", "it was the best part of {m}", "I would pick it again for {m}"),
    "mixed": ("passable for {m}", "it filled {m}, no more", "good enough for {m}"),
    "disliked": ("it did nothing for {m}", "a poor choice for {m}", "it spoiled {m}", "I had hoped for more from {m}"),
}
SUMMARIES = {
    5: ("A wonderful {g}", "Beautifully {mood} {noun}", "Superb {mass}", "{mood} and utterly delightful", "My new favourite {noun}", "Loved this {mood} {noun}", "A {noun} to treasure", "Pure {mood} joy"),
    4: ("A good {g}", "Solid {mass}", "Pleasantly {mood}", "{mood} and worth it", "Enjoyable {mood} {noun}", "A {noun} worth having", "Good {mass}", "Happy with this {noun}"),
    3: ("An average {g}", "{mood} but uneven", "Neither good nor bad", "Decent {mass}, little more", "A middling {noun}", "{mood} in places", "Not quite my {noun}"),
    2: ("A weak {g}", "{mood} but dull", "Not my {noun}", "Disappointing {mass}", "Expected a better {noun}", "{mood}, yet it fails", "Second-rate {mass}"),
    1: ("A dreadful {g}", "Painful {mass}", "Regret this {noun}", "{mood}, supposedly", "Avoid this {noun}", "The worst {g}", "{mood} and awful"),
}
