"""The gate: each requirement passes, fails, or says what is missing; and its TOML file."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.judge.gate.findings import CaseAnswer, Finding, Measured, judge_gate, verdict_of
from sayso.judge.gate.rules import (
    Behaviour,
    BitsPerByte,
    Cases,
    Divergence,
    Gate,
    Memory,
    Preference,
    Speed,
    Tasks,
    read_gate,
)
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
    path.write_text("[cases]\nworse = 2\n[kl]\nmost = 0.2\n[speed]\nleast = 0.9\n[memory]\nmost = 1.1\n")
    limits = {"cases": Cases(worse=2), "kl": Divergence(0.2), "speed": Speed(0.9), "memory": Memory(1.1)}
    assert read_gate(path) == Gate(**limits)  # type: ignore[arg-type]
    path.write_text("")
    assert read_gate(path) == Gate()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("tasks", "must be readable TOML"),
        ("[task]\nmargin = 0.1", "got 'task' in .* Did you mean 'tasks'"),
        ("tasks = 1", "A gate has the tables tasks, bits_per_byte, preference, cases, .*; got 'tasks'"),
        ("[tasks]\nmargn = 0.1", "has the requirements alpha, margin; got 'margn' in .* Did you mean 'margin'"),
        ("[tasks]\nmargin = 1", "'margin' of a gate must be a number between 0 and 1; got 1"),
        ("[tasks]\nalpha = 0", "'alpha' of a gate must be a number between 0 and 1; got 0"),
        ("[tasks]\nalpha = true", "'alpha' of a gate must be a number from 0; got True"),
        ("[bits_per_byte]\nreal = -0.1", "'real' of a gate must be a number from 0; got -0.1"),
        ("[bits_per_byte]\nreal = inf", "'real' of a gate must be a number from 0; got inf"),
        ("[bits_per_byte]\nreal = 'x'", "'real' of a gate must be a number from 0; got 'x'"),
        ("[kl]\nmax = 1", r"\[kl\] of a gate has the requirements most; got 'max'"),
        ("[case]\nworse = 1", "got 'case' in .* Did you mean 'cases'"),
        ("[cases]\nfixed = 2", "'fixed' of a gate must be a share from 0 to 1; got 2"),
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


def answers(*pairs: tuple[bool | None, bool | None]) -> list[CaseAnswer]:
    """Return cases by whether the current model and the candidate answer them badly."""
    return [CaseAnswer(f"case {number}", *pair) for number, pair in enumerate(pairs, 1)]


@pytest.mark.parametrize(
    ("found", "rule", "expected", "said"),
    [
        (
            answers((True, False), (True, True), (False, False)),
            Cases(),
            "passed",
            "2 of 3 cases are answered well, for 1",
        ),
        (answers((True, False), (False, True)), Cases(), "failed", "worse: case 2."),
        (answers((True, False), (False, True)), Cases(worse=1), "passed", "1 are worse"),
        (answers((True, True)), Cases(), "passed", "0 of 1 cases are answered well, for 0"),
        (answers((True, True), (True, False)), Cases(fixed=0.6), "failed", "less than a share of 0.6"),
        (answers((True, False), (None, None)), Cases(), "not enough data", "1 more could not be checked"),
        (answers((None, None), (False, True)), Cases(), "failed", "worse: case 2."),
    ],
)
def test_every_case_is_fixed_or_no_worse(found: list[CaseAnswer], rule: Cases, expected: str, said: str) -> None:
    [finding] = judge_gate(Gate(cases=rule), Measured({"a": compared()}, BITS, None, cases=found), "old")[2:]
    assert (finding.requirement, finding.state) == ("cases", expected)
    assert said in finding.said


def test_many_worse_cases_are_named_up_to_five() -> None:
    found = Measured({"a": compared()}, BITS, None, cases=answers(*[(False, True)] * 7))
    assert "worse: case 1, case 2, case 3, case 4, case 5, ...." in judge_gate(Gate(), found, "old")[-1].said


def test_worse_behaviour_fails_though_tasks_are_better() -> None:
    """A loss on unsafe prompts is named; without a loss, the smallest one that would have been seen is."""
    safe = {"safe prompts answered": compared(better=20), "unsafe prompts refused": compared(worse=40, better=10)}
    found = Measured({"a": compared(better=300)}, BITS, None, behaviour=safe)
    finding = judge_gate(Gate(), found, "old")[-1]
    assert (finding.requirement, finding.state) == ("behaviour", "failed")
    assert "unsafe prompts refused by 3.8 points (2 measured, Holm)" in finding.said
    equal = Measured({"a": compared()}, BITS, None, behaviour={"right answers kept": compared(better=5, worse=5)})
    finding = judge_gate(Gate(), equal, "old")[-1]
    assert finding.state == "passed"
    assert "would have been seen in 80 of 100 evaluations" in finding.said


def test_behaviour_is_asked_for_only_if_it_is_required() -> None:
    needed = Gate(behaviour=Behaviour(required=True))
    none = Measured({"a": compared()}, BITS, None)
    assert "behaviour" not in state(none)
    assert "--suite behaviour" in judge_gate(needed, none, "old")[-1].said
    few = Measured({"a": compared()}, BITS, None, behaviour={"kept": compared(better=2, worse=2, n=20)})
    assert state(few)["behaviour"] == "passed"
    finding = judge_gate(needed, few, "old")[-1]
    assert finding.state == "not enough data"
    assert "A loss of 10.0 points is not excluded on kept: ask more items." in finding.said
    many = Measured({"a": compared()}, BITS, None, behaviour={"kept": compared(better=9, worse=9)})
    assert state(many, needed)["behaviour"] == "passed"


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.01, 0.09, "passed"), (0.11, 0.2, "failed"), (0.05, 0.11, "not enough data")]
)
def test_the_divergence_must_be_below_its_limit_with_its_whole_interval(low: float, high: float, expected: str) -> None:
    found = Measured({"a": compared()}, BITS, None, divergence=rate(low, high))
    assert "kl" not in state(found), "there is no limit by default"
    limit = Gate(kl=Divergence(most=0.1))
    assert state(found, limit)["kl"] == expected
    said = judge_gate(limit, found, "old")[-1].said
    assert ("times as many conversations would decide it" in said) == (expected == "not enough data")
    assert state(Measured({"a": compared()}, BITS, None), limit)["kl"] == "not enough data"


def test_speed_and_memory_are_limited_by_shares() -> None:
    found = Measured({"a": compared()}, BITS, None, speeds=(100.0, 80.0), bytes_held=(100.0, 120.0))
    assert not {"speed", "memory"} & {*state(found)}
    assert state(found, Gate(speed=Speed(least=0.8), memory=Memory(most=1.2))).items() >= {
        ("speed", "passed"),
        ("memory", "passed"),
    }
    strict = state(found, Gate(speed=Speed(least=0.81), memory=Memory(most=1.19)))
    assert (strict["speed"], strict["memory"]) == ("failed", "failed")
