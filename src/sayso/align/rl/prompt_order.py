"""Order of the training prompts: the n-th one is a pure function of n and the seed.

A file's rows come once an epoch, in an order of each epoch's own; a puzzle's problems have no end.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sayso.align.rl.prompts import Prompt, read_prompts
from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut, apart, held_out_file
from sayso.base.jsonl import BadRows
from sayso.batch.order import Order
from sayso.world.puzzles import MAKERS

PromptOrder = Callable[[int, int], list[Prompt]]
"""Called with the first place and a count."""


def open_prompt_order(
    name: str,
    sizes: tuple[int, ...],
    seed: int,
    most: int,
    held_out: float | Path | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None = None,
) -> tuple[PromptOrder, list[Prompt]]:
    """Return training prompts, and at most `most` held-out ones.

    `name` is a puzzle, whose `sizes` alternate and whose val split is held out, or the path of a JSONL file. Rows
    without a prompt, or that fail `check`, are counted in `bad`. Raises `UserError` as `read_prompts` does, and for
    sizes given with a file.
    """
    if name in MAKERS:
        judged = _puzzle_held_out(name, sizes, seed, most, held_out, bad, check)
        return lambda first, count: [puzzle(name, sizes, seed, n, "train") for n in range(first, first + count)], judged
    if sizes:
        raise UserError(f"--sizes are those of a puzzle ({', '.join(MAKERS)}); the prompts of '{name}' have none.")
    prompts, judged = open_prompts(Path(name), held_out, seed, most, bad, check)
    order = Order(seed, len(prompts))
    return lambda first, count: [prompts[index] for _, index in order.items(first, count)], judged


def open_prompts(
    path: Path,
    held_out: float | Path | None,
    seed: int,
    most: int | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None = None,
) -> tuple[list[Prompt], list[Prompt]]:
    """Return the training prompts of a file and at most `most` held-out ones: of another file, or a share or a number.

    A tenth by default.
    """
    prompts = read_prompts(path, bad, check)
    if file := held_out_file(held_out):
        return prompts, read_prompts(file, bad, check)[:most]
    assert not isinstance(held_out, Path)
    return hold_out_prompts(prompts, seed, HoldOut(0.1 if held_out is None else held_out, most))


def _puzzle_held_out(
    name: str,
    sizes: tuple[int, ...],
    seed: int,
    most: int,
    held_out: float | Path | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None,
) -> list[Prompt]:
    if file := held_out_file(held_out):
        return read_prompts(file, bad, check)[:most]
    assert not isinstance(held_out, Path)
    if held_out and held_out < 1:
        raise UserError(f"--held-out must be a number or a file for a puzzle, which has no end; got {held_out:g}.")
    number = most if held_out is None else min(most, int(held_out))
    return [puzzle(name, sizes, seed, n, "val") for n in range(number)]


def puzzle(name: str, sizes: tuple[int, ...], seed: int, index: int, split: str) -> Prompt:
    """Return one problem of a puzzle as a prompt; sizes not given are 3."""
    turns = sizes or (3,)
    problem = MAKERS[name](seed, index, split, turns[index % len(turns)])
    return Prompt(index + 1, problem.messages, problem.info)


def hold_out_prompts(prompts: Sequence[Prompt], seed: int, size: HoldOut) -> tuple[list[Prompt], list[Prompt]]:
    """Split prompts into training ones and distinct held-out ones, selected by the seed.

    All copies of a prompt are on one side.
    """
    places: dict[str, int] = {}
    for prompt in prompts:
        places.setdefault(prompt.key, len(places))
    count = size.count(len(places))
    drawn = {index for _, index in Order(seed, len(places)).items(0, count)} if count else set()
    kept, held = apart(prompts, drawn, lambda prompt: places[prompt.key])
    distinct = {prompt.key: prompt for prompt in reversed(held)}.values()  # the first of equal ones
    return kept, sorted(distinct, key=lambda prompt: prompt.number)
