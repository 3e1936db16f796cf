"""Selection of replies: by a verifier, by a vote, and at random."""

from collections.abc import Sequence
from random import Random

import pytest

from sayso.align.improve.curriculum import read_curriculum
from sayso.align.improve.select import KeptReply, Sampled, SampledGroup, at_random, final_answer, verified, voted
from sayso.align.rl.prompts import Prompt
from sayso.base.errors import UserError


def group(number: int, *replies: tuple[str, float], level: float = 0.0, ended: bool = True) -> SampledGroup:
    """Return a group of replies with their rewards."""
    prompt = Prompt(number, [{"role": "user", "content": f"question {number}"}], {"digits": level})
    return SampledGroup(prompt, level, [Sampled(text, reward, ended) for text, reward in replies])


def texts(kept: Sequence[KeptReply]) -> list[tuple[int, str]]:
    """Return the number of the prompt and the text of each kept reply."""
    return [(one.prompt.number, one.reply.text) for one in kept]


def test_a_verifier_keeps_distinct_correct_replies_up_to_a_number():
    """In order of sampling; incorrect, truncated and empty ones are not kept."""
    groups = [
        group(1, ("a", 1), ("a", 1), ("b", 0), ("c", 1), ("d", 1)),
        group(2, ("a", 0.9)),
        group(3, ("a", 1), ended=False),
        group(4, (" ", 1), ("z", 2)),
    ]
    assert texts(verified(groups, 1.0, 2)) == [(1, "a"), (1, "c"), (4, "z")]
    assert texts(verified(groups, 0.9, 1)) == [(1, "a"), (2, "a"), (4, "z")]


def test_a_vote_keeps_the_answer_of_half_of_a_group():
    """A wrong majority is kept, a correct minority is not; without a majority nothing is."""
    groups = [
        group(1, ("so\n12", 0), ("then\n12", 0), ("13", 1)),
        group(2, ("1", 1), ("2", 0), ("3", 0)),
        group(3, ("44", 1), ("44", 1), ("45", 0), ("46", 0)),
    ]
    assert texts(voted(groups, 4)) == [(1, "so\n12"), (1, "then\n12"), (3, "44")]
    assert final_answer("first 3\nthen 4\n\n 7 \n") == "7"


def test_a_vote_drops_answers_of_unusual_length():
    """An answer much shorter than the others of its difficulty is dropped."""
    groups = [
        *(group(n, ("12345", 0), ("12345", 0), level=5) for n in range(3)),
        group(3, ("123", 1), ("123", 1), level=5),
        group(4, ("123456", 1), ("123456", 1), level=5),
        group(5, ("12", 1), ("12", 1), level=2),
    ]
    assert [number for number, _ in texts(voted(groups, 1))] == [0, 1, 2, 4, 5]


def test_the_control_keeps_replies_whatever_their_reward():
    """The requested number at random, distinct and limited per prompt too."""
    groups = [group(n, ("a", 1), ("b", 0), ("b", 0), ("c", 0)) for n in range(200)]
    kept = at_random(groups, 150, 1, Random(0))
    assert len(kept) == 150
    assert len({one.prompt.number for one in kept}) == 150
    correct = sum(one.reply.reward for one in kept)
    assert 20 < correct < 60, "a third of the distinct replies are correct"
    assert len(at_random(groups, 10_000, 2, Random(0))) == 400


def test_each_round_of_a_curriculum_adds_one_difficulty():
    """The first round has rows up to the first difficulty, each later round up to the next one."""
    prompts = [group(n, level=level).prompt for n, level in enumerate([1, 3, 4, 4, 7])]
    curriculum = read_curriculum("digits=3")
    rounds = [[p.number for p in curriculum.of_round(prompts, number)] for number in (1, 2, 3, 4)]
    assert rounds == [[0, 1], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert len(read_curriculum(None).of_round(prompts, 1)) == 5


@pytest.mark.parametrize("given", ["digits", "digits=many"])
def test_an_invalid_curriculum_is_an_error(given):
    """It must be FIELD=FIRST, and every row must have the field."""
    with pytest.raises(UserError, match="FIELD=FIRST"):
        read_curriculum(given)
    with pytest.raises(UserError, match="line 9"):
        read_curriculum("size=1").level(group(9).prompt)
