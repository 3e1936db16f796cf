"""Losses of reward models, compared with brute force in float64, and their batches."""

import math
from itertools import combinations

import pytest
import torch

from sayso.base.errors import UserError
from sayso.batch.judged import Comparison, JudgedBatches, JudgedPrompt, collate
from sayso.loss.reward import RewardLoss, batch_losses, batch_scores, comparison_losses, rating_losses, reward_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score

CONFIG = ModelConfig(vocab_size=50, layers=1, width=16, heads=2, kv_heads=2, head_size=8, mlp_width=24, context=192)
RANKED = JudgedPrompt(
    [1, 2], [[3], [4, 5], [6, 7, 8]], [Comparison(0, 1, 0.5), Comparison(0, 2), Comparison(1, 2, tie=True)]
)
PAIR = JudgedPrompt([9], [[3, 3], [4]], [Comparison(1, 0)])
RATED = JudgedPrompt([5, 6, 7], [[1], [2, 2]], ratings=[1.0, None])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_three_outcomes_add_up_to_one() -> None:
    """The probabilities of won, lost and tied (Rao and Kupper 1967), for any scores and tie width."""
    better, worse = torch.randn(2, 20, dtype=torch.float64).unbind(0)
    none, every = torch.zeros(20, dtype=torch.bool), torch.ones(20, dtype=torch.bool)
    still = torch.zeros(20, dtype=torch.float64)
    won = (-comparison_losses(better, worse, still, none, 0.7)).exp()
    lost = (-comparison_losses(worse, better, still, none, 0.7)).exp()
    tied = (-comparison_losses(better, worse, still, every, 0.7)).exp()
    torch.testing.assert_close(won + lost + tied, torch.ones(20, dtype=torch.float64))


def test_comparisons_follow_the_formula_with_margins_and_ties() -> None:
    """Compared with the `math` module; a margin does not affect ties."""
    generator = torch.Generator().manual_seed(0)
    better, worse, margins = 2 * torch.randn(3, 30, dtype=torch.float64, generator=generator)
    ties = torch.arange(30) % 3 == 0
    expected = []
    for b, w, m, tie in zip(better.tolist(), worse.tolist(), margins.tolist(), ties.tolist(), strict=True):
        strength, other, theta = math.exp(b), math.exp(w), math.exp(0.4)
        if tie:
            both = (strength + theta * other) * (other + theta * strength)
            expected.append(-math.log((theta**2 - 1) * strength * other / both))
        else:
            expected.append(-math.log(sigmoid(b - w - m - 0.4)))
    found = comparison_losses(better, worse, margins, ties, 0.4)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_ratings_are_squared_error_or_cross_entropy() -> None:
    """Cross-entropy for good and bad."""
    scores = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    ratings = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    expected = [-math.log(sigmoid(0.3)), -math.log(1 - sigmoid(-1.2)), -math.log(1 - sigmoid(2.0))]
    torch.testing.assert_close(rating_losses(scores, ratings, "binary"), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(rating_losses(scores, ratings, "squared"), (scores - ratings) ** 2)


def test_every_prompt_has_the_same_weight() -> None:
    """Losses are averaged over a prompt's comparisons and over its ratings, then summed."""
    batch = collate([RANKED, PAIR, RATED])
    scores = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a, b, c, d, e, f, _ = scores.tolist()

    def won(x: float, y: float, margin: float = 0.0) -> float:
        return -math.log(sigmoid(x - y - 0.3 - margin)) + 0.02 * (x + y) ** 2

    theta = math.exp(0.3)
    tied = -math.log((theta**2 - 1) * sigmoid(b - c - 0.3) * sigmoid(c - b - 0.3)) + 0.02 * (b + c) ** 2
    expected = (won(a, b, 0.5) + won(a, c) + tied) / 3 + won(e, d) + (f - 1.0) ** 2
    found = batch_losses(scores, batch, RewardLoss(tie_width=0.3, centre=0.02))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_equal_scores_cost_ln_2_and_only_differences_matter() -> None:
    """Without centering, shifting all scores changes nothing."""
    batch, still = collate([PAIR]), RewardLoss(centre=0.0)
    assert batch_losses(torch.zeros(2), batch, still).item() == pytest.approx(math.log(2))
    scores = torch.tensor([0.4, -0.3])
    torch.testing.assert_close(batch_losses(scores, batch, still), batch_losses(scores + 5, batch, still))


def test_parts_of_a_batch_add_up_to_the_batch() -> None:
    """Loss, count and gradient do not depend on how prompts are split into parts."""
    model = add_score(Transformer(CONFIG).initialise(torch.Generator().manual_seed(0)))
    how = RewardLoss(tie_width=0.3)
    batch = JudgedBatches([RANKED, PAIR, RATED, PAIR], 4, 192, 0).batch(0)
    whole = reward_loss(model, batch, how)
    (expected,) = torch.autograd.grad(whole.loss, [model.blocks[0].mlp.up.weight])
    parts = [reward_loss(model, part, how) for part in batch.split(3)]
    assert sum(part.items for part in parts) == whole.items == 4
    (found,) = torch.autograd.grad(sum(part.loss for part in parts), [model.blocks[0].mlp.up.weight])
    torch.testing.assert_close(found, expected)
    assert [len(part.judged) for part in batch.split(3)] == [2, 1, 1]


def test_replies_are_documents_that_share_rows() -> None:
    """Each reply is read once, after its prompt, and has the same score as alone."""
    batch = collate([RANKED, PAIR, RATED])
    assert batch.pairs.tolist() == [[0, 1], [0, 2], [1, 2], [4, 3]]
    assert len(batch.ids) < len(batch.pairs.unique()), "several replies lie in a row"
    assert [batch.ids[batch.documents == number].tolist() for number in (2, 3)] == [[1, 2, 6, 7, 8], [9, 3, 3]]
    model = add_score(Transformer(CONFIG).initialise(torch.Generator().manual_seed(0)))
    alone = [
        batch_scores(model, collate([JudgedPrompt(one.prompt, [reply])]))
        for one in batch.judged
        for reply in one.replies
    ]
    torch.testing.assert_close(batch_scores(model, batch), torch.cat(alone))
    long = collate([JudgedPrompt([1], [[2] * 60, [3] * 9]), PAIR])
    again = [
        batch_scores(model, collate([JudgedPrompt(one.prompt, [reply])]))
        for one in long.judged
        for reply in one.replies
    ]
    assert len(long.ids) == 2
    torch.testing.assert_close(batch_scores(model, long), torch.cat(again))


def test_metrics_of_comparisons_exclude_ties() -> None:
    """Scores of both sides, their margin, and the accuracy."""
    model = add_score(Transformer(CONFIG).initialise(torch.Generator().manual_seed(0)))
    batch = collate([RANKED, PAIR])
    figures = reward_loss(model, batch, RewardLoss(tie_width=0.3)).figures
    scores = batch_scores(model, batch)
    chosen, rejected = scores[[0, 0, 4]], scores[[1, 2, 3]]
    torch.testing.assert_close(figures["margin"], chosen - rejected)
    assert figures["accuracy"].tolist() == (chosen > rejected).float().tolist()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (JudgedPrompt([], [[1], [2]], [Comparison(0, 1)]), "prompt 1 has an empty one"),
        (JudgedPrompt([1], [[1], []], [Comparison(0, 1)]), "prompt 1 has an empty one"),
        (JudgedPrompt([1], [[1], [2]]), "prompt 1 has neither"),
        (JudgedPrompt([1] * 200, [[1], [2]], [Comparison(0, 1)]), "prompt 1 has 201"),
    ],
)
def test_a_prompt_without_labels_is_refused(bad: JudgedPrompt, message: str) -> None:
    """The error has its number; so does one for an empty part or a prompt longer than the context."""
    with pytest.raises(UserError, match=message):
        JudgedBatches([PAIR, bad], 2, 192, 0)


def test_every_pair_of_a_ranking_is_a_comparison() -> None:
    """Four ranked replies give six comparisons with a total weight of one."""
    order = [Comparison(better, worse) for better, worse in combinations(range(4), 2)]
    batch = collate([JudgedPrompt([1], [[1], [2], [3], [4]], order)])
    assert batch.pair_weights.tolist() == pytest.approx([1 / 6] * 6)
