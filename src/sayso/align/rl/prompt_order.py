"""Order of the training prompts: the n-th one is a pure function of n and the seed.

A file's rows come once an epoch, in an order of each epoch's own; a puzzle's problems have no end.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sayso.align.rl.prompts import Prompt, read_prompts
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.batch.order import Order
from sayso.world.puzzles import MAKERS

PromptOrder = Callable[[int, int], list[Prompt]]
"""Called with the first place and a count."""


def open_prompt_order(
    name: str,
    sizes: tuple[int, ...],
    seed: int,
    held: int,
    held_out: Path | None,
    bad: BadRows,
    check: Callable[[Prompt], object] | None = None,
) -> tuple[PromptOrder, list[Prompt]]:
    """Return training prompts, and at most `held` held-out ones.

    `name` is a puzzle's, whose `sizes` take turns and whose val split is held out, or a JSONL file's path, of which a
    tenth is set aside; a file `held_out` takes the place of either. Rows without a prompt, or that fail `check`, are
    counted in `bad`. Raises `UserError` as `read_prompts` does, and for sizes given with a file.
    """
    if name in MAKERS:
        judged = (
            read_prompts(held_out, bad, check)[:held]
            if held_out
            else [puzzle(name, sizes, seed, n, "val") for n in range(held)]
        )
        return lambda first, count: [puzzle(name, sizes, seed, n, "train") for n in range(first, first + count)], judged
    if sizes:
        raise UserError(f"--sizes are those of a puzzle ({', '.join(MAKERS)}); the prompts of '{name}' have none.")
    prompts = read_prompts(Path(name), bad, check)
    if held_out is not None:
        judged = read_prompts(held_out, bad, check)[:held]
    else:
        prompts, judged = hold_out_prompts(prompts, seed, held)
    order = Order(seed, len(prompts))
    return lambda first, count: [prompts[index] for _, index in order.items(first, count)], judged


def puzzle(name: str, sizes: tuple[int, ...], seed: int, index: int, split: str) -> Prompt:
    """Return one problem of a puzzle as a prompt; sizes not given are 3."""
    turns = sizes or (3,)
    problem = MAKERS[name](seed, index, split, turns[index % len(turns)])
    return Prompt(index + 1, problem.messages, problem.info)


def hold_out_prompts(prompts: Sequence[Prompt], seed: int, most: int) -> tuple[list[Prompt], list[Prompt]]:
    """Split prompts into training ones and held-out ones: a tenth, at most `most`, selected by the seed.

    Of different ones: a prompt that stands there several times is on one side, and judged by once.
    """
    places: dict[str, int] = {}
    for prompt in prompts:
        places.setdefault(prompt.key, len(places))
    held = min(most, len(places) // 10)
    drawn = {index for _, index in Order(seed, len(places)).items(0, held)} if held else set()
    judged = {prompt.key: prompt for prompt in reversed(prompts) if places[prompt.key] in drawn}
    kept = [prompt for prompt in prompts if prompt.key not in judged]
    return kept, sorted(judged.values(), key=lambda prompt: prompt.number)
