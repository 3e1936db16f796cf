"""Warnings about known failures of alignment, each with advice.

Takes the metrics of each step and returns warnings, each once per run. The baseline is the mean of the run's first
steps.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

_Figures = Mapping[str, float]
BASELINE = 3  # first steps, whose mean is the baseline
IN_A_ROW = 3  # consecutive steps that must look bad: a single odd batch is not a failure


@dataclass(frozen=True)
class Failure:
    """A known failure mode."""

    name: str
    needs: tuple[str, ...]
    """The metrics used. Checked when the last of them is reported, because evaluations are less frequent than steps."""
    bad: Callable[[_Figures, _Figures], bool]
    """Called with the baseline and the latest value of each metric."""
    message: str
    """Warning and advice; `{...}` are the latest metrics."""


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
        "Replies are getting long ({length:.0f} tokens): the reward may favor length; penalize overlong replies, or "
        "inspect the samples in the run's log.",
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
    _warned: set[str] = field(default_factory=set)

    iteration: int = -1
    """The last iteration whose metrics were checked; a resumed run does not check them again."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the warnings, JSON-ready, for a checkpoint."""
        return {
            "first": self._first,
            "latest": self._latest,
            "in_a_row": dict(self._in_a_row),
            "told": sorted(self._warned),
            "iteration": self.iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint; a missing entry is reset."""
        self._first = {name: list(values) for name, values in state.get("first", {}).items()}
        self._latest = dict(state.get("latest", {}))
        self._in_a_row, self._warned = Counter(state.get("in_a_row", {})), set(state.get("told", ()))
        self.iteration = state.get("iteration", -1)

    def check(self, figures: _Figures) -> list[str]:
        """Return the new warnings about the metrics of one step or evaluation."""
        self._latest |= figures
        for name, value in figures.items():
            first = self._first.setdefault(name, [])
            if len(first) < BASELINE:
                first.append(value)
        baseline = {name: fmean(values) for name, values in self._first.items()}
        warnings = []
        for failure in self.failures:
            if failure.name in self._warned or failure.needs[-1] not in figures:
                continue
            bad = baseline.keys() >= {*failure.needs} and failure.bad(baseline, self._latest)
            self._in_a_row[failure.name] = self._in_a_row[failure.name] + 1 if bad else 0
            if self._in_a_row[failure.name] == IN_A_ROW:
                self._warned.add(failure.name)
                warnings.append(failure.message.format(**self._latest))
        return warnings
