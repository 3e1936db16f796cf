"""Pairs from a program: the model replies to small-world tasks several times, the checker scores, best meets worst.

Pairs of the model's own replies teach more than pairs of strangers' (Guo et al. 2024): what is rejected is what it
would have said. Where all its replies are wrong, the task's own reply is chosen; where all are right, a plausible
wrong one, made by program, is rejected.
"""

from typing import Any

from sayso.base.log import Progress
from sayso.reply.conversation import Replier
from sayso.sample.pick import Sampling
from sayso.text import world

FAMILIES = (*world.INSTRUCTION_FAMILIES, *world.INSTRUCTION_FAMILIES, *world.TALK_FAMILIES, *world.STORY_FAMILIES)
AT_ONCE = 64  # prompts replied to between two progress lines
MAX_TOKENS = 120


def world_pairs(replier: Replier, tasks: int, replies: int, seed: int) -> list[dict[str, Any]]:
    """Return a pair for each of `tasks` small-world tasks: {"prompt", "chosen", "rejected", "source"}."""
    drawn = [world.task(seed + 1, index, "train", FAMILIES[index % len(FAMILIES)]) for index in range(tasks)]
    pairs: list[dict[str, Any]] = []
    with Progress(tasks, "task") as line:
        for first in range(0, tasks, AT_ONCE):
            group = drawn[first : first + AT_ONCE]
            prompts = [list(task.prompt.messages) for task in group for _ in range(replies)]
            sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS, seed=seed + first)
            said = [reply.text for reply in replier.replies(prompts, sampling)]
            for number, task in enumerate(group):
                own = said[number * replies : (number + 1) * replies]
                pairs.append(_pair(task, own, seed + first + number))
            line.update(first + len(group))
    return pairs


def _pair(task: world.Task, replies: list[str], seed: int) -> dict[str, Any]:
    scored = sorted(replies, key=lambda reply: world.score(task.prompt, reply).value)
    worst, best = scored[0], scored[-1]
    low, high = world.score(task.prompt, worst).value, world.score(task.prompt, best).value
    if high < 1.0:
        best = task.reply
    elif low == high:
        worst = world.rejected(task, seed)
    return {"prompt": list(task.prompt.messages), "chosen": best, "rejected": worst, "source": "smallworld"}
