"""Prompts and rewards of the user: valid ones are read, others refused with their line."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from sayso.align.rl.prompts import Prompt, read_prompts
from sayso.align.rl.rewards import RewardFunction, load_rewards, reward, rewarded
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows

PROMPT = Prompt(7, [{"role": "user", "content": "21+43="}], {"answer": "64", "puzzle": "addition"})
REWARDS = """
def right(prompt, reply, info):
    return reply == info["answer"]

def short(prompt, reply, info):
    return 1 / len(reply)

def broken(prompt, reply, info):
    return float("nan")

def text(prompt, reply, info):
    return "1"
"""


@pytest.fixture
def file(tmp_path):
    """A file of rewards."""
    path = tmp_path / "mine.py"
    path.write_text(REWARDS)
    return path


def test_rewards_of_a_file_and_a_module_are_summed_by_weight(file):
    """The parts are the rewards before their weights; the total is the weighted sum."""
    rewards = load_rewards([f"{file}:right", f"{file}:short=0.5", "sayso.world.puzzles:score=-2"])
    earned = reward(rewards, PROMPT, "64")
    assert earned.parts == {"right": 1.0, "short": 0.5, "score": 1.0}
    assert earned.total == pytest.approx(1 + 0.25 - 2)


@pytest.mark.parametrize(
    ("name", "reply", "message"),
    [
        ("short", "", "'short' raised ZeroDivisionError.*line 7"),
        ("broken", "64", "'broken' returned nan.*line 7"),
        ("text", "64", "'text' returned '1'.*line 7"),
    ],
)
def test_a_reward_that_fails_is_an_error_with_the_line(file, name, reply, message):
    """A reward that raises an exception, or does not return a finite number."""
    with pytest.raises(UserError, match=message):
        reward(load_rewards([f"{file}:{name}"]), PROMPT, reply)


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        1,
        np.int8(1),
        np.float16(1),
        np.float32(1),
        np.longdouble(1),
        np.array(1.0, np.float32),
        np.array(1),
        torch.tensor(1.0, requires_grad=True),
        torch.tensor(1, dtype=torch.bfloat16),
        torch.tensor(True),
        Fraction(1),
        Decimal(1),
    ],
    ids=repr,
)
def test_a_scalar_of_any_library_is_a_number(value):
    """Scalars of NumPy and torch are converted to a float."""
    earned = reward([RewardFunction("any", lambda *_: value)], PROMPT, "64")
    assert (type(earned.total), earned.total, type(earned.parts["any"])) == (float, 1.0, float)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1",
        np.str_("1"),
        1j,
        np.complex64(1),
        np.array([1.0]),
        torch.tensor([1.0]),
        [1.0],
        float("nan"),
        np.float32("inf"),
        np.array(np.nan),
        torch.tensor(float("nan")),
        Decimal("NaN"),
        10**400,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_values_than_finite_numbers_are_refused(value):
    """Strings, several numbers, complex and infinite ones; the error has the line."""
    with pytest.raises(UserError, match=r"finite number; 'any' returned .* line 7"):
        reward([RewardFunction("any", lambda *_: value)], PROMPT, "64")


def test_a_reward_that_modifies_its_arguments_changes_nothing_else():
    """Other rewards, later replies and the prompt itself are not affected."""
    prompt = Prompt(1, [{"role": "user", "content": "hi"}], {"answers": ["a"]})
    seen = []

    def modify(messages, reply, info):
        seen.append((messages[0]["content"], len(messages), list(info["answers"])))
        messages[0]["content"] = "modified"
        messages.append({"role": "assistant", "content": reply})
        info["answers"].clear()
        return 1.0

    rewards = [RewardFunction("first", modify), RewardFunction("second", modify)]
    rewarded(rewards, [prompt, prompt], ["x", "y"])
    reward(rewards, prompt, "z")
    assert seen == [("hi", 1, ["a"])] * 6
    assert prompt == Prompt(1, [{"role": "user", "content": "hi"}], {"answers": ["a"]})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "--reward is required"),
        (["score"], "file.py:function"),
        (["sayso.world.puzzles:score=x"], "WEIGHT"),
        (["sayso.world.puzzles:scor"], "score"),
        (["sayso.text.nowhere:score"], "could not be imported"),
        (["nowhere.py:score"], "could not be imported"),
        (["sayso.world.puzzles:score", "sayso.world.puzzles:score=2"], "different function names"),
    ],
)
def test_an_invalid_name_of_a_reward_is_an_error(names, message):
    """Missing, malformed, without such a function, or equal to another."""
    with pytest.raises(UserError, match=message):
        load_rewards(names)


def test_prompts_are_strings_or_messages(tmp_path):
    """A string becomes a message of the user; the other fields of a row are kept for the rewards."""
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "hi", "answer": 3}\n{"prompt": [{"role": "user", "content": "ho"}]}\n')
    first, second = read_prompts(path, BadRows())
    assert (first.messages, first.info) == ([{"role": "user", "content": "hi"}], {"answer": 3})
    assert (second.number, second.info) == (2, {})


def read_all(path):
    """Return the prompts of a file; a bad row is an error."""
    bad = BadRows()
    found = read_prompts(path, bad)
    bad.check()
    return found


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "has none"),
        ('{"prompt": "hi"}\n{"question": "hi"}\n', "p.jsonl:2: "),
        ('{"prompt": []}\n', "p.jsonl:1: "),
        ('{"prompt": [{"content": "hi"}]}\n', "p.jsonl:1: "),
        ('{"prompt": [{"role": "assistant", "content": "hi"}]}\n', "p.jsonl:1: .*must not end with"),
        ('{"prompt": "hi"}\n{"prompt": [{"role": "alien", "content": "hi"}]}\n', "p.jsonl:2: "),
        ('{"prompt": "hi"}\n{"prompt": [{"role": "user", "content": 3}]}\n', "p.jsonl:2: "),
    ],
)
def test_a_row_without_a_prompt_is_an_error_with_its_line(tmp_path, rows, message):
    """No prompt, no messages, no role, an unknown role, or a message of the assistant at the end."""
    path = tmp_path / "p.jsonl"
    path.write_text(rows)
    with pytest.raises(UserError, match=message):
        read_all(path)


def test_a_missing_file_of_prompts_is_an_error(tmp_path):
    """It says how to write one."""
    with pytest.raises(UserError, match="sayso puzzles"):
        read_prompts(tmp_path / "none.jsonl", BadRows())
