"""The words that films, books and kitchen things are made of: attributes, titles and names.

Separate from how things are put together, so that the words are read, and more of them added, as lists.
"""

from __future__ import annotations

from typing import NamedTuple


class StoryWords(NamedTuple):
    qualities: tuple[str, ...]
    nouns: tuple[str, ...]
    subjects: tuple[str, ...]
    moods: tuple[str, ...]


class KitchenWords(NamedTuple):
    nouns: dict[str, tuple[str, ...]]  # and what each is made of
    uses: tuple[str, ...]


def split(words: str) -> tuple[str, ...]:
    """The entries of a list written with commas."""
    return tuple(word.strip() for word in words.split(","))


def article(words: str) -> str:
    """`words` behind "a" or "an". None of our words breaks the rule of the first letter."""
    return f"an {words}" if words[:1].lower() in "aeiou" else f"a {words}"


def capital(sentence: str) -> str:
    """The sentence with its first letter upper-case."""
    return sentence[:1].upper() + sentence[1:]


STORIES = {
    "mystery": StoryWords(
        split("Silent, Crooked, Locked, Missing, Quiet, Hidden, Borrowed, Midnight, Unlikely, Velvet"),
        split("Alibi, Witness, Inspector, Staircase, Inheritance, Key, Portrait, Lodger, Clue, Postman, Teapot, Verdict"),
        split("a missing heiress, an old murder, a locked room, a village secret, a stolen painting, a retired detective, poisoned tea, a false confession"),
        split("tense, cosy, clever, dark")),
    "romance": StoryWords(
        split("Tender, Unsent, Summer, Paper, Slow, Distant, Borrowed, Almost Perfect, Rainy, Secret"),
        split("Promise, Waltz, Letter, Proposal, Wedding, Kiss, Season, Heart, Bouquet, Balcony, Valentine, Duet"),
        split("a second chance, a summer wedding, rival bakers, letters never sent, a pretend engagement, childhood sweethearts, a holiday romance, love across borders"),
        split("moving, funny, hopeful, dreamy, cosy")),
    "science fiction": StoryWords(
        split("Orbital, Hollow, Quantum, Distant, Cold, Final, Binary, Drifting, Synthetic, Solar"),
        split("Signal, Colony, Horizon, Engine, Station, Protocol, Comet, Archive, Beacon, Satellite, Paradox, Machine"),
        split("a lost colony, first contact, a failing spaceship, sentient machines, time loops, a dying sun, memory implants, a generation ship"),
        split("tense, clever, dark, dreamy, hopeful")),
    "fantasy": StoryWords(
        split("Ember, Thorn, Silver, Forgotten, Gilded, Raven, Moonlit, Hollow, Winter, Starless"),
        split("Crown, Oath, Dragon, Throne, Spell, Gate, Forest, Sword, Prophecy, Mage, Tower, Grimoire"),
        split("a runaway dragon, a school of magic, an exiled queen, a talking forest, a broken oath, a thieves guild, a forbidden spell, rival kingdoms"),
        split("dreamy, dark, playful, hopeful, moving")),
    "comedy": StoryWords(
        split("Accidental, Reluctant, Awkward, Unfortunate, Part-Time, Clumsy, Overdressed, Hopeless, Borrowed, Grumpy"),
        split("Butler, Uncle, Bridesmaid, Landlord, Magician, Neighbour, Chef, Spy, Godfather, Choirmaster, Babysitter, Parrot"),
        split("a disastrous dinner, office rivals, mistaken identity, a chaotic road trip, a terrible band, meddling neighbours, a fake butler, a village fete"),
        split("funny, playful, clever, cosy")),
    "thriller": StoryWords(
        split("Deadly, Burning, Broken, Blind, Double, Fatal, Frozen, Vanishing, Hostile, Silent"),
        split("Pursuit, Target, Exchange, Deadline, Hostage, Border, Trigger, Cipher, Courier, Informant, Alarm, Shadow"),
        split("a hunted witness, a double agent, a kidnapping, a race against time, a corrupt bank, a hacked city, a hijacked train, a cover-up"),
        split("tense, dark, clever")),
    "historical": StoryWords(
        split("Iron, Imperial, Linen, Copper, Winter, Distant, Salt, Velvet, Crimson, Pewter"),
        split("Regiment, Harbour, Dynasty, Courier, Cathedral, Railway, Governess, Harvest, Ballroom, Weaver, Treaty, Lantern"),
        split("wartime nurses, a merchant family, a winter siege, a royal scandal, railway builders, a weavers strike, a lighthouse keeper, a court painter"),
        split("moving, elegant, dark, hopeful")),
    "adventure": StoryWords(
        split("Lost, Wild, Uncharted, Thundering, Northern, Golden, Restless, Sunken, Perilous, Farthest"),
        split("Expedition, River, Summit, Compass, Island, Caravan, Voyage, Treasure, Canyon, Map, Outpost, Monsoon"),
        split("a treasure map, a desert crossing, a mountain rescue, pirates, a jungle expedition, a shipwreck, a balloon flight, a polar journey"),
        split("tense, playful, hopeful, funny")),
    "horror": StoryWords(
        split("Whispering, Hungry, Pale, Buried, Crawling, Blackened, Sleepless, Rotting, Hollow, Nameless"),
        split("Cellar, Orchard, Doll, Chapel, Attic, Nursery, Marsh, Choir, Mirror, Scarecrow, Well, Tenant"),
        split("a haunted house, a cursed village, something in the cellar, a sinister cult, vampires, a possessed doll, a deserted hospital, a hungry forest"),
        split("dark, tense, clever")),
    "family": StoryWords(
        split("Little, Brave, Muddy, Wonderful, Sleepy, Flying, Marmalade, Cheerful, Invisible, Upside-Down"),
        split("Hedgehog, Treehouse, Holiday, Puppet, Circus, Balloon, Lighthouse, Kitten, Caravan, Snowman, Grandmother, Goose"),
        split("an orphan and a dog, a magical summer, sibling rivalry, a school play, a runaway kitten, a secret treehouse, a travelling circus, a lost teddy"),
        split("playful, funny, cosy, hopeful, moving")),
    "nature": StoryWords(
        split("Living, Secret, Deep, Ancient, Restless, Vanishing, Untamed, Quiet, Salt, Feathered"),
        split("Ocean, Glacier, Reef, Migration, Desert, Meadow, Tide, Canopy, Wetland, Tundra, Burrow, Estuary"),
        split("whales, bees and flowers, melting glaciers, wolves, mountain birds, coral reefs, ancient trees, desert foxes"),
        split("dreamy, elegant, moving, hopeful")),
}
KITCHEN = {
    "cutting": KitchenWords(
        {
            "chef's knife": split("carbon steel, stainless steel"), "paring knife": split("carbon steel, stainless steel"), "bread knife": split("carbon steel, stainless steel"),
            "chopping board": split("walnut, bamboo, beech"), "grater": split("stainless steel"), "salad spinner": split("glass, stainless steel"),
        },
        split("meal prep, sharp slicing, big salads, crusty bread")),
    "cooking": KitchenWords(
        {
            "skillet": split("cast iron, copper, carbon steel"), "saucepan": split("copper, stainless steel, enamel"), "casserole": split("cast iron, enamel"),
            "wok": split("carbon steel, cast iron"), "stockpot": split("stainless steel, enamel, copper"), "griddle": split("cast iron, carbon steel"),
        },
        split("slow stews, weekend brunch, quick suppers, camping trips")),
    "baking": KitchenWords(
        {
            "loaf tin": split("carbon steel, enamel"), "mixing bowl": split("ceramic, glass, stainless steel"), "rolling pin": split("beech, walnut"),
            "cake stand": split("glass, ceramic, walnut"), "pie dish": split("ceramic, enamel, glass"), "proving basket": split("rattan, bamboo"),
        },
        split("sourdough, birthday cakes, flaky pastry, baking with children")),
    "coffee": KitchenWords(
        {
            "moka pot": split("copper, stainless steel"), "coffee grinder": split("walnut, stainless steel"), "milk jug": split("ceramic, stainless steel, enamel"),
            "pour-over kettle": split("copper, stainless steel, enamel"), "espresso cup": split("ceramic, porcelain, glass"), "coffee press": split("glass, ceramic, copper"),
        },
        split("early mornings, milky coffee, iced coffee, office breaks")),
    "storage": KitchenWords(
        {
            "bread bin": split("bamboo, enamel, walnut"), "spice rack": split("bamboo, walnut, beech"), "storage jar": split("glass, ceramic"),
            "lunch box": split("bamboo, stainless steel, enamel"), "butter dish": split("porcelain, ceramic, glass"), "fruit basket": split("rattan, bamboo, copper"),
        },
        split("small kitchens, packed lunches, dry pantry goods, tidy shelves")),
    "serving": KitchenWords(
        {
            "serving platter": split("walnut, porcelain, ceramic"), "salad bowl": split("walnut, ceramic, glass"), "carafe": split("glass, ceramic"),
            "cheese board": split("walnut, bamboo, beech"), "teapot": split("porcelain, ceramic, glass, enamel"), "soup tureen": split("porcelain, ceramic"),
        },
        split("dinner parties, garden lunches, holiday feasts, afternoon tea")),
}
LENGTHS, PACES, PRICES = ("short", "medium", "long"), ("slow", "steady", "fast"), ("low", "medium", "high")
ROMAN = ("", "I", "II", "III", "IV")
KITCHEN_MOODS = ("cosy", "playful", "elegant", "clever")
SIZES = ("", ", small", ", large", ", set of two", ", set of four", ", gift box", ", travel size", ", limited colours")
TITLES = (
    "The {quality} {noun}", "The {quality} {noun}", "{quality} {noun}", "The {noun} of {place}", "The {noun} and the {other}",
    "The {quality} {noun} of {place}",
    "{name} and the {quality} {noun}", "Beyond the {quality} {noun}", "The Last {noun} of {place}", "{name}'s {noun}", "Return to the {noun}",
    "The {noun} at {place}",
    "Under the {quality} {noun}", "{place} {noun}", "No {noun} for {name}", "What the {noun} Knew",
)
PLACE_NAMES = split(
    "Harrow Bay, Saltmere, Ostwick, Brannoch, Port Lumen, Velmora, Kestrel Hill, Dunmarrow, Alder Street, Tarn Hollow, Wrenfield, Larkspur Lane, Cape Merrin, "
    "Ashdown Quay, Oldgate, San Verro, Pellworth, Mirefold, Isle Corran, Tolvane, Greyhaven Sound, Easterby, Montavel, Quillbrook")
SERIES_WORDS = {"mystery": "Mystery", "romance": "Romance", "comedy": "Comedy", "thriller": "Thriller", "adventure": "Adventure", "science fiction": "Saga", "fantasy": "Saga"}
FIRST_NAMES = split(
    "Ada, Bram, Celia, Dov, Elif, Farid, Greta, Hugo, Ines, Jonas, Kaya, Leif, Mira, Nils, Oona, Petra, Quentin, Rosa, Stellan, Tamsin, Ulla, Viktor, Wanda, Yusuf, "
    "Zora, Anselm, Beatriz, Chidi, Delphine, Emeka, Freya, Giorgio, Hanne, Idris, Junko, Katya, Lorcan, Mei, Noor, Orla")
SURNAMES = split(
    "Arkwell, Brandvik, Castellmar, Dovrensky, Eskelund, Farrowby, Grimaudo, Hollinbrook, Ilvane, Jessamond, Kolvarin, Lindqvarn, Marchetta, Nwandu, Ostrander, "
    "Pellegrave, Quistgard, Rosenthorn, Saltonby, Tavernay, Umarova, Vantongel, Wexcombe, Yarrowell, Zielenko, Abernoth, Bellacorte, Crowmarsh, Duvenay, Okonjide")
BRANDS = split(
    "Brindlewick, Tarnhollow, Oskerra, Pellimore, Quillmark, Vestergarn, Copperlark, Maplethorne, Hearthby, Lumafold, Saltwren, Ironvale, Kettlebrook, Nordabel, "
    "Figgins & Rye, Juniper Row, Casa Verrino, Tidewell, Aldermoss, Pipkin Lane")
LINES = split("Hearth, Meadow, Nordic, Atelier, Campfire, Pebble, Orchard, Harbour, Heritage, Sunday, Linen, Morning")
