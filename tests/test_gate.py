"""The gate: each requirement passes, fails, or says what is missing; and its TOML file."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.judge.gate import BitsPerByte, Finding, Gate, Measured, Preference, Tasks, judge_gate, read_gate, verdict_of
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.statistics.significance import Comparison, compare_items

SAME = [1.0, 0.0] * 400
BITS = {"real": (1.50, 1.52)}


def compared(better: int = 0, worse: int = 0, n: int = 800) -> Comparison:
    """Return the comparison of a candidate that is right on some items more, and wrong on some more."""
    before = [0.0] * better + [1.0] * worse + SAME[: n - better - worse]
    after = [1.0] * better + [0.0] * worse + SAME[: n - better - worse]
    return compare_items(after, before)


def rate(low: float, high: float, n: int = 100) -> Estimate:
    return Estimate((low + high) / 2, 0.05, n, low, high)


def state(found: Measured, gate: Gate | None = None) -> dict[str, str]:
    return {one.requirement: one.state for one in judge_gate(gate or Gate(), found, "old")}


def test_a_candidate_that_is_nowhere_worse_passes() -> None:
    found = Measured({"a": compared(better=40, worse=20), "b": compared(worse=3)}, BITS, None)
    findings = judge_gate(Gate(), found, "old")
    assert {one.requirement: one.state for one in findings} == {"tasks": "passed", "bits per byte, real": "passed"}
    assert "No task of 2 is worse than with old; the mean differs by +1.1 points" in findings[0].said
    assert "would have been seen in 80 of 100 evaluations." in findings[0].said
    assert verdict_of(findings) == "passed"


def test_one_worse_task_is_enough_to_fail() -> None:
    """Even if the mean is better; the loss is named."""
    found = Measured({"good": compared(better=300), "safety": compared(worse=40, better=10)}, BITS, None)
    first = judge_gate(Gate(), found, "old")[0]
    assert (first.state, first.said) == ("failed", "Worse than old on safety by 3.8 points (2 tasks, Holm).")


def test_the_number_of_tasks_is_corrected_for() -> None:
    """What is a loss on one task is none among thirty."""
    lost = compared(worse=11, better=2)
    assert lost.p < 0.05
    assert state(Measured({"a": lost}, BITS, None))["tasks"] == "failed"
    many = {"a": lost, **{f"t{n}": compared(better=5, worse=5) for n in range(30)}}
    assert state(Measured(many, BITS, None))["tasks"] == "passed"


def test_too_few_items_are_not_enough_data() -> None:
    """With how many more it takes; none at all; and a wider margin."""
    few = Measured({"a": compared(better=2, worse=2, n=20)}, BITS, None)
    finding = judge_gate(Gate(), few, "old")[0]
    assert finding.state == "not enough data"
    assert "so that a loss of 5.0 is not excluded; about" in finding.said
    assert state(few, Gate(tasks=Tasks(margin=0.9)))["tasks"] == "passed"
    assert state(Measured({}, BITS, None))["tasks"] == "not enough data"


def test_as_many_items_as_asked_for_exclude_the_loss() -> None:
    """The number named is right if the mean stays as it is."""
    few = compared(better=2, worse=2, n=40)
    said = judge_gate(Gate(), Measured({"a": few}, BITS, None), "old")[0].said
    times = float(said.split("about ")[1].split(" times")[0])
    more, less = round(1.1 * times), round(0.8 * times)
    enough = compared(better=2 * more, worse=2 * more, n=40 * more)
    assert state(Measured({"a": enough}, BITS, None))["tasks"] == "passed"
    lacking = compared(better=2 * less, worse=2 * less, n=40 * less)
    assert state(Measured({"a": lacking}, BITS, None))["tasks"] == "not enough data"


def test_a_mean_that_is_worse_over_all_tasks_fails() -> None:
    """Though no task is by itself, after the correction; a mean beyond the margin names no number of items."""
    slight = {f"t{n}": compared(worse=8, better=3) for n in range(12)}
    findings = judge_gate(Gate(), Measured(slight, BITS, None), "old")
    assert (findings[0].state, "over all tasks together it is worse" in findings[0].said) == ("failed", True)
    low = judge_gate(Gate(), Measured({"a": compared(worse=3, better=1, n=20)}, BITS, None), "old")[0]
    assert low.state == "not enough data"
    assert "times as many" not in low.said


def test_a_candidate_that_is_better_for_certain_needs_no_more_items() -> None:
    assert state(Measured({"a": compared(better=15, n=30)}, BITS, None))["tasks"] == "passed"


@pytest.mark.parametrize(("after", "expected"), [(1.55, "passed"), (1.551, "failed"), (1.0, "passed")])
def test_bits_per_byte_may_grow_up_to_the_limit(after: float, expected: str) -> None:
    found = Measured({"a": compared()}, {"real": (1.5, after), "smallworld": (0.3, 0.3)}, None)
    assert state(found)["bits per byte, real"] == expected
    assert state(found)["bits per byte, smallworld"] == "passed"
    strict = Gate(bits_per_byte=BitsPerByte(real=9.0, smallworld=0.0))
    assert state(found, strict)["bits per byte, smallworld"] == "passed"
    assert state(Measured({"a": compared()}, {}, None))["bits per byte"] == "not enough data"


@pytest.mark.parametrize(
    ("low", "high", "optional", "required"),
    [
        (0.51, 0.7, "passed", "passed"),
        (0.3, 0.49, "failed", "failed"),
        (0.4, 0.6, "passed", "not enough data"),
        (0.5, 0.7, "passed", "not enough data"),
        (0.3, 0.5, "passed", "not enough data"),
    ],
)
def test_the_whole_interval_of_a_win_rate_must_be_above_one_half(
    low: float, high: float, optional: str, required: str
) -> None:
    found = Measured({"a": compared()}, BITS, rate(low, high))
    assert state(found)["preference"] == optional
    assert state(found, Gate(preference=Preference(required=True)))["preference"] == required


def test_a_judge_is_asked_for_only_if_one_is_required() -> None:
    found = Measured({"a": compared()}, BITS, None)
    assert "preference" not in state(found)
    needed = judge_gate(Gate(preference=Preference(required=True)), found, "old")[-1]
    assert (needed.state, needed.requirement) == ("not enough data", "preference")
    assert "run sayso judge old CANDIDATE" in needed.said


def test_the_verdict_is_that_of_the_worst_finding() -> None:
    passed, unknown, failed = (Finding("x", one, "") for one in ("passed", "not enough data", "failed"))
    assert verdict_of([passed, passed]) == "passed"
    assert verdict_of([passed, unknown]) == "not enough data"
    assert verdict_of([unknown, failed, passed]) == "failed"


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("[tasks]\nmargin = 0.02\n[preference]\nrequired = true\n[bits_per_byte]\nreal = 0\n")
    assert read_gate(path) == Gate(Tasks(margin=0.02), BitsPerByte(real=0), Preference(required=True))
    path.write_text("")
    assert read_gate(path) == Gate()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("tasks", "must be readable TOML"),
        ("[task]\nmargin = 0.1", "got 'task' in .* Did you mean 'tasks'"),
        ("tasks = 1", "A gate has the tables tasks, bits_per_byte, preference; got 'tasks'"),
        ("[tasks]\nmargn = 0.1", "has the requirements alpha, margin; got 'margn' in .* Did you mean 'margin'"),
        ("[tasks]\nmargin = 1", "'margin' of a gate must be a number between 0 and 1; got 1"),
        ("[tasks]\nalpha = 0", "'alpha' of a gate must be a number between 0 and 1; got 0"),
        ("[tasks]\nalpha = true", "'alpha' of a gate must be a number from 0; got True"),
        ("[bits_per_byte]\nreal = -0.1", "'real' of a gate must be a number from 0; got -0.1"),
        ("[bits_per_byte]\nreal = inf", "'real' of a gate must be a number from 0; got inf"),
        ("[bits_per_byte]\nreal = 'x'", "'real' of a gate must be a number from 0; got 'x'"),
        ("[preference]\nrequired = 1", "'required' of a gate must be true or false; got 1"),
    ],
)
def test_a_bad_gate_is_refused(text: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=rule):
        read_gate(path)
    with pytest.raises(UserError, match="must be readable TOML"):
        read_gate(tmp_path / "none.toml")
