"""Warnings about runs that go wrong: each known failure is reported once, a healthy run never."""

import pytest

from sayso.train.watch import BASELINE, FAILURES, IN_A_ROW, Failure, Watch

HEALTHY = {
    "kl": 2.0,
    "entropy": 1.5,
    "length": 20.0,
    "ended": 0.98,
    "no_signal": 0.2,
    "chosen_reward": 0.3,
    "margin": 0.8,
    "accuracy": 0.8,
    "held_out_accuracy": 0.7,
    "length_accuracy": 0.55,
}
FAILING = {
    "kl": {"kl": 60.0},
    "entropy": {"entropy": 0.02},
    "length": {"length": 120.0},
    "ended": {"ended": 0.1},
    "signal": {"no_signal": 1.0},
    "chosen": {"chosen_reward": -9.0},
    "fit": {"accuracy": 0.99, "held_out_accuracy": 0.52, "length_accuracy": 0.4},
    "length_alone": {"held_out_accuracy": 0.62, "length_accuracy": 0.66},
}


def warnings_of(watch: Watch, figures: dict[str, float], times: int) -> list[str]:
    """Return all warnings about the same metrics, reported several times."""
    return [sentence for _ in range(times) for sentence in watch.check(figures)]


def test_a_healthy_run_has_no_warnings() -> None:
    """Metrics that do not change, or are missing, are no failure."""
    assert warnings_of(Watch(), HEALTHY, 20) == []
    assert warnings_of(Watch(), {"loss": 1.0}, 20) == []


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_each_failure_is_reported_once_if_it_lasts(failure: Failure) -> None:
    """After a few bad steps in a row there is one warning, with the metrics; fewer are ignored."""
    watch = Watch()
    assert warnings_of(watch, HEALTHY, BASELINE) == []
    bad = {**HEALTHY, **FAILING[failure.name]}
    assert warnings_of(watch, bad, IN_A_ROW - 1) == []
    assert warnings_of(watch, HEALTHY, 1) == []
    assert warnings_of(watch, bad, 3 * IN_A_ROW) == [failure.message.format(**bad)]


def test_metrics_may_be_reported_at_different_times() -> None:
    """A held-out metric is checked with the latest values of the others."""
    watch = Watch()
    warnings_of(watch, {"accuracy": 0.8}, BASELINE)
    warnings_of(watch, {"accuracy": 0.99}, 5)
    warnings = []
    for _ in range(IN_A_ROW):
        warnings += watch.check({"held_out_accuracy": 0.5})
        warnings += watch.check({"accuracy": 0.99})
    assert [sentence.split(":")[0] for sentence in warnings] == ["The model is overfitting the pairs"]


def test_the_evaluation_before_the_first_step_is_not_compared_with_later_steps() -> None:
    """The held-out accuracy before training is low, which is no sign of overfitting."""
    watch = Watch()
    watch.check({"held_out_accuracy": 0.5})
    assert warnings_of(watch, {"accuracy": 1.0}, 10) == []
    assert watch.check({"held_out_accuracy": 0.98}) == []
