"""Teach RASP programs, and test whether those that are short in RASP-L generalize in length (Zhou et al. 2023).

    python -m bench.rasp_teach [--steps 1200] [--processes 2] [--pictures FOLDER]

Each program is taught up to length 8 with several seeds, and tested up to 24. `ours` is the mean share of inputs of the
longest length that are right, for the programs that are expected to generalize, `peer` that of the others.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from bench.harness import parser, result, run_each, save_picture, say, sized
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.run.rasp_teach import Teach, teach

LENGTH, LONGEST = sized((8, 24), (1, 2))
SEEDS, STEPS, ROWS = sized((3, 1200, 32), (1, 1, 2))
SIZE = sized({"layers": 2, "width": 64, "heads": 4}, {"layers": 1, "width": 8, "heads": 1})


@dataclass(frozen=True)
class Task:
    """A program of the library, and its tokens."""

    file: str
    expects: bool
    """Whether the conjecture expects that it generalizes."""
    result: str | None = None
    alphabet: str | None = None

    @property
    def name(self) -> str:
        """Name of its s-op."""
        return self.result or self.file


TASKS = (
    Task("next_count", True),
    Task("mode", True, alphabet="abcdefgh"),
    Task("copy_unique", True),
    Task("next_sorted", True),
    Task("copy", False, alphabet="abcd"),
    Task("parity", False, "running_parity", "01"),
    Task("next_digit", False),
)[:: sized(1, 4)]
Found = dict[str, Any]


def main() -> None:
    """Teach all programs with all seeds, and draw accuracy by length."""
    arguments = parser("rasp_teach", __doc__)
    arguments.add_argument("--steps", type=int, default=STEPS, help="steps of each training")
    arguments.add_argument("--processes", type=int, default=2, help="trainings at a time")
    arguments.add_argument("--pictures", type=Path, default=Path("docs/images"), help="folder of the picture")
    given = arguments.parse_args()
    jobs = [(task, seed, given.steps) for task in TASKS for seed in range(SEEDS)]
    found = run_each(taught, jobs, given.processes)
    by_task = {task.name: found[place * SEEDS : (place + 1) * SEEDS] for place, task in enumerate(TASKS)}
    save_picture(given.pictures / "rasp-teach.svg", drawn(by_task))
    ends = {task.name: [run["right"][str(LONGEST)] for run in by_task[task.name]] for task in TASKS}
    ours, peer = (mean(mean(ends[task.name]) for task in TASKS if task.expects is expects) for expects in (True, False))
    result(
        "rasp_teach", f"share of inputs of length {LONGEST} right", round(ours, 4), round(peer, 4),
        peer_name="programs not expected to generalize", steps=given.steps, rows=ROWS, length=LENGTH, seeds=SEEDS,
        programs=by_task,
    )  # fmt: skip


def taught(task: Task, seed: int, steps: int) -> Found:
    """Return what one training came to: examples to 99 %, and shares of right inputs and values by length."""
    with tempfile.TemporaryDirectory() as folder:
        options = Teach(
            task.file, life=Path(folder), result=task.result, causal=True, alphabet=task.alphabet, length=LENGTH,
            longest=LONGEST, steps=steps, rows=ROWS, seed=seed, device="cpu", **SIZE,
        )  # fmt: skip
        found = teach(options)
    assert found.expected.generalizes is task.expects, found.expected.reason
    shares = ", ".join(f"{found.accuracy[size].inputs:.0%} at {size}" for size in (LENGTH, LONGEST))
    say(f"{task.name}, seed {seed}: {found.examples} examples to 99 %, {shares}")
    return {
        "examples": found.examples,
        "right": {str(size): round(one.inputs, 4) for size, one in found.accuracy.items()},
        "values": {str(size): round(one.values, 4) for size, one in found.accuracy.items()},
    }


def drawn(by_task: dict[str, list[Found]]) -> str:
    """Return the mean accuracy by length of each program, with the lowest and highest of its seeds."""
    panels = []
    for title, expects in (("Expected to generalize", True), ("Not expected to", False)):
        lines = [
            curve(task.name, by_task[task.name], COLORS[number])
            for number, task in enumerate(task for task in TASKS if task.expects is expects)
        ]
        lines.append(Series("longest trained", [(LENGTH, 0.0), (LENGTH, 1.0)], COLORS[5], "dashed"))
        panels.append(Panel(title, "length", "share of inputs right", lines, y_range=(0, 1)))
    note = f"Means of {SEEDS} seeds; the bands reach from the lowest to the highest."
    return picture("Does training find the program at all lengths?", panels, note)


def curve(name: str, runs: list[Found], color: str) -> Series:
    """Return the line of one program."""
    rows = {int(size): [run["right"][size] for run in runs] for size in runs[0]["right"]}
    points = [(float(size), mean(values)) for size, values in rows.items()]
    return Series(name, points, color, "line", [(min(values), max(values)) for values in rows.values()])


if __name__ == "__main__":
    main()
