"""The filters: the same distributions as transformers' processors, and settings that cannot work are refused."""

import math

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from sayso.base.errors import UserError
from sayso.sample import Request, Sampling, distribution, pick

ROWS, VOCABULARY = 16, 700


def random_logits(seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    """Logits [B, V] as uneven as a model's."""
    return torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * scale


def random_prompts(seed: int = 1) -> torch.Tensor:
    """Ids [B, 9] that have been said."""
    return torch.randint(VOCABULARY, (ROWS, 9), generator=torch.Generator().manual_seed(seed))


def ask(prompts: torch.Tensor, **settings: object) -> list[Request]:
    """One request a prompt, numbered, of one sampling."""
    sampling = Sampling(**{"seed": 0} | settings)
    return [Request(prompt, sampling, index) for index, prompt in enumerate(prompts.tolist())]


def reference(sampling: Sampling, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The distribution [B, V] after transformers' own processors, in our order."""
    chain = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.typical_p < 1:
        chain.append(TypicalLogitsWarper(sampling.typical_p))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        chain.append(MinPLogitsWarper(sampling.min_p))
    return chain(ids, logits.clone()).softmax(-1)


FILTERS = [
    {"temperature": 0.7},
    {"temperature": 1.6},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 40},
    {"temperature": 1.0, "top_k": 5000},
    {"temperature": 1.0, "top_p": 0.1},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 2.5, "top_p": 0.99},
    {"temperature": 1.0, "min_p": 0.05},
    {"temperature": 1.0, "min_p": 1.0},
    {"temperature": 1.0, "typical_p": 0.2},
    {"temperature": 1.0, "typical_p": 0.9},
    {"temperature": 0.8, "top_k": 60, "typical_p": 0.7},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.8},
    {"temperature": 0.8, "top_k": 60, "top_p": 0.95, "min_p": 0.02, "repetition_penalty": 1.1},
    {"temperature": 1.2, "top_k": 300, "typical_p": 0.9, "top_p": 0.9, "min_p": 0.05},
]


@pytest.mark.parametrize("settings", FILTERS, ids=str)
@pytest.mark.parametrize("scale", [0.3, 3.0, 20.0])
def test_distribution_equals_transformers(settings: dict[str, float], scale: float) -> None:
    """Each filter, and all together, give the distribution that transformers' processors give."""
    logits, ids = random_logits(scale=scale), random_prompts()
    requests = ask(ids, **settings)
    ours, theirs = distribution(logits, requests), reference(requests[0].sampling, ids, logits)
    assert torch.equal(ours > 0, theirs > 0)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_the_nucleus_of_a_flat_distribution_needs_more_than_the_likeliest() -> None:
    """However many tokens the nucleus has, it is that of transformers, rows with few and with many together."""
    scales = torch.tensor([0.01, 8.0, 2.0, 3.0])[:, None]
    logits = torch.randn(4, 9000, generator=torch.Generator().manual_seed(5)) * scales
    requests = ask(torch.zeros(4, 1, dtype=torch.long), temperature=1.0, top_p=0.9)
    theirs = TopPLogitsWarper(0.9)(None, logits.clone()).softmax(-1)
    ours = distribution(logits, requests)
    sizes = (ours > 0).sum(-1)
    assert sizes[0] > 4096 > sizes[2] > 128 > sizes[1]
    assert bool(((sizes - (theirs > 0).sum(-1)).abs() <= 1).all())  # the last digit of a sum of 9,000 terms
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def exclude_top(chances: list[float], threshold: float) -> list[float]:
    """XTC as llama.cpp has it: likeliest first, all that reach the threshold go but the last of them."""
    ranked = sorted(range(len(chances)), key=lambda token: -chances[token])
    reaching = [token for token in ranked if chances[token] >= threshold]
    kept = [0.0 if token in reaching[:-1] else chance for token, chance in enumerate(chances)]
    return [chance / sum(kept) for chance in kept]


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_xtc_leaves_out_all_but_the_least_likely_above_the_threshold(threshold: float, probability: float) -> None:
    """The distribution is that of brute force with XTC, as often as it strikes, and that without it otherwise."""
    logits, prompts = random_logits(scale=2.5), random_prompts()
    plain = distribution(logits, ask(prompts, temperature=0.9, min_p=0.01))
    ours = distribution(
        logits, ask(prompts, temperature=0.9, min_p=0.01, xtc_probability=probability, xtc_threshold=threshold)
    )
    struck = torch.tensor([exclude_top(row, threshold) for row in plain.double().tolist()])
    torch.testing.assert_close(ours, probability * struck + (1 - probability) * plain, rtol=1e-5, atol=1e-7)


def test_xtc_keeps_one_of_two_that_are_as_likely() -> None:
    """Of equally likely tokens one stays, so that something always goes where two reach the threshold."""
    [request] = ask(torch.zeros(1, 1, dtype=torch.long), temperature=1.0, xtc_probability=1.0, xtc_threshold=0.2)
    [chances] = distribution(torch.tensor([[1.0, 1.0, 1.0, -30.0]]), [request]).tolist()
    assert sum(chance > 0.9 for chance in chances) == 1


def test_greedy_is_the_likeliest_whatever_the_filters() -> None:
    """At temperature 0 only the edits of the logits count; the distribution has all at that token."""
    logits, prompts = random_logits(), random_prompts()
    requests = ask(prompts, temperature=0, top_p=0.1, typical_p=0.1, xtc_probability=1.0, xtc_threshold=0.01)
    wanted = logits.argmax(-1)
    assert pick(logits, requests).ids == wanted.tolist()
    assert torch.equal(distribution(logits, requests), torch.nn.functional.one_hot(wanted, VOCABULARY).float())


@pytest.mark.parametrize("temperature", [1e-30, 1e-60])
def test_a_tiny_temperature_is_greedy(temperature: float) -> None:
    """Dividing by almost nothing does not overflow."""
    logits = random_logits()
    assert pick(logits, ask(random_prompts(), temperature=temperature)).ids == logits.argmax(-1).tolist()


def test_half_precision_logits_are_filtered_in_full() -> None:
    """Logits of bfloat16 give the distribution of the same numbers in float32."""
    logits, requests = random_logits().bfloat16(), ask(random_prompts(), top_p=0.9, top_k=50, presence_penalty=0.5)
    assert torch.equal(distribution(logits, requests), distribution(logits.float(), requests))


def test_what_is_reported_is_the_models_own_distribution() -> None:
    """Log-probabilities, of the token and of the likeliest, are those before every setting; each row has its count."""
    logits, prompts = random_logits(), random_prompts()
    requests = ask(
        prompts, temperature=1.7, top_k=3, repetition_penalty=2.0, allowed_ids=(5, 6), logit_bias=((5, 3.0),)
    )
    asked = [None, 0, 1, 5] * (ROWS // 4)
    for request, count in zip(requests, asked, strict=True):
        request.sampling = Sampling(**vars(request.sampling) | {"logprobs": count})
    picked, own = pick(logits, requests), logits.log_softmax(-1)
    for row, (token, count) in enumerate(zip(picked.ids, asked, strict=True)):
        assert picked.logprobs[row] == pytest.approx(own[row, token].item(), abs=1e-5)
        best = own[row].topk(count or 0)
        assert list(picked.tops[row]) == best.indices.tolist()
        assert list(picked.tops[row].values()) == pytest.approx(best.values.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("typical_p", 0.0),
        ("typical_p", 1.5),
        ("repetition_penalty", 0.0),
        ("presence_penalty", math.nan),
        ("frequency_penalty", math.inf),
        ("xtc_probability", 1.2),
        ("xtc_threshold", 0.0),
        ("dry_multiplier", -1.0),
        ("dry_base", 0.5),
        ("dry_base", math.nan),
        ("dry_allowed_length", 0),
        ("dry_penalty_last_n", -1),
        ("min_tokens", -1),
        ("min_tokens", 201),
        ("max_tokens", 0),
        ("logprobs", -1),
    ],
)
def test_a_setting_that_cannot_work_is_refused(name: str, value: float) -> None:
    """The error names the setting, the rule, what was got, and a value that works."""
    with pytest.raises(UserError, match=rf"{name} must be .*; got {value:g}\."):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stop": ("a", "")}, "stop text must not be empty"),
        ({"logit_bias": ((3, 1.0), (3, 2.0))}, "logit_bias must be at most one number for each id"),
        ({"logit_bias": ((3, -math.inf),)}, "logit_bias must be finite numbers"),
        ({"logit_bias": ((-1, 1.0),)}, "logit_bias must have token ids of at least 0; got -1"),
        ({"allowed_ids": (4, -2)}, "allowed_ids must have token ids of at least 0; got -2"),
        ({"banned": ((),)}, "banned must be sequences of at least one id each"),
        ({"banned": ((1, -3),)}, "banned must have token ids of at least 0; got -3"),
    ],
)
def test_ids_and_texts_that_cannot_work_are_refused(settings: dict[str, object], said: str) -> None:
    """One sentence tells which."""
    with pytest.raises(UserError, match=said):
        Sampling(**settings)


@pytest.mark.parametrize(
    ("name", "value"), [("logit_bias", ((700, 1.0),)), ("allowed_ids", (3, 700)), ("banned", ((1, 700),))]
)
def test_an_id_beyond_the_vocabulary_is_refused(name: str, value: object) -> None:
    """It would stand for a token of the next row."""
    with pytest.raises(UserError, match=rf"{name} must have ids below the vocabulary size of 700; got 700"):
        pick(random_logits(), ask(random_prompts(), **{name: value}))
