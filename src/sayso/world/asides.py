"""Asides: a sentence or two about someone or something else, inserted in the middle of a plot.

They make a story richer and its questions harder: each adds people, colours, counts, places and reasons, so that an
answer must be looked up. An aside fits one kind of scene: at home, on the way, or in the field. Its roles (d, e, v, j,
u, i, o) never overlap those of a plot, but it may mention the plot's hero, a.
"""

from __future__ import annotations

from .piece import FIELD, HOME, WAY, Piece, colour, count, lines, site, spot, who, why

COOK = {
    "tocook": lines("""
        guests were coming
        @he wanted to make soup
        the pantry was empty
        @he had promised to bring supper
        there was a feast that night
        the cook was ill
        @he wanted to sell them
        @his family was hungry
        the birds wanted them too
        frost was on the way
        @he had nothing in the house
        @his aunt was fond of them
        """),
}
COUNT = {
    "tocount": lines("""
        @he liked quiet work
        it calmed @him
        @he wanted to be sure that none was missing
        @he was planning a game
        @he was bored
        they had to be sent away that night
        @he meant to give them away
        a friend had asked for them
        the old box had broken
        it helped @him to think
        @he wanted to learn to count
        the teacher had told @him to
        """),
}
WASH = {
    "todish": lines("""
        guests were coming
        they were full of dust
        @his mother had told @him to
        there had been a party
        @he had lost a game
        nobody else would do it
        the old ones were broken
        @he wanted to sell them
        @he wanted to earn a penny
        the cupboard had to be emptied
        they had stood in the cellar
        there was to be a feast
        """),
}
SELL = {
    "tosell": lines("""
        @he was saving for a violin
        @he had far too many
        @he needed a new roof
        the winter had been hard
        @his shop had burned down
        @he wanted to travel
        there was no room at home
        @he owed the miller money
        @he liked to talk to people
        @his daughter was getting married
        they would not keep
        @he was moving away
        """),
}


def _gather(name: str, did: str, doing: str, base: str, pool: str, place: str, *wordings: str) -> Piece:
    """Return an aside: somebody in a place does something with a number of things, for a reason."""
    beat = tuple(w.replace("DID", did).replace("DOING", doing) for w in wordings)
    reason, phrases = {
        "fruit": ("tocook", COOK),
        "dug": ("tocook", COOK),
        "stuff": ("tocount", COUNT),
        "peeled": ("tocook", COOK),
        "dishes": ("todish", WASH),
        "baked": ("tosell", SELL),
        "yard": ("tosell", SELL),
    }[pool]
    asks = (
        *site("d", "u"), count("e", "i", "did {d} " + base), colour("v", "j", "d"),
        why("d", "o", "Why did {d} " + base + " {e.s}?", "Why was {d} " + doing + " {e.s}?"),
    )  # fmt: skip
    return Piece(name, f"d:person e:{pool} u:{place}~d i:num~e v:wear j:colour~v o:{reason}~d", (beat,), asks, phrases)


AT_HOME = (
    "{d} heard nothing of it. {d.he} was {u}, DOING {i} {e.s} because {o}.",
    "Meanwhile {d} was {u}, DOING {i} {e.s} because {o}.",
    "In {j.a} {v}, {d} sat {u} and DID {i} {e.s}, because {o}.",
    "{d}, in {j.a} {v}, did not even look up. {d.he} was {u}, DOING {i} {e.s} because {o}.",
)
ON_THE_WAY = (
    "On the way {a} met {d}, who was {u}, DOING {i} {e.s} because {o}.",
    "{a} met {d}, who was {u} in {j.a} {v} and DID {i} {e.s} because {o}.",
    "{d} was {u} in {j.a} {v}, DOING {i} {e.s} because {o}. {a} said hello and went on.",
)
IN_THE_FIELD = (
    "Not far away {d} was {u}, DOING {i} {e.s} because {o}.",
    "{d}, in {j.a} {v}, was {u} at that time, DOING {i} {e.s} because {o}.",
    "{u}, {d} stood in {j.a} {v} and DID {i} {e.s}, because {o}.",
)
SLEEPER = Piece(
    "sleeper", "d:pet v:soft j:colour~v u:room~d",
    ((
        "{d} slept through it all {u}, on {j.a} {v}.",
        "Only {d} stayed calm. It was {u}, asleep on {j.a} {v}.",
        "{d} was {u}. It yawned on {j.a} {v} and went back to sleep.",
    ),),
    (*site("d", "u"), colour("v", "j")),
)  # fmt: skip
PEDLAR = Piece(
    "pedlar", "d:adult v:carts j:colour~v e:baked~d i:num~e",
    ((
        "Just then {d} came past with {j.a} {v} and {i} {e.s} on it.",
        "{d} went by with {j.a} {v} that carried {i} {e.s}.",
        "Outside {d} was pushing {j.a} {v} up the road, with {i} {e.s} on it.",
    ),),
    (colour("v", "j"), who("v", "d", "had the {v}", "came past with the {v}"), count("e", "i", "were on the {v}")),
)  # fmt: skip
LEFT = Piece(
    "left", "v:carts j:colour~v u:roadside~v e:fruit i:num~e",
    ((
        "{j.a} {v} stood {u}, and {i} {e.s} had fallen out of it.",
        "Somebody had left {j.a} {v} {u}, with {i} {e.s} inside.",
        "There was nobody about. Only {j.a} {v} stood {u}, with {i} {e.s} in it.",
    ),),
    (colour("v", "j"), spot("v", "u"), count("e", "i", "were with the {v}")),
)  # fmt: skip
PLAYER = Piece(
    "player", "d:child v:toy j:colour~v u:roadside~d e:yard i:num~e",
    ((
        "{d} was {u} with {j.a} {v}, and {i} {e.s} looked on.",
        "{d} played with {j.a} {v}. {d.he} was {u}, and {i} {e.s} looked on.",
        "There {u} was {d}, playing with {j.a} {v}, and {i} {e.s} looked on.",
    ),),
    (*site("d", "u"), colour("v", "j"), count("e", "i", "looked on")),
)  # fmt: skip

ASIDES: dict[tuple[str, ...], tuple[Piece, ...]] = {
    HOME: (
        _gather("count", "counted", "counting", "count", "stuff", "room", *AT_HOME),
        _gather("sort", "sorted", "sorting", "sort", "stuff", "room", *AT_HOME),
        _gather("peel", "peeled", "peeling", "peel", "peeled", "room", *AT_HOME),
        _gather("wash", "washed", "washing", "wash", "dishes", "room", *AT_HOME),
        SLEEPER, PEDLAR,
    ),
    WAY: (
        _gather("pick", "picked", "picking", "pick", "fruit", "grounds", *ON_THE_WAY),
        _gather("dig", "dug up", "digging up", "dig up", "dug", "grounds", *ON_THE_WAY),
        _gather("sell", "sold", "selling", "sell", "baked", "roadside", *ON_THE_WAY),
        _gather("trade", "sold", "selling", "sell", "yard", "roadside", *ON_THE_WAY),
        LEFT, PLAYER,
    ),
    FIELD: (
        _gather("harvest", "picked", "picking", "pick", "fruit", "grounds", *IN_THE_FIELD),
        _gather("pull", "pulled up", "pulling up", "pull up", "dug", "grounds", *IN_THE_FIELD),
        _gather("offer", "sold", "selling", "sell", "baked", "roadside", *IN_THE_FIELD),
        _gather("collect", "collected", "collecting", "collect", "stuff", "roadside", *IN_THE_FIELD),
        PEDLAR, PLAYER,
    ),
}  # fmt: skip
