"""Picking a token: the same filters as transformers' processors, and draws that follow the distribution."""

from random import Random

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from sayso.base.errors import UserError
from sayso.sample.pick import narrow, penalise, pick
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

ROWS, VOCABULARY = 16, 700


def random_logits(seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    """Logits [B, V] as uneven as a model's."""
    return torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * scale


def random_prompts(seed: int = 1) -> torch.Tensor:
    """Ids [B, 9] that have been said."""
    return torch.randint(VOCABULARY, (ROWS, 9), generator=torch.Generator().manual_seed(seed))


def seen_in(ids: torch.Tensor) -> torch.Tensor:
    """The same ids as the mask that `pick` takes."""
    return torch.zeros(ROWS, VOCABULARY, dtype=torch.bool).scatter_(1, ids, True)


def requests(sampling: Sampling, prompts: list[list[int]]) -> list[Request]:
    """One request a prompt, numbered."""
    return [Request(prompt, sampling, index) for index, prompt in enumerate(prompts)]


def reference(sampling: Sampling, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The distribution [B, V] after transformers' own processors, in its order."""
    chain = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        chain.append(MinPLogitsWarper(sampling.min_p))
    return chain(ids, logits.clone()).softmax(-1)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7),
        Sampling(temperature=1.6),
        Sampling(temperature=1.0, top_k=1),
        Sampling(temperature=1.0, top_k=40),
        Sampling(temperature=1.0, top_k=5000),
        Sampling(temperature=1.0, top_p=0.1),
        Sampling(temperature=1.0, top_p=0.9),
        Sampling(temperature=2.5, top_p=0.99),
        Sampling(temperature=1.0, min_p=0.05),
        Sampling(temperature=1.0, min_p=1.0),
        Sampling(temperature=1.0, repetition_penalty=1.3),
        Sampling(temperature=1.0, repetition_penalty=0.8),
        Sampling(temperature=0.8, top_k=60, top_p=0.95, min_p=0.02, repetition_penalty=1.1),
    ],
    ids=str,
)
@pytest.mark.parametrize("scale", [0.3, 3.0, 20.0])
def test_distribution_equals_transformers(sampling: Sampling, scale: float) -> None:
    """Each filter, and all together, give the distribution that transformers' processors give."""
    logits, ids = random_logits(scale=scale), random_prompts()
    ours = narrow(logits, sampling, seen_in(ids)).softmax(-1)
    theirs = reference(sampling, ids, logits)
    assert torch.equal(ours > 0, theirs > 0)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_greedy_is_the_likeliest_after_the_penalty() -> None:
    """Temperature 0 takes the largest penalised logit and draws from no generator."""
    logits, ids = random_logits(), random_prompts()
    wanted = requests(Sampling(temperature=0, repetition_penalty=5.0, seed=0), ids.tolist())
    for request in wanted:
        request.generator = Random()  # of which nothing may be drawn
        request.generator.random = None
    assert pick(logits, wanted).ids == penalise(logits, 5.0, seen_in(ids)).argmax(-1).tolist()


def test_draws_follow_the_distribution() -> None:
    """Over many draws every token comes as often as its probability says (chi-square, 99.99 %)."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0, float("-inf"), 0.5]])
    draws = 20_000
    picked = torch.tensor(
        pick(logits.expand(draws, -1), requests(Sampling(temperature=1.0, seed=3), [[0]] * draws)).ids
    )
    counts = torch.bincount(picked, minlength=6).double()
    expected = logits[0].softmax(-1).double() * draws
    assert counts[4] == 0
    likely = expected > 0
    chi_square = ((counts - expected)[likely] ** 2 / expected[likely]).sum()
    assert chi_square < 23.5  # 4 degrees of freedom


class Edge(Random):
    """A generator that always draws one number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def random(self) -> float:
        """Return that number."""
        return self.number


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_a_token_left_out_is_never_drawn(number: float) -> None:
    """The smallest and the largest draw land on tokens that the filters kept, also at the ends of the vocabulary."""
    logits = random_logits()
    logits[:, :50] = logits[:, -50:] = float("-inf")
    sampling = Sampling(temperature=1.0, top_p=0.5, seed=0)
    wanted = requests(sampling, [[0]] * ROWS)
    for request in wanted:
        request.generator = Edge(number)
    picked = pick(logits, wanted).ids
    kept = narrow(logits, sampling) > float("-inf")
    assert bool(kept[torch.arange(ROWS), picked].all())


def test_a_row_draws_alone_what_it_draws_among_others() -> None:
    """A row's token depends on its logits and its generator, not on the rows beside it."""
    logits, sampling = random_logits(), Sampling(seed=7, top_p=0.9)
    together = pick(logits, requests(sampling, [[0]] * ROWS)).ids
    others = requests(sampling, [[0]] * ROWS)
    alone = [pick(logits[row : row + 1], others[row : row + 1]).ids[0] for row in range(ROWS)]
    assert together == alone


def test_a_tiny_temperature_is_greedy() -> None:
    """Dividing by almost nothing does not overflow."""
    logits = random_logits()
    picked = pick(logits, requests(Sampling(temperature=1e-30, seed=0), [[0]] * ROWS)).ids
    assert picked == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("max_tokens", 0),
    ],
)
def test_a_setting_that_cannot_work_is_refused(name: str, value: float) -> None:
    """The error names the setting, the rule, what was got, and a value that works."""
    with pytest.raises(UserError, match=rf"{name} must be .*; got {value}\."):
        Sampling(**{name: value})


def test_an_empty_stop_text_is_refused() -> None:
    """Every reply contains the empty text."""
    with pytest.raises(UserError, match="stop text must not be empty"):
        Sampling(stop=("a", ""))
