"""The words of the small world: a `Word` is a string that knows its own forms, and pools of words by type.

A type says what a word may be used for (a toy can be lost, a tool borrowed, a fruit picked), so that whatever is
drawn at random is sensible. Pools are constants; drawing from them is `draw.py`.
"""

from __future__ import annotations

from typing import Any

VOWELS = "aeiou"


class Word(str):
    """A string with forms that templates ask for: `{t.a}`, `{t.s}`, `{a.he}`, `{p.to}`."""

    a: str  # with the indefinite article
    s: str  # plural
    the: str  # with the definite article
    to: str  # of a place: the way there
    he: str
    him: str
    his: str
    noun: str  # without an article
    key: str  # what counts for held-out combinations
    colours: tuple[Word, ...]

    def __new__(cls, text: str, **forms: Any) -> Word:
        word = super().__new__(cls, text)
        word.__dict__.update({"a": article(text), "s": plural(text), "the": "the " + text, "noun": text, "key": text})
        word.__dict__.update(forms)
        return word


def article(noun: str) -> str:
    """`noun` with a or an in front."""
    return ("an " if noun[0] in VOWELS else "a ") + noun


def plural(noun: str) -> str:
    """The plural of a regular noun, or of the few irregular ones that the world has."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "potato", "tomato")) else "s")


IRREGULAR = {"mouse": "mice", "goose": "geese", "loaf": "loaves", "knife": "knives", "child": "children", "fish": "fish"}


def words(text: str, **forms: Any) -> tuple[Word, ...]:
    """Words from a comma-separated list, all with the same extra forms."""
    return tuple(Word(part.strip(), **forms) for part in text.split(","))


HE = {"he": "he", "him": "him", "his": "his"}
SHE = {"he": "she", "him": "her", "his": "her"}
IT = {"he": "it", "him": "it", "his": "its"}


def place(text: str) -> Word:
    """`"in|barn"` is the place phrase "in the barn", with the way there "to the barn"."""
    preposition, noun = text.strip().split("|")
    return Word(f"{preposition} the {noun}", to=f"to the {noun}", the=f"the {noun}", noun=noun, key=noun)


def places(text: str) -> tuple[Word, ...]:
    return tuple(place(part) for part in text.split(","))


def beast(noun: str) -> Word:
    """An animal that acts: "the dog", it."""
    return Word(f"the {noun}", a=article(noun), noun=noun, the=f"the {noun}", s=plural(noun), key=noun, **IT)


BOYS = words(
    "Tom, Ben, Sam, Max, Leo, Jack, Finn, Oscar, Noah, Theo, Hugo, Adam, Luke, Peter, Henry, Paul, Felix, Otto, Simon, "
    "David, Jonas, Martin, Robin, Victor, Oliver, Toby, Ivan, Karl, Daniel, George",
    **HE,
)
GIRLS = words(
    "Lily, Anna, Mia, Emma, Rose, Nora, Ella, Lucy, Clara, Ida, Julia, Sara, Maria, Eva, Alice, Grace, Ruby, Hannah, Molly, "
    "Greta, Olga, Vera, Nina, Martha, Sophie, Kate, Jane, Lena, Amy, Daisy",
    **SHE,
)
CHILDREN = BOYS + GIRLS
AUNTS = words("Aunt Rosa, Aunt May, Aunt Bella, Aunt Tilda, Mrs Brown, Mrs Reed, Mrs Hill, Grandma", **SHE)
UNCLES = words("Uncle Fred, Uncle Ned, Uncle Will, Uncle Jim, Mr Stone, Mr Wood, Mr Field, Grandpa", **HE)
TRADES = words("the baker, the miller, the gardener, the postman, the farmer, the fisherman, the blacksmith, the shepherd", **HE)
ADULTS = AUNTS + UNCLES + TRADES
PETS = tuple(beast(n) for n in "dog, cat, pony, goat, rabbit, donkey, lamb, duck, hen, puppy, kitten, goose".split(", "))
WILD = tuple(beast(n) for n in "fox, owl, squirrel, hedgehog, mouse, crow, frog, badger, deer, magpie, beaver, hare".split(", "))

COLOURS = words("red, blue, green, yellow, white, black, brown, purple, orange, pink, grey")
METAL = words("golden, silver, black, brown, grey, red, green, blue")
FUR = words("brown, black, white, grey, golden, red")


def things(text: str, colours: tuple[Word, ...] = COLOURS, **forms: Any) -> tuple[Word, ...]:
    return words(text, colours=colours, **IT, **forms)


TOYS = things("kite, ball, doll, drum, puppet, hoop, whistle, tin soldier, toy train, balloon, pinwheel, teddy bear, scooter, sledge")
WEAR = things("hat, scarf, coat, cap, shawl, jacket, apron, cloak, sweater, dress, shirt, belt")
TOOLS = things("hammer, spade, ladder, saw, rake, bucket, wheelbarrow, lantern, axe, broom, rope, paintbrush, fishing rod, cart")
SMALL = things("key, ring, bell, watch, brooch, button, coin, medal, thimble, locket", METAL)
GOODS = things("vase, teapot, blanket, cushion, lamp, mug, bowl, umbrella, notebook, pencil case, purse, rug, clock, candlestick")
HOLDERS = things("box, basket, jar, bag, jug, chest, tin, tub, bucket, sack, bowl, tray")
BOATS = things("boat, raft, bicycle, cart, wagon, sledge, scooter")

FRUIT = words("apple, plum, pear, cherry, fig, peach, lemon, berry, apricot, nut")
ROOTS = words("carrot, potato, onion, turnip, beet, leek, pumpkin, cabbage, radish, tomato")
BAKED = words("bun, cake, pie, biscuit, loaf, tart, pancake, muffin, waffle, roll")
STUFF = words("candle, plate, cup, spoon, stone, feather, shell, button, coin, stamp, marble, bead, pebble, card, ribbon, nail")
YARD = words("hen, goose, duck, sheep, goat, cow, pigeon, rabbit, lamb, pig", s="")
YARD = tuple(Word(str(w), s="sheep" if w == "sheep" else plural(str(w))) for w in YARD)

NUMBERS = words("two, three, four, five, six, seven, eight, nine, ten, eleven, twelve")

SPOTS = places(
    "under|bed, behind|door, on|shelf, under|bench, in|hollow tree, beside|well, behind|stove, in|hay, under|stairs, on|roof, "
    "in|tall grass, among|roses, under|cart, on|windowsill, behind|curtain, in|drawer, under|table, in|woodpile, behind|fence, "
    "in|cupboard, on|doorstep, under|bridge, in|flowerpot, behind|clock"
)
SITES = places(
    "at|mill, in|barn, in|garden, by|river, in|forest, at|school, in|harbour, on|meadow, on|hill, in|orchard, by|pond, on|farm, "
    "in|village, at|bakery, at|station, on|beach, by|lake, in|park, at|market, in|library, at|old tower, in|valley"
)
ROOMS = places("in|kitchen, in|cellar, in|attic, on|porch, in|yard, in|hall, in|shed, in|workshop, in|stable, in|parlour, on|balcony")
TREES = places("in|orchard, in|garden, behind|house, by|wall, on|hill, by|lane, near|church, beside|barn")
