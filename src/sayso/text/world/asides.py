"""Asides: one or two sentences about somebody or something else, told in the middle of a plot.

They make a story fuller, and they make its questions honest: each brings more people, colours, counts, places and reasons,
so that an answer must be looked up. Their roles (d, e, v, j, u, i, o) never meet those of a plot.
"""

from __future__ import annotations

from .piece import Piece, colour, count, site, spot, who, why

HARVEST = (
    "Meanwhile {d} was {u}, picking {i} {e.s} because {o}.",
    "{d} was {u} that day and picked {i} {e.s}, because {o}.",
    "{d} was {u} as well. {d.he} picked {i} {e.s} because {o}.",
)
PICK = Piece(
    "pick", "d:person e:fruit u:tree~d i:num~e o:tocook~d", (HARVEST,),
    (*site("d", "u"), count("e", "i", "did {d} pick"), why("d", "o", "Why did {d} pick {e.s}?", "Why was {d} picking {e.s}?")),
)  # fmt: skip
DIG = Piece(
    "dig", "d:person e:roots u:tree~d i:num~e o:tocook~d", (tuple(s.replace("pick", "pull").replace("pulling", "pulling up").replace("pulled", "pulled up") for s in HARVEST),),
    (*site("d", "u"), count("e", "i", "did {d} pull up"), why("d", "o", "Why did {d} pull up {e.s}?", "Why was {d} pulling up {e.s}?")),
)  # fmt: skip
SORT = Piece(
    "sort", "d:person e:stuff u:room~d i:num~e o:tocount~d",
    ((
        "Meanwhile {d} was {u}, counting {i} {e.s} because {o}.",
        "{d} sat {u} and counted {i} {e.s}, because {o}.",
        "{d} was {u}. {d.he} counted {i} {e.s} because {o}.",
    ),),
    (*site("d", "u"), count("e", "i", "did {d} count"), why("d", "o", "Why did {d} count {e.s}?", "Why was {d} counting {e.s}?")),
)  # fmt: skip
STAND = Piece(
    "stand", "v:holder j:colour~v u:room~v e:stuff i:num~e",
    ((
        "{j.a} {v} stood {u}, with {i} {e.s} in it.",
        "There was {j.a} {v} {u}, and in it lay {i} {e.s}.",
        "Somebody had left {j.a} {v} {u}, with {i} {e.s} inside.",
    ),),
    (colour("v", "j"), spot("v", "u"), count("e", "i", "were in the {v}")),
)  # fmt: skip
REST = Piece(
    "rest", "d:actor v:goods j:colour~v u:room~d",
    ((
        "{d} was {u}, half asleep on {j.a} {v}.",
        "{d} rested {u} with {j.a} {v}.",
        "Only {d} was {u}, beside {j.a} {v}.",
    ),),
    (*site("d", "u"), colour("v", "j")),
)  # fmt: skip
LOOK_ON = Piece(
    "look on", "d:actor v:wear j:colour~v u:site~d e:yard i:num~e",
    ((
        "{d} was {u} with {i} {e.s}. {j.a} {v} hung there in the wind.",
        "Far off, {d} was {u} with {i} {e.s}, and {j.a} {v} hung on the fence.",
    ),),
    (*site("d", "u"), count("e", "i", "were with {d}"), colour("v", "j")),
)  # fmt: skip
PASSER = Piece(
    "passer", "d:person v:ride j:colour~v e:baked~d i:num~e",
    ((
        "{d} came past with {j.a} {v} and sold {i} {e.s}.",
        "Just then {d} went by with {j.a} {v} and brought {i} {e.s}.",
        "{d} passed the house with {j.a} {v}, and {i} {e.s} on it.",
    ),),
    (colour("v", "j"), who("e", "d", "passed with the {v}"), count("e", "i", "did {d} have")),
)  # fmt: skip

ASIDES = (PICK, DIG, SORT, SORT, STAND, REST, LOOK_ON, PASSER)
