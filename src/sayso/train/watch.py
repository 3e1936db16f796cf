"""Warnings when a known failure of alignment starts, each with advice.

Takes the metrics of each step; returns sentences, each once per run. Abnormal is measured relative to the run's own
start, the mean of its first steps.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

_Figures = Mapping[str, float]
BEGINNING = 3  # steps whose mean is the baseline
LATELY = 3  # steps in a row that must look bad: a single odd batch is no failure


@dataclass(frozen=True)
class Failure:
    """A known failure mode of runs."""

    name: str
    needs: tuple[str, ...]
    """The metrics used. Checked when the last one arrives: periodic evaluations are stale in between."""
    bad: Callable[[_Figures, _Figures], bool]
    """Called with the metrics of the baseline and the current ones."""
    told: str
    """Warning and advice; `{...}` are current metrics."""


FAILURES = (
    Failure(
        "kl",
        ("kl",),
        lambda first, now: now["kl"] > max(20.0, 10 * first["kl"]),
        "KL to the reference grows fast ({kl:.1f} nats per reply): the reward is probably being hacked; raise the KL "
        "coefficient or lower --rate.",
    ),
    Failure(
        "entropy",
        ("entropy",),
        lambda first, now: now["entropy"] < 0.1 * first["entropy"],
        "The entropy has collapsed ({entropy:.3f} nats per token): all replies are alike and learning stops; "
        "lower --rate, raise --clip-high, or raise the KL coefficient.",
    ),
    Failure(
        "length",
        ("length",),
        lambda first, now: now["length"] > max(2.5 * first["length"], first["length"] + 16),
        "Replies grow long ({length:.0f} tokens): the reward may favor length; penalize overlong replies, or "
        "inspect the table of samples.",
    ),
    Failure(
        "ended",
        ("ended",),
        lambda first, now: now["ended"] < 0.5 * first["ended"],
        "Fewer replies end on their own ({ended:.0%}): penalize truncated replies, or raise --max-tokens.",
    ),
    Failure(
        "signal",
        ("no_signal",),
        lambda _, now: now["no_signal"] > 0.95,
        "Every reply of nearly every group has the same reward ({no_signal:.0%}), so there is nothing to learn from: "
        "use prompts that are neither too hard nor too easy, more replies per group, or a more fine-grained reward.",
    ),
    Failure(
        "chosen",
        ("chosen_reward", "margin"),
        lambda _, now: now["chosen_reward"] < -3.0 and now["margin"] > 0,
        "The chosen replies grow less likely too (reward {chosen_reward:.2f}), only less than the rejected ones: raise "
        "--nll or --beta, or lower --rate.",
    ),
    Failure(
        "fit",
        ("accuracy", "held_out_accuracy"),
        lambda _, now: now["accuracy"] > 0.95 and now["held_out_accuracy"] < 0.6,
        "The model is overfitting the pairs: it is right on {accuracy:.0%} of training pairs and on "
        "{held_out_accuracy:.0%} of held-out pairs; use more pairs, fewer epochs, or a lower --rate.",
    ),
    Failure(
        "length_alone",
        ("held_out_accuracy", "length_accuracy"),
        lambda _, now: now["held_out_accuracy"] <= now["length_accuracy"],
        "The reward model is right on {held_out_accuracy:.0%} of held-out pairs, and length alone on "
        "{length_accuracy:.0%}: it may only measure length; balance the lengths of chosen and rejected replies.",
    ),
)


@dataclass
class Watch:
    """The warnings of one run."""

    failures: tuple[Failure, ...] = FAILURES
    _first: dict[str, list[float]] = field(default_factory=dict)
    _latest: dict[str, float] = field(default_factory=dict)
    _in_a_row: Counter[str] = field(default_factory=Counter)
    _told: set[str] = field(default_factory=set)

    iteration: int = -1
    """The last iteration whose metrics were seen; repeated ones after a resume do not count twice."""

    def memory(self) -> dict[str, Any]:
        """Return the state of the warnings, JSON-ready, for a checkpoint."""
        return {
            "first": self._first,
            "latest": self._latest,
            "in_a_row": dict(self._in_a_row),
            "told": sorted(self._told),
            "iteration": self.iteration,
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Restore what `memory` returned; nothing if a checkpoint has none."""
        self._first = {name: list(values) for name, values in memory.get("first", {}).items()}
        self._latest = dict(memory.get("latest", {}))
        self._in_a_row, self._told = Counter(memory.get("in_a_row", {})), set(memory.get("told", ()))
        self.iteration = memory.get("iteration", -1)

    def see(self, figures: _Figures) -> list[str]:
        """Take the metrics of one step or evaluation; return new warnings."""
        self._latest |= figures
        for name, value in figures.items():
            beginning = self._first.setdefault(name, [])
            if len(beginning) < BEGINNING:
                beginning.append(value)
        first = {name: fmean(values) for name, values in self._first.items()}
        said = []
        for failure in self.failures:
            if failure.name in self._told or failure.needs[-1] not in figures:
                continue
            bad = first.keys() >= {*failure.needs} and failure.bad(first, self._latest)
            self._in_a_row[failure.name] = self._in_a_row[failure.name] + 1 if bad else 0
            if self._in_a_row[failure.name] == LATELY:
                self._told.add(failure.name)
                said.append(failure.told.format(**self._latest))
        return said
