"""The words of the small world: a `Word` is a string with its grammatical forms; pools hold words by type.

A type determines what a word may be used for (a toy can be lost, a tool borrowed, a fruit picked), so that whatever is
drawn at random makes sense. Pools are constants; `draw.py` draws from them.
"""

from __future__ import annotations

from typing import Any

VOWELS = "aeiou"
IT = {"he": "it", "him": "it", "his": "its"}


class Word(str):
    """A string with forms for templates: `{t.a}`, `{t.s}`, `{a.he}`, `{p.to}`."""

    a: str  # with the indefinite article
    s: str  # plural
    the: str  # with the definite article
    to: str  # of a place: "to the barn"
    he: str
    him: str
    his: str
    kin: str  # brother or sister
    self: str  # himself or herself
    noun: str  # without an article
    key: str  # identifies the word in held-out combinations
    head: str  # unique in a story, so that it never has both a box and a music box
    colours: tuple[Word, ...]

    def __new__(cls, text: str, **forms: Any) -> Word:
        """Create a word with its regular forms, except those in `forms`."""
        word = super().__new__(cls, text)
        word.__dict__.update(
            {
                "a": article(text),
                "s": plural(text),
                "the": "the " + text,
                "noun": text,
                "key": text,
                "head": text.split()[-1],
                **IT,
            }
        )
        word.__dict__.update(forms)
        return word


def article(noun: str) -> str:
    """Return `noun` with "a" or "an" in front."""
    return ("an " if noun[0] in VOWELS else "a ") + noun


def plural(noun: str) -> str:
    """Return the plural of a regular noun, or of one in `IRREGULAR`."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "potato", "tomato")) else "s")


IRREGULAR = {
    "dormouse": "dormice",
    "mouse": "mice",
    "goose": "geese",
    "loaf": "loaves",
    "knife": "knives",
    "child": "children",
    "fish": "fish",
    "trout": "trout",
    "perch": "perch",
    "carp": "carp",
    "pike": "pike",
    "shrimp": "shrimp",
    "sheep": "sheep",
    "calf": "calves",
}


def words(text: str, **forms: Any) -> tuple[Word, ...]:
    """Return words from a comma-separated list, all with the same extra forms."""
    return tuple(Word(part.strip(), **forms) for part in text.split(","))


HE = {"he": "he", "him": "him", "his": "his", "kin": "brother"}
SHE = {"he": "she", "him": "her", "his": "her", "kin": "sister"}


def place(text: str) -> Word:
    """Return the place of `"in|barn"`: "in the barn", with `to` "to the barn"."""
    preposition, noun = text.strip().split("|")
    return Word(
        f"{preposition} the {noun}", to=f"to the {noun}", the=f"the {noun}", noun=noun, key=noun, head=noun.split()[-1]
    )


def places(text: str) -> tuple[Word, ...]:
    """Return places from a comma-separated list."""
    return tuple(place(part) for part in text.split(","))


COLOURS = words("red, blue, green, yellow, white, black, brown, purple, orange, pink, grey")
METAL = words("golden, silver, black, white, red, green, blue, purple")
FUR = words("brown, black, white, grey, golden, ginger")


def beast(noun: str, colours: tuple[Word, ...] = ()) -> Word:
    """Return an animal that acts: "the dog", it."""
    return Word(
        f"the {noun}",
        a=article(noun),
        noun=noun,
        the=f"the {noun}",
        s=plural(noun),
        key=noun,
        colours=colours or FUR,
    )


def beasts(text: str, colours: tuple[Word, ...] = ()) -> tuple[Word, ...]:
    """Return animals from a comma-separated list."""
    return tuple(beast(noun, colours) for noun in text.split(", "))


BOYS = words(
    "Tom, Ben, Sam, Max, Leo, Jack, Finn, Oscar, Noah, Theo, Hugo, Adam, Luke, Peter, Henry, Paul, Felix, Otto, Simon, "
    "David, Jonas, Martin, Robin, Victor, Oliver, Toby, Ivan, Karl, Daniel, George",
    **HE,
)
GIRLS = words(
    "Lily, Anna, Mia, Emma, Rose, Nora, Ella, Lucy, Clara, Ida, Julia, Sara, Maria, Eva, Alice, Grace, Ruby, "
    "Hannah, Molly, "
    "Greta, Olga, Vera, Nina, Martha, Sophie, Kate, Jane, Lena, Amy, Daisy",
    **SHE,
)
CHILDREN = BOYS + GIRLS
AUNTS = words("Aunt Rosa, Aunt May, Aunt Bella, Aunt Tilda, Mrs Brown, Mrs Reed, Mrs Hill, Grandma", **SHE)
UNCLES = words("Uncle Fred, Uncle Ned, Uncle Will, Uncle Jim, Mr Stone, Mr Wood, Mr Field, Grandpa", **HE)
TRADES = words(
    "the baker, the miller, the gardener, the postman, the farmer, the fisherman, the blacksmith, the shepherd", **HE
)
ADULTS = AUNTS + UNCLES + TRADES
PETS = beasts("dog, cat, rabbit, duck, hen, puppy, kitten, goose, parrot, lamb, tomcat, terrier")
WILD = beasts(
    "fox, squirrel, hedgehog, mouse, badger, deer, hare, hamster, marten, dormouse, rabbit, sparrow, pigeon, swan",
    FUR[:4],
)

TRADES_AT_SEA = words("the fisherman, the sailor, the boatman, the ferryman, the captain, the miller", **HE)
GRAZERS = beasts("rabbit, hare, deer, mouse, badger, pony, donkey, calf, goose, ram", FUR[:4])
CLIMBERS = beasts("kitten, cat, tomcat, puppy, ferret, terrier")


def things(text: str, colours: tuple[Word, ...] = COLOURS) -> tuple[Word, ...]:
    """Return things that have one of `colours`."""
    return words(text, colours=colours)


TOYS = things(
    "kite, ball, drum, hoop, whistle, marionette, toy train, balloon, pinwheel, spinning top, skipping "
    "rope, rattle, sledge, toy plane"
)
FRAGILE = things(
    "kite, drum, scooter, toy train, paper boat, puppet, music box, sledge, toy castle, windmill, toy "
    "plane, rocking horse"
)
WEAR = things("hat, scarf, coat, cap, jacket, cloak, sweater, shirt, raincoat, cardigan, pullover, poncho")
TOOLS = things(
    "hammer, spade, ladder, saw, rake, bucket, wheelbarrow, lantern, axe, broom, hoe, paintbrush, fishing rod, cart"
)
SMALL = things("key, ring, bell, watch, brooch, buckle, goblet, thimble, locket, bracelet", METAL)
GIFTS = things(
    "vase, teapot, mug, notebook, purse, clock, bowl, candlestick, mirror, pen, necklace, wallet, fan, jewel box"
)
HEIRLOOMS = things(
    "vase, teapot, lamp, mug, bowl, clock, candlestick, jug, music box, lantern, globe, picture frame, flowerpot"
)
COVERS = things("umbrella, blanket, sack, rug, tablecloth, bath towel, canvas, parasol, tarpaulin, coat, curtain")
SOFT = things("blanket, cushion, pillow, rug, towel, sack, mat, carpet, quilt")
HOLDERS = things("box, basket, jar, bag, chest, tin, crate, bucket, sack, bowl, tray, pot")
VESSELS = things("boat, raft, canoe, sailing boat, rowing boat, paddle boat, barge")
RIDES = things("bicycle, scooter, wagon, tricycle, handcart, racing bike, pony cart, unicycle")
CARTS = things("cart, wagon, handcart, wheelbarrow, barrow, trolley, pram, hay cart")
BIG_HOLDERS = things("box, basket, bag, chest, crate, sack, suitcase, trunk, hatbox, carton")
PAPERS = things("envelope, letter, parcel, postcard, packet, telegram, roll of paper")
LUNCHBOXES = things("lunch box, satchel, backpack, lunch bag, basket, tin, pouch")
LADDERS = things("ladder, stepladder, rope ladder, step stool, garden ladder")
BOWLS = things("bowl, tub, dish, pan, pail, trough, jug")

FRUIT = words("apple, plum, pear, cherry, fig, peach, lemon, berry, apricot, nut, quince, melon")
ROOTS = words("carrot, potato, onion, turnip, beet, leek, pumpkin, cabbage, radish, lettuce, cucumber, artichoke")
DUG = words("carrot, potato, onion, turnip, beet, leek, radish, parsnip, swede, bulb")
PEELED = words("carrot, potato, onion, turnip, beet, apple, pear, quince, chestnut, parsnip, egg")
DISHES = words("plate, cup, spoon, bowl, glass, bottle, fork, jar, saucer, pan, knife, jug")
BAKED = words("bun, cake, pie, biscuit, tart, pancake, muffin, waffle, scone, pastry, pretzel, dumpling")
FRUIT_BAKED = words("bun, cake, pie, tart, pancake, muffin, waffle, pastry, dumpling, turnover, cupcake")
STUFF = words(
    "candle, plate, cup, spoon, stone, feather, shell, button, coin, stamp, marble, bead, pebble, card, ribbon, nail"
)
PARTY = words("candle, balloon, ribbon, cup, plate, napkin, paper star, flower, cracker, lantern, card")
HARDWARE = words("nail, screw, pin, hook, string, peg, button, ring, spring, bolt")
STAMPS = words("stamp, seal, sticker, postmark, drawing, dot, star, number")
COLLECTED = words("shell, stamp, button, coin, feather, marble, bead, stone, card, pebble, badge, bottle, acorn, cork")
RICHES = words("coin, pearl, bead, shell, button, medal, stamp, ruby, ring, pipe, spoon, jewel")
PRIZES = words("coin, book, pencil, ticket, medal, marble, balloon, biscuit, cup, ribbon, orange, postcard")
CATCH = words("fish, eel, crab, trout, perch, mussel, carp, pike, shrimp")
FEED = words("berry, nut, crumb, seed, cherry, grape, bean, crust, corn cake, rusk, raisin, oat cake")
ONLOOKERS = words("child, neighbour, farmer, nurse, sailor, tailor, cook, soldier, painter, schoolboy, teacher")
YARD = words("hen, goose, duck, sheep, goat, cow, pigeon, rabbit, lamb, pig, pony, calf, turkey, donkey")

TWO_TO_TWELVE = words("two, three, four, five, six, seven, eight, nine, ten, eleven, twelve")
FEW = words("two, three, four, five, six, seven, eight, nine")

SPOTS = places(
    "under|bed, behind|door, on|shelf, under|bench, behind|stove, under|stairs, on|windowsill, behind|curtain, "
    "in|drawer, "
    "under|table, in|cupboard, behind|clock, in|wardrobe, under|sofa, behind|piano, under|armchair, behind|mirror, "
    "in|chest, "
    "behind|bookcase, in|woodbox, under|rug"
)
STANDING = places(
    "on|shelf, on|windowsill, on|piano, on|dresser, in|cupboard, on|table, beside|stove, on|wardrobe, "
    "in|corner, on|chest, on|mantelpiece"
)
GROUNDS = places(
    "in|garden, on|farm, in|orchard, on|allotment, behind|greenhouse, by|canal, on|hill, "
    "beside|chapel, on|meadow, behind|inn, by|wall"
)
OUT_SPOTS = places(
    "under|stones, behind|fence, in|bushes, in|hollow tree, under|bridge, behind|wall, in|ditch, among|roots, "
    "in|tall grass, "
    "behind|shed, beside|well, under|cart, behind|haystack, among|ferns"
)
SITES = places(
    "at|mill, in|barn, in|garden, by|river, in|forest, at|school, in|harbour, on|meadow, on|hill, in|orchard, "
    "by|pond, on|farm, "
    "at|bakery, at|station, on|beach, by|lake, in|park, in|library, at|old tower, in|valley, in|vineyard, at|inn"
)
ROOMS = places(
    "in|kitchen, in|cellar, in|attic, on|porch, in|yard, in|hall, in|shed, in|workshop, in|stable, "
    "in|parlour, on|balcony, in|greenhouse"
)
ROADSIDE = places(
    "by|wall, at|gate, near|church, beside|barn, by|lane, under|lime tree, on|bridge, at|crossroads, near|station, "
    "by|fountain, "
    "beside|chapel, behind|mill, near|school, in|square"
)
HOUSES = places(
    "by|church, near|station, beside|mill, behind|school, at|crossroads, on|hill, by|bridge, near|harbour, "
    "by|canal, behind|inn, "
    "beside|bakery, near|windmill, at|corner"
)
TRACKS = places(
    "at|crossroads, on|beach, by|lake, in|park, at|bridge, on|hill, in|square, at|town hall, by|canal, "
    "on|meadow, near|church, at|mill"
)
WILDS = places(
    "in|forest, on|island, by|waterfall, in|valley, at|old tower, in|swamp, on|beach, by|lake, at|ruins, "
    "on|moor, in|gorge, on|cliff"
)
SHELTERS = places(
    "in|chapel, under|bridge, in|barn, at|mill, in|cave, in|boathouse, at|station, in|sheepfold, "
    "in|church, under|oak, in|tower, at|inn"
)
OUTINGS = places(
    "on|beach, in|forest, by|lake, in|park, on|hill, at|castle, by|river, on|meadow, at|zoo, on|farm, "
    "at|museum, in|orchard"
)
WATERS = places("by|lake, by|river, on|canal, in|harbour, by|pond, on|beach, at|pier, at|jetty, by|creek, in|bay")
LANDINGS = places(
    "under|bridge, behind|island, in|reeds, near|dam, at|mill, near|lighthouse, among|rocks, by|ferry, "
    "behind|boathouse, near|waterfall, "
    "at|lock, under|willow"
)
STALLS = places(
    "by|fountain, near|church, beside|well, under|lime tree, at|corner, by|town hall, in|square, "
    "near|bridge, by|gate, under|clock, near|pump"
)
DENS = places(
    "under|bridge, behind|barn, in|hedge, in|reeds, under|oak, behind|mill, in|woodpile, in|churchyard, "
    "by|stream, in|hollow tree, under|shed"
)
HIGH = places(
    "on|roof, in|apple tree, on|wall, on|chimney, in|oak, on|bridge, on|balcony, on|tower, on|lamp post, "
    "on|ledge, on|statue"
)
