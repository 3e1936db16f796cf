"""The losses of a reward model, equal to brute force in float64, and its batches."""

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
    """The probabilities of win, loss and tie sum to one (Rao and Kupper 1967), for any scores."""
    better, worse = torch.randn(2, 20, dtype=torch.float64).unbind(0)
    none, every = torch.zeros(20, dtype=torch.bool), torch.ones(20, dtype=torch.bool)
    margins = torch.zeros(20, dtype=torch.float64)
    won = (-comparison_losses(better, worse, margins, none, 0.7)).exp()
    lost = (-comparison_losses(worse, better, margins, none, 0.7)).exp()
    tied = (-comparison_losses(better, worse, margins, every, 0.7)).exp()
    torch.testing.assert_close(won + lost + tied, torch.ones(20, dtype=torch.float64))


def test_comparisons_are_the_formula_with_margin_and_ties() -> None:
    """Equal to Python's math, one comparison at a time; a tie ignores the margin."""
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
    """The loss of a binary rating is -log of its probability."""
    scores = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    ratings = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    expected = [-math.log(sigmoid(0.3)), -math.log(1 - sigmoid(-1.2)), -math.log(1 - sigmoid(2.0))]
    torch.testing.assert_close(rating_losses(scores, ratings, "binary"), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(rating_losses(scores, ratings, "squared"), (scores - ratings) ** 2)


def test_all_prompts_have_the_same_weight() -> None:
    """The loss is the sum over prompts of the mean over their comparisons, with centering, and over their ratings."""
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
    """The loss of a comparison with equal scores is ln 2; without centering, adding a constant changes nothing."""
    batch, loss = collate([PAIR]), RewardLoss(centre=0.0)
    assert batch_losses(torch.zeros(2), batch, loss).item() == pytest.approx(math.log(2))
    scores = torch.tensor([0.4, -0.3])
    torch.testing.assert_close(batch_losses(scores, batch, loss), batch_losses(scores + 5, batch, loss))


def test_parts_add_up_to_the_batch() -> None:
    """Loss, count and gradient of the parts add up to those of the batch; prompts are not split."""
    model = add_score(Transformer(CONFIG).initialize(torch.Generator().manual_seed(0)))
    loss = RewardLoss(tie_width=0.3)
    batch = JudgedBatches([RANKED, PAIR, RATED, PAIR], 4, 192, 0).batch(0)
    total = reward_loss(model, batch, loss)
    (expected,) = torch.autograd.grad(total.loss, [model.blocks[0].mlp.up.weight])
    parts = [reward_loss(model, part, loss) for part in batch.split(3)]
    assert sum(part.items for part in parts) == total.items == 4
    (found,) = torch.autograd.grad(sum(part.loss for part in parts), [model.blocks[0].mlp.up.weight])
    torch.testing.assert_close(found, expected)
    assert [len(part.judged) for part in batch.split(3)] == [2, 1, 1]


def test_replies_are_documents_that_share_rows() -> None:
    """Each reply is processed once, after its prompt, and has the score that it has alone."""
    batch = collate([RANKED, PAIR, RATED])
    assert batch.pairs.tolist() == [[0, 1], [0, 2], [1, 2], [4, 3]]
    assert len(batch.ids) < len(batch.pairs.unique()), "rows have several replies"
    assert [batch.ids[batch.documents == number].tolist() for number in (2, 3)] == [[1, 2, 6, 7, 8], [9, 3, 3]]
    model = add_score(Transformer(CONFIG).initialize(torch.Generator().manual_seed(0)))
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


def test_figures_are_of_comparisons_without_ties() -> None:
    """The scores of both replies, their margin, and the accuracy."""
    model = add_score(Transformer(CONFIG).initialize(torch.Generator().manual_seed(0)))
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
def test_an_invalid_prompt_is_an_error_with_its_number(bad: JudgedPrompt, message: str) -> None:
    """With an empty part, without comparisons and ratings, or longer than the context."""
    with pytest.raises(UserError, match=message):
        JudgedBatches([PAIR, bad], 2, 192, 0)


def test_the_comparisons_of_a_ranking_have_a_total_weight_of_one() -> None:
    """A ranking of four replies has six comparisons."""
    order = [Comparison(better, worse) for better, worse in combinations(range(4), 2)]
    batch = collate([JudgedPrompt([1], [[1], [2], [3], [4]], order)])
    assert batch.pair_weights.tolist() == pytest.approx([1 / 6] * 6)
