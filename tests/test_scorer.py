"""Reward models at work: the same score however many are asked for at once, and ensembles of several."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sayso.align import scorer
from sayso.align.rl.options import RLOptions, rewards_of
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import rewarded
from sayso.align.scorer import Scorer, open_scorer, scores_of
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import save_model

CONFIG = ModelConfig(vocab_size=300, layers=1, width=16, heads=2, kv_heads=2, head_size=8, mlp_width=24, context=96)
ASKED = [("the fox", "jumps " * n, {}) for n in (1, 9, 0, 4)] + [([{"role": "user", "content": "the fox"}], "dog", {})]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], 300)


def model(seed: int) -> Transformer:
    generator = torch.Generator().manual_seed(seed)
    return add_score(Transformer(CONFIG).initialize(generator).eval(), generator)


def test_scores_do_not_depend_on_what_else_is_asked(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, all at once or a few at a time, each prompt and reply has its score, in the order asked."""
    one = Scorer([model(0)], tokenizer)
    together = one(ASKED)
    assert together == pytest.approx([one([each])[0] for each in ASKED], rel=1e-4, abs=1e-5)
    monkeypatch.setattr(scorer, "AT_ONCE", 64)
    assert one(ASKED) == pytest.approx(together, rel=1e-4, abs=1e-5)
    assert scores_of(model(0), []).shape == (0,)


def test_an_ensemble_is_mean_least_or_cautious(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Of the members' scores, as opened from their folders."""
    for seed in range(3):
        save_model(model(seed), tokenizer, tmp_path / str(seed), {"stage": "reward"})
    folders = [tmp_path / str(seed) for seed in range(3)]
    each = np.array([open_scorer([folder])(ASKED) for folder in folders])
    assert open_scorer(folders)(ASKED) == pytest.approx(list(each.mean(0)))
    assert open_scorer(folders, combine="min")(ASKED) == pytest.approx(list(each.min(0)))
    cautious = each.mean(0) - 0.3 * each.var(0)
    assert open_scorer(folders, combine="cautious", caution=0.3)(ASKED) == pytest.approx(list(cautious))


def test_a_reply_that_does_not_fit_is_named(tokenizer: Tokenizer) -> None:
    """A reward model reads replies whole or not at all."""
    with pytest.raises(UserError, match="context of 96; number 1 has"):
        Scorer([model(0)], tokenizer)([*ASKED[:1], ("the fox", "x" * 200, {})])


def test_a_reward_model_is_named_like_any_reward(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Alone or as an ensemble of a life's models, with a weight; it is asked for many replies at once."""
    life = Life(tmp_path)
    for seed in range(2):
        save_model(model(seed), tokenizer, life.model(f"proxy-{seed}"), {"stage": "reward"})
    options = RLOptions(prompts="addition", life=tmp_path, device="cpu")
    one, least = rewards_of(options, ("model:proxy-1=0.5", "min:proxy-0,proxy-1"))
    assert (one.name, one.weight, least.name, least.weight) == ("proxy-1", 0.5, "proxy-0", 1.0)
    prompts = [Prompt(n, [{"role": "user", "content": str(asked)}], {}) for n, (asked, _, _) in enumerate(ASKED)]
    replies = [reply for _, reply, _ in ASKED]
    found = rewarded([one, least], prompts, replies)
    asked = [(prompt.messages, reply, {}) for prompt, reply in zip(prompts, replies, strict=True)]
    each = [open_scorer([life.model(f"proxy-{n}")])(asked) for n in range(2)]
    assert [got.total for got in found] == pytest.approx([0.5 * b + min(a, b) for a, b in zip(*each, strict=True)])
    with pytest.raises(UserError, match="The weight of a reward must be a number"):
        rewards_of(options, ("model:proxy-0=much",))
    with pytest.raises(UserError, match="Did you mean 'proxy-0'"):
        rewards_of(options, ("model:proxi-0",))
