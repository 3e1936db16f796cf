"""Warnings in words when a known failure of alignment starts, each with what to do about it.

The figures of each step enter; sentences leave, each once a run. What is abnormal is measured against the run's own
beginning, the mean of its first steps.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

Figures = Mapping[str, float]
BEGINNING = 3  # steps whose mean is the beginning
LATELY = 3  # steps in a row that must look bad: one odd batch is no failure


@dataclass(frozen=True)
class Failure:
    """A way in which runs are known to fail."""

    name: str
    needs: tuple[str, ...]
    """The figures that tell. Weighed when the last comes: what is judged at intervals is stale between."""
    bad: Callable[[Figures, Figures], bool]
    """Called with the figures of the beginning and those of now."""
    told: str
    """What is said and what to do; `{...}` are figures of now."""


FAILURES = (
    Failure(
        "kl",
        ("kl",),
        lambda first, now: now["kl"] > max(20.0, 10 * first["kl"]),
        "The KL to the reference runs away ({kl:.1f} nats a reply): the reward is likely being fooled; raise the KL "
        "coefficient or lower --rate.",
    ),
    Failure(
        "entropy",
        ("entropy",),
        lambda first, now: now["entropy"] < 0.1 * first["entropy"],
        "The entropy has collapsed ({entropy:.3f} nats a token): all replies are alike and nothing more is learned; "
        "lower --rate, raise --clip-high, or raise the KL coefficient.",
    ),
    Failure(
        "length",
        ("length",),
        lambda first, now: now["length"] > max(2.5 * first["length"], first["length"] + 16),
        "Replies grow long ({length:.0f} tokens): the reward may pay for length; shape it for overlong replies, or "
        "look at the table of samples.",
    ),
    Failure(
        "ended",
        ("ended",),
        lambda first, now: now["ended"] < 0.5 * first["ended"],
        "Fewer replies end by themselves ({ended:.0%}): give those that are cut a penalty, or raise --max-tokens.",
    ),
    Failure(
        "signal",
        ("no_signal",),
        lambda _, now: now["no_signal"] > 0.95,
        "Every reply of nearly every group has the same reward ({no_signal:.0%}), so there is nothing to learn from: "
        "take prompts that are neither too hard nor too easy, more replies a group, or a reward with more steps.",
    ),
    Failure(
        "chosen",
        ("chosen_reward", "margin"),
        lambda _, now: now["chosen_reward"] < -3.0 and now["margin"] > 0,
        "The chosen replies grow less likely too (reward {chosen_reward:.2f}), only less so than the rejected: raise "
        "--nll or --beta, or lower --rate.",
    ),
    Failure(
        "fit",
        ("accuracy", "held_out_accuracy"),
        lambda _, now: now["accuracy"] > 0.95 and now["held_out_accuracy"] < 0.6,
        "The pairs are learned by heart: right on {accuracy:.0%} of those trained on and on {held_out_accuracy:.0%} of "
        "those held out; take more pairs, fewer passes, or a lower --rate.",
    ),
    Failure(
        "length_alone",
        ("held_out_accuracy", "length_accuracy"),
        lambda _, now: now["held_out_accuracy"] <= now["length_accuracy"],
        "The reward model is right on {held_out_accuracy:.0%} of held-out pairs and length alone on "
        "{length_accuracy:.0%}: it may know only length; balance the lengths of chosen and rejected replies.",
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
    """The last iteration whose figures were seen; those of one that is read again after a resume do not count twice."""

    def memory(self) -> dict[str, Any]:
        """Return all that was seen so far, JSON-ready, for a checkpoint."""
        return {
            "first": self._first,
            "latest": self._latest,
            "in_a_row": dict(self._in_a_row),
            "told": sorted(self._told),
            "iteration": self.iteration,
        }

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on from what `memory` returned; from nothing where a checkpoint has none."""
        self._first = {name: list(values) for name, values in memory.get("first", {}).items()}
        self._latest = dict(memory.get("latest", {}))
        self._in_a_row, self._told = Counter(memory.get("in_a_row", {})), set(memory.get("told", ()))
        self.iteration = memory.get("iteration", -1)

    def see(self, figures: Figures) -> list[str]:
        """Take the figures of one step or judgement; return what is to be said now."""
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
