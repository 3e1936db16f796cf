"""Pairs from a checker: samples several replies per small-world task, scores them, and pairs the best with the worst.

On-policy pairs train better than off-policy ones (Guo et al. 2024), because the model would give the rejected reply
itself. If no reply is correct, the task's reference reply is chosen; if all are correct, there is no pair.
"""

from collections.abc import Sequence
from typing import Any

from sayso import world
from sayso.base.log import Progress
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling

_FAMILIES = (*world.INSTRUCTION_FAMILIES, *world.INSTRUCTION_FAMILIES, *world.TALK_FAMILIES, *world.STORY_FAMILIES)
_AT_ONCE = 64  # tasks per batch, after each of which the progress is updated
_MAX_TOKENS = 120
TEMPERATURE = 0.7  # below 1, because errors that are only due to sampling are not informative


def world_pairs(
    replier: Replier, tasks: int, replies: int, seed: int, families: Sequence[str] = _FAMILIES
) -> list[dict[str, Any]]:
    """Return pairs from `tasks` small-world tasks, at most one each: {"prompt", "chosen", "rejected", "source"}."""
    all_tasks = [world.task(seed + 1, index, "train", families[index % len(families)]) for index in range(tasks)]
    pairs: list[dict[str, Any]] = []
    with Progress(tasks, "task") as line:
        for first in range(0, tasks, _AT_ONCE):
            group = all_tasks[first : first + _AT_ONCE]
            prompts = [list(task.prompt.messages) for task in group for _ in range(replies)]
            sampling = Sampling(temperature=TEMPERATURE, max_tokens=_MAX_TOKENS, seed=seed + first)
            texts = [reply.text for reply in replier.replies(prompts, sampling)]
            for number, task in enumerate(group):
                pairs += _pair(task, texts[number * replies : (number + 1) * replies])
            line.update(first + len(group))
    return pairs


def _pair(task: world.Task, replies: list[str]) -> list[dict[str, Any]]:
    """Return the pair of a task's replies, if any."""
    scored = sorted((world.score_reply(task.prompt, reply).value, reply) for reply in replies)
    (low, worst), (high, best) = scored[0], scored[-1]
    if low == 1.0:
        return []
    chosen = best if high == 1.0 else task.reply
    return [{"prompt": list(task.prompt.messages), "chosen": chosen, "rejected": worst, "source": "smallworld"}]
