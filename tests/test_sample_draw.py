"""The draw: tokens follow the distribution, and a row feels none beside it, whatever the settings."""

from dataclasses import replace
from random import Random

import pytest
import torch

from sayso.sample import Request, Sampling, distribution, draw, pick

ROWS, VOCABULARY = 16, 700
LEFT_OUT = float("-inf")


def random_logits(seed: int = 0) -> torch.Tensor:
    """Logits [B, V] as uneven as a model's."""
    return torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


class Counting(Random):
    """A generator that knows how often it was asked, and may always give one number."""

    def __init__(self, seed: int, number: float | None = None) -> None:
        super().__init__(seed)
        self.number, self.asked = number, 0

    def random(self) -> float:
        """Return the next number, or always the same."""
        self.asked += 1
        return super().random() if self.number is None else self.number


MIXED = [
    Sampling(temperature=0, seed=1),
    Sampling(temperature=0, repetition_penalty=1.5, seed=1),
    Sampling(temperature=0.7, seed=1),
    Sampling(temperature=1.3, top_k=7, seed=1),
    Sampling(temperature=1.0, top_k=300, top_p=0.99, seed=1),
    Sampling(temperature=1.0, top_p=0.5, seed=1),
    Sampling(temperature=1.0, typical_p=0.6, seed=1),
    Sampling(temperature=1.0, min_p=0.1, logprobs=3, seed=1),
    Sampling(temperature=1.1, xtc_probability=0.5, xtc_threshold=0.05, seed=1),
    Sampling(temperature=1.0, presence_penalty=1.0, frequency_penalty=0.5, seed=1),
    Sampling(temperature=1.0, dry_multiplier=2.0, dry_allowed_length=1, seed=1),
    Sampling(temperature=1.0, logit_bias=((3, 5.0), (4, -5.0)), seed=1),
    Sampling(temperature=1.0, allowed_ids=(3, 4, 5, 600), seed=1),
    Sampling(temperature=1.0, banned=((3,), (1, 2)), min_tokens=9, seed=1),
    Sampling(temperature=0.9, top_k=50, top_p=0.9, min_p=0.02, typical_p=0.9, repetition_penalty=1.1, seed=1),
    Sampling(temperature=0.9, top_p=0.9, xtc_probability=1.0, repetition_penalty=1.1, dry_multiplier=1.0, seed=1),
]


def mixed() -> list[Request]:
    """A request of each setting, on its way."""
    texts = Random(2)
    return [
        Request([texts.randrange(9) for _ in range(30)], sampling, row, frozenset({2}), ids=[1, 2, 1, 2, row])
        for row, sampling in enumerate(MIXED)
    ]


def test_a_row_is_the_same_alone_and_among_others_to_the_bit() -> None:
    """Rows of all settings in one batch: each row's distribution and its tokens are those it has alone."""
    together, others, logits = mixed(), mixed(), random_logits()
    chances = distribution(logits, together)
    for row, request in enumerate(others):
        assert torch.equal(distribution(logits[row : row + 1], [request])[0], chances[row])
    for turn in range(8):
        logits = random_logits(turn)
        picked = pick(logits, together)
        for row, (request, alone) in enumerate(zip(together, others, strict=True)):
            single = pick(logits[row : row + 1], [alone])
            assert (single.ids[0], single.tops[0]) == (picked.ids[row], picked.tops[row])
            request.ids.append(picked.ids[row])
            alone.ids.append(picked.ids[row])


def test_the_order_of_rows_does_not_matter() -> None:
    """Rows that change places take their tokens along."""
    order = Random(5).sample(range(ROWS), ROWS)
    logits, requests = random_logits(), mixed()
    picked = pick(logits, mixed()).ids
    assert pick(logits[order], [requests[row] for row in order]).ids == [picked[row] for row in order]


@pytest.mark.parametrize("sampling", MIXED[2::4])
def test_a_shared_setting_draws_what_an_equal_one_of_each_row_draws(sampling: Sampling) -> None:
    """The way for one setting object and the way for many give the same tokens."""
    logits = random_logits()
    shared = [Request([1, 2], sampling, row) for row in range(ROWS)]
    each = [Request([1, 2], replace(sampling), row) for row in range(ROWS)]
    assert torch.equal(distribution(logits, shared), distribution(logits, each))
    assert pick(logits, shared).ids == pick(logits, each).ids


def test_each_token_draws_once_and_a_greedy_one_never() -> None:
    """Where a generator stands follows from settings and number of tokens; `distribution` draws none."""
    requests = mixed()
    for request in requests:
        request.generator = Counting(request.index)
    distribution(random_logits(), requests)
    assert [request.generator.asked for request in requests] == [0] * ROWS
    pick(random_logits(), requests)
    assert [request.generator.asked for request in requests] == [int(row > 1) for row in range(ROWS)]


def test_pick_draws_exactly_from_the_distribution() -> None:
    """The token is where the running sum of the distribution passes the number drawn."""
    logits = random_logits()
    chances = distribution(logits, mixed()).double()
    marks = torch.tensor([[Random(f"1/{row}").random()] for row in range(ROWS)], dtype=torch.float64)
    heights = chances.cumsum(-1)
    wanted = torch.searchsorted(heights, marks * heights[:, -1:], right=True)[:, 0].tolist()
    assert pick(logits, mixed()).ids == wanted
    assert draw(chances.float(), mixed()).tolist()[2:] == wanted[2:]


@pytest.mark.parametrize(
    ("sampling", "rest"),
    [
        (Sampling(temperature=1.0, seed=3), 5),
        (Sampling(temperature=1.5, top_k=3, seed=3), 3),
        (Sampling(temperature=1.0, xtc_probability=0.4, xtc_threshold=0.15, seed=3), 5),
        (Sampling(temperature=1.0, presence_penalty=1.0, seed=3), 5),
    ],
    ids=["temperature", "top-k", "XTC", "presence"],
)
def test_draws_follow_the_distribution(sampling: Sampling, rest: int) -> None:
    """Over many draws every token comes as often as its probability says (chi-square, 99.99 %)."""
    logits, draws = torch.tensor([[2.0, 1.0, 0.0, -1.0, LEFT_OUT, 0.5]]), 10_000
    requests = [Request([0], sampling, row, ids=[1]) for row in range(draws)]
    picked = torch.tensor(pick(logits.expand(draws, -1), requests).ids)
    counts = torch.bincount(picked, minlength=6).double()
    expected = distribution(logits, requests[:1])[0].double() * draws
    likely = expected > 0
    assert likely.sum() == rest
    assert counts[~likely].sum() == 0
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 23.5  # at most 4 degrees of freedom


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_a_token_left_out_is_never_drawn(number: float) -> None:
    """The smallest and the largest draw land on tokens that the filters kept, also at the ends of the vocabulary."""
    logits = random_logits()
    logits[:, :50] = logits[:, -50:] = LEFT_OUT
    requests = mixed()[:12]  # without the one that allows only tokens that are left out here
    for request in requests:
        request.generator = Counting(0, number)
    kept = distribution(logits[:12], requests) > 0
    picked = pick(logits[:12], requests).ids
    assert bool(kept[torch.arange(12), picked].all())
