"""Order of the training prompts: the n-th one is a pure function of n and the seed.

The rows of a file occur once per epoch, each epoch in its own order. A puzzle has an unlimited number of problems.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sayso.align.rl.prompts import Prompt, read_prompts
from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut, held_out_file, separate
from sayso.base.jsonl import BadRows
from sayso.batch.order import Order
from sayso.world.puzzles import MAKERS

PromptOrder = Callable[[int, int], list[Prompt]]
"""Returns `count` prompts, called with the number of the first one and the count."""


def open_prompt_order(
    name: str,
    sizes: tuple[int, ...],
    seed: int,
    most: int,
    held_out: float | Path | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None = None,
) -> tuple[PromptOrder, list[Prompt]]:
    """Return the order of the training prompts, and at most `most` held-out prompts.

    `name` is a puzzle, whose `sizes` alternate and whose val split is held out, or the path of a JSONL file. Rows
    without a prompt, or that fail `check`, are counted in `bad`. Raises `UserError` as `read_prompts` does, and for
    sizes with a file.
    """
    if name in MAKERS:
        held = _puzzle_held_out(name, sizes, seed, most, held_out, bad, check)
        return lambda first, count: [puzzle(name, sizes, seed, n, "train") for n in range(first, first + count)], held
    if sizes:
        raise UserError(f"--sizes applies only to a puzzle ({', '.join(MAKERS)}), not to '{name}'; omit it.")
    prompts, held = open_prompts(Path(name), held_out, seed, most, bad, check)
    order = Order(seed, len(prompts))
    return lambda first, count: [prompts[index] for _, index in order.items(first, count)], held[:most]


def open_prompts(
    path: Path,
    held_out: float | Path | None,
    seed: int,
    most: int | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None = None,
) -> tuple[list[Prompt], list[Prompt]]:
    """Return the training prompts of a file, and the held-out ones: another file, or some of them, by default a tenth.

    `most` limits the held-out prompts of another file or a share. No held-out prompt is trained on. Raises `UserError`
    if none are left to train on.
    """
    prompts = read_prompts(path, bad, check)
    if file := held_out_file(held_out):
        held = read_prompts(file, bad, check)
        train, _ = separate(prompts, [prompt.key for prompt in held], lambda prompt: prompt.key)
        if not train:
            bad.check()
            raise UserError(f"--held-out '{file}' contains all prompts, so none are left to train on; shorten it.")
        return train, held[:most]
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
        raise UserError(
            f"--held-out must be a number or a file for a puzzle, whose problems are unlimited; got {held_out:g}."
        )
    count = most if held_out is None else HoldOut(held_out).count(0, room=most)
    return [puzzle(name, sizes, seed, n, "val") for n in range(count)]


def puzzle(name: str, sizes: tuple[int, ...], seed: int, index: int, split: str) -> Prompt:
    """Return a problem of a puzzle as a prompt; the default size is 3."""
    sizes = sizes or (3,)
    problem = MAKERS[name](seed, index, split, sizes[index % len(sizes)])
    return Prompt(index + 1, problem.messages, problem.info)


def hold_out_prompts(prompts: Sequence[Prompt], seed: int, size: HoldOut) -> tuple[list[Prompt], list[Prompt]]:
    """Split prompts into training ones and distinct held-out ones, selected by the seed.

    All copies of a prompt are on the same side.
    """
    keys = list(dict.fromkeys(prompt.key for prompt in prompts))
    count = size.count(len(keys))
    selected = [keys[index] for _, index in Order(seed, len(keys)).items(0, count)]
    train, held = separate(prompts, selected, lambda prompt: prompt.key)
    distinct = {prompt.key: prompt for prompt in reversed(held)}.values()  # the first of equal ones
    return train, sorted(distinct, key=lambda prompt: prompt.number)
