"""Warnings of runs that go wrong: each known failure is told once, in words; a sound run is left alone."""

import pytest

from sayso.train.watch import BEGINNING, FAILURES, LATELY, Failure, Watch

SOUND = {
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
BROKEN = {
    "kl": {"kl": 60.0},
    "entropy": {"entropy": 0.02},
    "length": {"length": 120.0},
    "ended": {"ended": 0.1},
    "signal": {"no_signal": 1.0},
    "chosen": {"chosen_reward": -9.0},
    "fit": {"accuracy": 0.99, "held_out_accuracy": 0.52, "length_accuracy": 0.4},
    "length_alone": {"held_out_accuracy": 0.62, "length_accuracy": 0.66},
}


def seen(watch: Watch, figures: dict[str, float], times: int) -> list[str]:
    """All that is said while the same figures come again and again."""
    return [sentence for _ in range(times) for sentence in watch.see(figures)]


def test_a_sound_run_hears_nothing() -> None:
    """Figures that stay as they began, or that are not told at all, warn of nothing."""
    assert seen(Watch(), SOUND, 20) == []
    assert seen(Watch(), {"loss": 1.0}, 20) == []


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_each_failure_is_told_once_when_it_lasts(failure: Failure) -> None:
    """One odd step says nothing; after a few in a row one sentence comes, with figures and what to do, and no more."""
    watch = Watch()
    assert seen(watch, SOUND, BEGINNING) == []
    bad = {**SOUND, **BROKEN[failure.name]}
    assert seen(watch, bad, LATELY - 1) == []
    assert seen(watch, SOUND, 1) == []
    said = seen(watch, bad, 3 * LATELY)
    assert said == [failure.told.format(**bad)]


def test_figures_may_come_apart() -> None:
    """A held-out figure that comes now and then is weighed with the latest of the others."""
    watch = Watch()
    seen(watch, {"accuracy": 0.8}, BEGINNING)
    seen(watch, {"accuracy": 0.99}, 5)
    said = []
    for _ in range(LATELY):
        said += watch.see({"held_out_accuracy": 0.5})
        said += watch.see({"accuracy": 0.99})
    assert [sentence.split(":")[0] for sentence in said] == ["The model is overfitting the pairs"]


def test_a_judgement_before_the_first_step_is_no_failure() -> None:
    """What was held out and judged before anything was learned does not count against the steps that come after."""
    watch = Watch()
    watch.see({"held_out_accuracy": 0.5})
    assert seen(watch, {"accuracy": 1.0}, 10) == []
    assert watch.see({"held_out_accuracy": 0.98}) == []
