"""Metrics of a canary and of a shadow: what this server has logged of them, and what the evidence is.

vLLM has no names for them, so they begin with `sayso:`; the labels are as in `metrics`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from sayso.feedback.canary import BAD, FAILED, GOOD, PREFERRED
from sayso.judge.canary import CanaryVerdict

_OUTCOMES = {GOOD: "good", BAD: "bad", PREFERRED: "preferred", FAILED: "failed"}
_LARGEST = 700.0  # log of the largest value that a gauge shows
Result = Literal["stored", "failed", "left_out"]


class CanaryMetrics:
    """Metrics of one comparison of a candidate with the current model; for any thread."""

    def __init__(self, models: Mapping[str, str]) -> None:
        """`models`: the name of the model of each arm."""
        self.registry = CollectorRegistry()
        text = "Conversations that began, by the model that they were assigned to."
        assigned = self._counter("canary_conversations", text)
        outcomes = self._counter("canary_outcomes", "Ratings and failures that were logged.", ["outcome"])
        self._assigned = {arm: assigned.labels(name, arm) for arm, name in models.items()}
        self._outcomes = {
            (arm, outcome): outcomes.labels(name, arm, said)
            for arm, name in models.items()
            for outcome, said in _OUTCOMES.items()
        }
        text = "Evidence about the candidate; equal models reach 20 with a probability of at most 5 %."
        self._evidence = Gauge("sayso:canary_e_value", text, ["evidence"], registry=self.registry)
        self._show(0.0, 0.0, 0.0)

    def logged(self, arm: str, outcome: float | None) -> None:
        """Count a conversation that began, or what came of one; a first request that failed is both."""
        if outcome in (None, FAILED):
            self._assigned[arm].inc()
        if outcome is not None:
            self._outcomes[arm, outcome].inc()

    def judged(self, verdict: CanaryVerdict) -> None:
        """Show the evidence of all servers of the store."""
        self._show(verdict.log_better, verdict.log_worse, verdict.log_mismatch)

    def _show(self, better: float, worse: float, mismatch: float) -> None:
        for name, log in (("better", better), ("worse", worse), ("mismatch", mismatch)):
            self._evidence.labels(name).set(math.exp(min(log, _LARGEST)))

    def _counter(self, kind: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"sayso:{kind}", text, ["model_name", "arm", *labels], registry=self.registry)


class ShadowMetrics:
    """Metrics of a model that answers unseen."""

    def __init__(self, name: str, waiting: Callable[[], float]) -> None:
        """`waiting`: returns how many replies wait for their shadow."""
        self.registry = CollectorRegistry()
        text = "Shown replies by what became of their shadow."
        replies = Counter("sayso:shadow_replies", text, ["model_name", "result"], registry=self.registry)
        results: Sequence[Result] = ("stored", "failed", "left_out")
        self._replies = {result: replies.labels(name, result) for result in results}
        text = "Shown replies that wait for their shadow."
        queue = Gauge("sayso:shadow_replies_waiting", text, ["model_name"], registry=self.registry)
        queue.labels(name).set_function(waiting)

    def answered(self, result: Result) -> None:
        """Count a reply."""
        self._replies[result].inc()
