"""Pairs from a program: the model replies to small-world tasks several times, the checker scores, best meets worst.

Pairs of the model's own replies teach more than pairs of strangers' (Guo et al. 2024): what is rejected is what it
would have said. Where none of its replies is right, the task's own is chosen; where all are right, there is nothing
to prefer, and no pair.
"""

from collections.abc import Sequence
from typing import Any

from sayso import world
from sayso.base.log import Progress
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling

FAMILIES = (*world.INSTRUCTION_FAMILIES, *world.INSTRUCTION_FAMILIES, *world.TALK_FAMILIES, *world.STORY_FAMILIES)
AT_ONCE = 64  # prompts replied to between two progress lines
MAX_TOKENS = 120
TEMPERATURE = 0.7  # near what it says at its best: mistakes that only chance makes teach nothing


def world_pairs(
    replier: Replier, tasks: int, replies: int, seed: int, families: Sequence[str] = FAMILIES
) -> list[dict[str, Any]]:
    """Return pairs from `tasks` small-world tasks, at most one each: {"prompt", "chosen", "rejected", "source"}."""
    drawn = [world.task(seed + 1, index, "train", families[index % len(families)]) for index in range(tasks)]
    pairs: list[dict[str, Any]] = []
    with Progress(tasks, "task") as line:
        for first in range(0, tasks, AT_ONCE):
            group = drawn[first : first + AT_ONCE]
            prompts = [list(task.prompt.messages) for task in group for _ in range(replies)]
            sampling = Sampling(temperature=TEMPERATURE, max_tokens=MAX_TOKENS, seed=seed + first)
            said = [reply.text for reply in replier.replies(prompts, sampling)]
            for number, task in enumerate(group):
                own = said[number * replies : (number + 1) * replies]
                pairs += _pair(task, own)
            line.update(first + len(group))
    return pairs


def _pair(task: world.Task, replies: list[str]) -> list[dict[str, Any]]:
    """The pair that a task's replies make, if they make one."""
    scored = sorted((world.score(task.prompt, reply).value, reply) for reply in replies)
    (low, worst), (high, best) = scored[0], scored[-1]
    if low == 1.0:
        return []
    chosen = best if high == 1.0 else task.reply
    return [{"prompt": list(task.prompt.messages), "chosen": chosen, "rejected": worst, "source": "smallworld"}]
