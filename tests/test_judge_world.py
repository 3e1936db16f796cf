"""Small-world evaluation: reference replies score one, silence scores zero, and all models get the same tasks."""

from sayso import world
from sayso.judge.world import Messages, judge_world


def test_reference_replies_score_one() -> None:
    """In every family, with an interval."""
    known = {
        str([dict(m) for m in task.prompt.messages]): task.reply
        for family in world.FAMILIES
        for task in (world.task(3, index, "test", family) for index in range(4))
    }
    found = judge_world(lambda asked: [known[str(messages)] for messages in asked], n=4, seed=3)
    families = found.families()
    assert list(families) == list(world.FAMILIES)
    assert all(part.mean == 1.0 and part.n == 4 and part.low < 0.9 for part in families.values())
    assert found.mean(world.STORY_FAMILIES).mean == 1.0
    assert found.mean(world.STORY_FAMILIES).n == 4 * len(world.STORY_FAMILIES)


def test_empty_replies_score_zero() -> None:
    """For questions about a story; the answers have the checker's reasons."""
    found = judge_world(lambda asked: [""] * len(asked), families=world.STORY_FAMILIES, n=3)
    assert all(part.mean == 0 for part in found.families().values())
    assert all(answer.reasons and answer.reference for answer in found.answers)


def test_tasks_depend_only_on_the_seed() -> None:
    """Two evaluations with one seed have the same tasks in the same order; another seed differs."""
    asked: list[list[Messages]] = []

    def reply(conversations: list[Messages]) -> list[str]:
        asked.append(conversations)
        return ["yes"] * len(conversations)

    for seed in (0, 0, 1):
        judge_world(reply, n=2, seed=seed)
    assert asked[0] == asked[1] != asked[2]
