"""Loss spikes: a corrupt batch or a bad rate is detected, the noise of small batches is not."""

from dataclasses import asdict

import pytest
import torch

from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.loop import Diverged, Hooks, State, train
from sayso.train.loss_stats import FLOOR, SPREADS, LossStats
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

V, T = 50, 32
CONFIG = ModelConfig(vocab_size=V, layers=2, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=64, context=T)
CHAIN = torch.softmax(
    3 * torch.randn(V, V, generator=torch.Generator().manual_seed(9)), 1
)  # distribution of the next token


def text(step: int, rows: int, *, shuffled: bool = False) -> Batch:
    """Rows of a random Markov chain; its entropy is 1.2 nats per token."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(V, (rows, 1), generator=generator)
    for _ in range(T):
        ids = torch.cat((ids, torch.multinomial(CHAIN[ids[:, -1]], 1, generator=generator)), 1)
    targets = ids[:, 1:].clone()
    if shuffled:
        targets = targets.flatten()[torch.randperm(targets.numel(), generator=generator)].view(rows, T)
    return Batch(ids[:, :-1], targets, torch.zeros(rows, T, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, as a loss function of the loop."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh(rate: float = 1.0, seed: int = 0) -> State:
    """A state before its first step."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(seed))
    return State(model, make_optimizers(model, Rates().times(rate)))


@pytest.mark.parametrize("rows", [1, 8])
def test_a_healthy_run_has_no_spike(rows: int) -> None:
    """Not even with batches of a single row, whose losses differ by a nat."""
    losses: list[float] = []
    train(fresh(), lambda step: [text(step, rows)], loss_of, Schedule(150), Hooks(show=lambda s: losses.append(s.loss)))
    assert len(losses) == 150
    assert losses[-1] < 3


@pytest.mark.parametrize("rows", [4, 16])
def test_shuffled_targets_are_a_spike(rows: int) -> None:
    """A batch with the targets of other positions is detected once the model has learned a little."""
    state = fresh()
    with pytest.raises(Diverged) as found:
        train(state, lambda step: [text(step, rows, shuffled=step == 100)], loss_of, Schedule(200, decay=0.2))
    assert found.value.batch == 100
    assert state.step == 100


@pytest.mark.parametrize("begin", [0, 60], ids=["from the start", "later"])
def test_a_rate_a_hundred_times_too_high_is_found(begin: int) -> None:
    """Within a few dozen updates, before the loss becomes infinite."""
    state = fresh()
    train(state, lambda step: [text(step, 8)], loss_of, Schedule(begin, decay=0))
    high = State(state.model, make_optimizers(state.model, Rates().times(100)), step=begin, loss_stats=state.loss_stats)
    with pytest.raises(Diverged) as found:
        train(high, lambda step: [text(step, 8)], loss_of, Schedule(begin + 100, warmup=1, decay=0))
    assert found.value.loss < 1e6


def test_the_limit_follows_mean_and_spread() -> None:
    """Computed by hand, for many constant losses and many alternating ones; a low loss is never a spike."""
    calm = swings = LossStats()
    for step in range(2000):
        calm, swings = calm.after(2.0), swings.after(2.0 + (-1) ** step)
    assert calm.limit == pytest.approx(2 + SPREADS * FLOOR, rel=0.01)
    assert swings.limit == pytest.approx(2 + SPREADS * (2**0.5 + FLOOR), rel=0.05)
    assert LossStats().limit == float("inf")
    fallen = calm.after(0.1)
    assert fallen.limit > 0.1


def test_a_fall_does_not_widen_the_limit() -> None:
    """If the loss falls by six nats over a hundred steps, the limit falls with it."""
    falling = LossStats()
    for step in range(100):
        falling = falling.after(8 - 0.06 * step)
    assert falling.limit < 2 + 0.06 * 10 + SPREADS * (0.06 + 2 * FLOOR)


def test_loss_statistics_survive_json() -> None:
    """Saved and read back, the next limit is bitwise the same."""
    import json

    stats = LossStats().after(3.1).after(2.7).after(2.9)
    again = LossStats(**json.loads(json.dumps(asdict(stats))))
    assert again == stats
    assert again.after(2.0).limit == stats.after(2.0).limit
