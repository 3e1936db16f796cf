"""Random inputs for programs: takes a size, an alphabet and randomness, returns tokens and where the answer begins.

A next-token program gets a prompt and its answer, as in "What Algorithms can Transformers Learn?" (Zhou et al. 2023);
other programs get tokens of any kind, and are to be right at every position.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_letters, digits

from sayso.base.errors import UserError
from sayso.rasp.values import Value, check_one_type, shown

Drawn = tuple[list[Value], int]
"""Tokens, and the first position that counts."""
Draw = Callable[[random.Random, int, Sequence[Value]], Drawn]
PAIRS = ("()", "{}", "[]")
WRONG = 0.05  # share of the brackets that are drawn without regard to those before


@dataclass(frozen=True)
class Kind:
    """A kind of input."""

    draw: Draw
    """Draws one of a size; of an alphabet without `ends`."""
    alphabet: tuple[Value, ...] = ()
    """The usual one; () = that of the program."""
    ends: tuple[Value, ...] = ()
    """Tokens that it adds to the alphabet."""
    different: bool = False
    """Whether all tokens differ, so that an input has no more of them than the alphabet."""
    fixed: bool = False
    """Whether it has no other alphabet."""


def _uniform(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    return rng.choices(alphabet, k=size), 0


def _marked(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    return ["§", *rng.choices(alphabet, k=size)], 0


def _unique(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    return rng.sample(alphabet, size), 0


def _copy(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    tokens = rng.choices(alphabet, k=size)
    return [*tokens, "|", *tokens], size


def _unique_copy(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    tokens = rng.sample(alphabet, size)
    return [*tokens, "|", *tokens], size


def _sorted(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    tokens = rng.sample(alphabet, size)
    return [*tokens, "|", *sorted(tokens)], size  # type: ignore[type-var]


def _count(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    first = rng.randrange(len(alphabet) - size + 1)
    numbers = list(alphabet[first : first + size])
    return [numbers[0], numbers[-1], *numbers], 1


def _sum(rng: random.Random, size: int, _: Sequence[Value]) -> Drawn:
    one, other = (rng.randrange(10**size) for _ in range(2))
    text = f"{one:0{size}}"[::-1] + "+" + f"{other:0{size}}"[::-1] + "=" + f"{one + other:0{size + 1}}"[::-1]
    return list(text), 2 * size + 1


def _addition(rng: random.Random, size: int, _: Sequence[Value]) -> Drawn:
    return list("+".join(f"{rng.randrange(10**size):0{size}}" for _ in range(2))), 0


def _brackets(rng: random.Random, size: int, alphabet: Sequence[Value]) -> Drawn:
    """Draw brackets that close what is open, with a few mistakes; the alphabet has openers before their closers."""
    pairs = list(zip(alphabet[::2], alphabet[1::2], strict=True))
    found: list[Value] = []
    waiting: list[Value] = []
    for _ in range(size):
        if rng.random() < WRONG:
            found.append(rng.choice(alphabet))
        elif waiting and rng.random() < 0.5:
            found.append(waiting.pop())
        else:
            opener, closer = rng.choice(pairs)
            waiting.append(closer)
            found.append(opener)
    return found, 0


_MANY, _NUMBERS = tuple(digits + ascii_letters), tuple(range(100))
KINDS = {
    "uniform": Kind(_uniform),
    "marked": Kind(_marked, ends=("§",)),
    "unique": Kind(_unique, different=True),
    "copy": Kind(_copy, ends=("|",)),
    "unique-copy": Kind(_unique_copy, _MANY, ("|",), different=True),
    "sorted": Kind(_sorted, _MANY, ("|",), different=True),
    "count": Kind(_count, _NUMBERS, different=True),
    "sum": Kind(_sum, tuple(digits), ("+", "="), fixed=True),
    "addition": Kind(_addition, tuple(digits), ("+",), fixed=True),
    "brackets": Kind(_brackets),
}
"""Tokens of the alphabet; the same after "§"; all different; tokens, "|" and a copy, also of different ones, or these
in order; two numbers and those from one to the other; a sum of numbers of a size with the last digits first, or
without its result; brackets, most of them balanced."""
OF_PROGRAMS = {
    "hist_bos": "marked", "hist2_bos": "marked", "sort_bos": "marked", "sort_by_most_freq": "marked",
    "copy": "copy", "copy_unique": "unique-copy", "next_sorted": "sorted", "next_count": "count",
    "next_digit": "sum", "longsum": "addition",
    "dyck1_ptf": "brackets", "dyck2_ptf": "brackets", "dyck3_ptf": "brackets", "shuffle_dyck2": "brackets",
}  # fmt: skip
"""The kinds of input that programs of the library are made for, by their s-op; "uniform" for others."""


def brackets_of(mentioned: Sequence[Value]) -> list[Value]:
    """Return the brackets that a program mentions, each opener before its closer; all if it mentions none."""
    return [one for pair in PAIRS if set(pair) <= set(mentioned) for one in pair] or list("".join(PAIRS))


def check_alphabet(kind: str, alphabet: Sequence[Value]) -> None:
    """Raise `UserError` for an alphabet, without the tokens that a kind adds, of which it cannot draw inputs."""
    known = KINDS[kind]
    if not alphabet:
        besides = f" besides {' and '.join(map(shown, known.ends))}" if known.ends else ""
        raise UserError(f"An alphabet has one or more tokens{besides}; give some with --alphabet or --tokens.")
    if known.fixed and set(alphabet) != set(known.alphabet):
        raise UserError(f"Inputs of kind '{kind}' have the digits 0 to 9; omit --alphabet and --tokens.")
    if kind == "sorted":
        check_one_type(alphabet)


def check_size(kind: str, size: int, alphabet: Sequence[Value]) -> None:
    """Raise `UserError` if there is no input of a kind of this size."""
    if KINDS[kind].different and size > len(alphabet):
        raise UserError(
            f"The tokens of an input of kind '{kind}' all differ, so that with {len(alphabet)} tokens none has "
            f"{size:,}; lower --longest, or give more --tokens."
        )
    if kind == "brackets" and len(alphabet) % 2:
        raise UserError(f"An alphabet of brackets has pairs, such as '(){{}}'; got {len(alphabet)} tokens.")
