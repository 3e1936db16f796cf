"""A stack machine: its assembler, a plain interpreter of it, and the same machine as a next-token program.

The prompt is a program, one instruction a token, and "run"; each token that follows is what one step did, such as
"pushed 3" or "moved -4", and "swap" takes two of them. From these tokens alone each step finds the place in the program
(the sum of the moves), the depth of the stack (the sum of the changes), the instruction (looked up by position), and
what lies on the stack and in a cell (what was last written there). Numbers are 0 to size - 1 and wrap around.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sayso.base.errors import UserError, nearest
from sayso.rasp.machine.dialect import (
    Field,
    NextToken,
    Stream,
    Vocabulary,
    at_least,
    equals,
    gated,
    keys,
    position,
    total,
    where,
)

NEEDS = {
    "push": 0, "drop": 1, "dup": 1, "swap": 2, "add": 2, "sub": 2, "less": 2, "equal": 2, "load": 0, "store": 1,
    "jump": 0, "jump_if": 1, "print": 1, "halt": 0,
}  # fmt: skip
"""Name of an instruction -> how many numbers it needs on the stack."""
ADDRESSED = ("jump", "jump_if")
CELLED = ("load", "store")
EFFECTS = {
    "pushed": (1, 1, 0), "reduced to": (-1, 1, 0), "changed to": (0, 1, 0), "changed below to": (0, 1, 1),
    "stored": (-1, 0, 0), "printed": (-1, 0, 0), "dropped": (-1, 0, 0), "moved": (0, 0, 0), "branched": (-1, 0, 0),
    "halted": (0, 0, 0), "failed": (0, 0, 0),
}  # fmt: skip
"""What a step did -> how the depth changes, whether it writes to the stack, and how far below the top."""
CODES = {name: number for number, name in enumerate(EFFECTS, 1)}
BARE, MOVES = ("dropped", "halted", "failed"), ("moved", "branched")
RUN, STOPS = "run", ("halted", "failed")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a machine."""

    numbers: int = 256
    """How many numbers there are: 0 to this, less one."""
    instructions: int = 64
    """The longest program."""
    cells: int = 16

    def __post_init__(self) -> None:
        if min(self.numbers, self.instructions, self.cells) < 1:
            raise UserError("A stack machine has at least 1 number, 1 instruction and 1 cell.")


def assemble(text: str, sizes: Sizes | None = None) -> list[str]:
    """Return a program as the tokens of its instructions, followed by "run".

    A line has an instruction, or a label and ":"; a comment begins with "#". Raises `UserError` with the line.
    """
    sizes = sizes or Sizes()
    labels: dict[str, int] = {}
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if len(words) == 1 and words[0].endswith(":"):
            if words[0][:-1] in labels:
                raise UserError(f"The label '{words[0][:-1]}' is there twice (line {number}).")
            labels[words[0][:-1]] = len(lines)
        elif words:
            lines.append((number, words))
    if not 1 <= len(lines) <= sizes.instructions:
        raise UserError(f"A program has 1 to {sizes.instructions} instructions; got {len(lines)}.")
    program = [_instruction(number, words, labels, len(lines), sizes) for number, words in lines]
    if program[-1].split()[0] not in ("halt", "jump"):
        raise UserError(f"A program ends with halt or jump; got '{program[-1]}' (line {lines[-1][0]}).")
    return [*program, RUN]


def _instruction(line: int, words: list[str], labels: Mapping[str, int], count: int, sizes: Sizes) -> str:
    name, *rest = words
    place = f"(line {line})"
    if name not in NEEDS:
        raise UserError(f"There is no instruction '{name}'.{nearest(name, NEEDS)} {place}")
    limit = _limit(name, sizes)
    if len(rest) != (limit is not None):
        raise UserError(f"'{name}' takes {'no' if limit is None else 'one'} argument; got {len(rest)} {place}.")
    if limit is None:
        return name
    if name in ADDRESSED:
        if rest[0] not in labels:
            raise UserError(f"There is no label '{rest[0]}'.{nearest(rest[0], labels)} {place}")
        if labels[rest[0]] == count:
            raise UserError(f"The label '{rest[0]}' has no instruction after it {place}.")
        return f"{name} {labels[rest[0]]}"
    if not re.fullmatch(r"\d{1,9}", rest[0]):
        raise UserError(f"'{name}' takes a number; got '{rest[0]}' {place}.")
    if int(rest[0]) >= limit:
        raise UserError(f"'{name}' takes a number from 0 to {limit - 1}; got {rest[0]} {place}.")
    return f"{name} {int(rest[0])}"


def _limit(name: str, sizes: Sizes) -> int | None:
    """Return how many arguments an instruction may have, or None if it has none."""
    if name == "push":
        return sizes.numbers
    return sizes.instructions if name in ADDRESSED else sizes.cells if name in CELLED else None


def interpret(program: list[str], sizes: Sizes | None = None) -> Iterator[str]:
    """Yield the token of each step of a program from `assemble`, in plain Python; the last is "halted" or "failed"."""
    size = (sizes or Sizes()).numbers
    stack: list[int] = []
    cells: dict[int, int] = {}
    place = 0
    while True:
        name, _, rest = program[place].partition(" ")
        argument = int(rest or 0)
        if len(stack) < NEEDS[name]:
            yield "failed"
            return
        following = place + 1
        match name:
            case "push" | "dup" | "load":
                value = {"push": argument, "load": cells.get(argument, 0)}.get(name, stack[-1] if stack else 0)
                stack.append(value)
                yield f"pushed {value}"
            case "add" | "sub" | "less" | "equal":
                top, second = stack.pop(), stack.pop()
                both = {"add": second + top, "sub": second - top, "less": second < top, "equal": second == top}
                stack.append(int(both[name]) % size)
                yield f"reduced to {stack[-1]}"
            case "swap":
                stack[-2:] = stack[-1], stack[-2]
                yield f"changed below to {stack[-2]}"
                yield f"changed to {stack[-1]}"
            case "store":
                cells[argument] = stack.pop()
                yield f"stored {cells[argument]}"
            case "print":
                yield f"printed {stack.pop()}"
            case "drop":
                stack.pop()
                yield "dropped"
            case "jump" | "jump_if":
                taken = name == "jump" or stack.pop()
                following = argument if taken else following
                verb = "moved" if name == "jump" else "branched"
                yield f"{verb} {argument - place}" if taken else "dropped"
            case "halt":
                yield "halted"
                return
        place = following


def vocabulary(sizes: Sizes) -> Vocabulary:
    """Return the tokens of a machine with their fields."""
    tokens: dict[str, dict[str, int]] = {RUN: {}}
    for name, needs in NEEDS.items():
        fields = {"instruction": 1, "needs": needs, f"is {name}": 1}
        limit = _limit(name, sizes)
        tokens |= {f"{name} {number}": fields | {"argument": number} for number in range(limit or 0)}
        if limit is None:
            tokens[name] = fields
    for name, (change, writes, below) in EFFECTS.items():
        numbers = range(1 - sizes.instructions, sizes.instructions) if name in MOVES else range(sizes.numbers)
        for number in numbers if name not in BARE else [0]:
            move = number if name in MOVES else 0 if name in ("changed below to", *STOPS) else 1
            tokens[name if name in BARE else f"{name} {number}"] = {
                "effect": CODES[name], "value": number, "change": change, "writes": writes, "below": below,
                "stores": int(name == "stored"), "move": move,
            }  # fmt: skip
    return Vocabulary(tokens)


def stack_machine(sizes: Sizes | None = None) -> NextToken:
    """Return the machine as a program: given the tokens so far, what the next step does."""
    sizes = sizes or Sizes()
    value, below = Field("value"), Field("below")
    place, depth = total(Field("move")), total(Field("change"))
    # where a token belongs is -1 for those that are no instruction, or write nothing: no query is for it
    address = where(Field("instruction"), position, -1)
    needs, argument, *flags = keys(address).at(
        place, Field("needs"), Field("argument"), *(Field(f"is {name}") for name in NEEDS)
    )
    does = dict(zip(NEEDS, flags, strict=True))
    stack = keys(where(Field("writes"), depth - below, -1))
    (top,), (second,) = stack.at(depth, value), stack.at(depth - 1, value)
    before = keys(position)
    last_argument, last_second = before.at(position - 1, argument, second)
    cell = where(Field("stores"), last_argument, -1)
    found, content = keys(cell).at(argument, cell, value)
    loaded = gated(equals(found - argument, 0), content)

    plus, minus = top + second, second - top
    results = {
        "push": argument, "dup": top, "load": loaded, "store": top, "print": top,
        "add": plus - sizes.numbers * at_least(plus, sizes.numbers),
        "sub": minus + sizes.numbers * at_least(-minus, 1),
        "less": at_least(-minus, 1), "equal": equals(minus, 0),
        "swap": where(below, last_second, top),
        "jump": argument - place, "jump_if": gated(at_least(top, 1), argument - place),
    }  # fmt: skip
    effects: dict[str, Stream | int] = {
        **dict.fromkeys(("push", "dup", "load"), CODES["pushed"]),
        **dict.fromkeys(("add", "sub", "less", "equal"), CODES["reduced to"]),
        "swap": where(below, CODES["changed to"], CODES["changed below to"]),
        "jump_if": where(at_least(top, 1), CODES["branched"], CODES["dropped"]),
        "store": CODES["stored"], "print": CODES["printed"], "drop": CODES["dropped"], "jump": CODES["moved"],
        "halt": CODES["halted"],
    }  # fmt: skip
    enough = at_least(depth - needs, 0)
    effect, result = (_chosen(does, options) for options in (effects, results))
    fields = {"effect": where(enough, effect, CODES["failed"]), "value": gated(enough, result)}
    return NextToken(vocabulary(sizes), fields)


def _chosen(does: Mapping[str, Stream], options: Mapping[str, Stream | int]) -> Stream:
    """Return the option of the instruction that is done."""
    chosen: Stream | int = 0
    for name, option in options.items():
        chosen = chosen + (does[name] * option if isinstance(option, int) else gated(does[name], option))
    assert isinstance(chosen, Stream)
    return chosen
