"""Spans have the log-probabilities of the model's plain forward pass, however they are grouped and batched."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.judge.likelihood import spans
from sayso.judge.likelihood.spans import Span, score_spans
from sayso.model import ModelConfig, Transformer

LLAMA = ModelConfig(50, 2, 16, 2, 1, 8, 32, context=24, qk_norm="none", tie_embeddings=True)
GPT2 = replace(LLAMA, kv_heads=2, positions="learned", norm="layer", mlp="gelu", biases=("qkv", "out", "mlp"))
SHAPES = {
    "llama": LLAMA,
    "gpt2": GPT2,
    "windows": replace(LLAMA, windows=(3, 0)),
    "n-grams": replace(LLAMA, ngrams=(2, 3), ngram_rows=64),
    "shift": replace(LLAMA, shift=3),
    "capped": replace(LLAMA, attention_cap=5.0, logit_cap=5.0),
}


def network(shape: ModelConfig) -> Transformer:
    """Return a Transformer with random weights, large enough for context to matter."""
    torch.manual_seed(0)
    model = Transformer(shape).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return model


LONG = [3] * 20
MODELS = {name: network(shape) for name, shape in SHAPES.items()}


def alone(model: Transformer, span: Span) -> tuple[float, bool]:
    """Return the score of a span by one plain forward pass over its last tokens."""
    ids = list(span.ids)[-(model.config.context + 1) :]
    count = min(len(span.ids) - span.start, len(ids) - 1)
    with torch.inference_mode():
        logp = model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)[-count:]
    targets = torch.tensor(ids[-count:])
    return float(logp.gather(1, targets[:, None]).sum()), bool((logp.argmax(-1) == targets).all())


def check(model: Transformer, groups: list[list[Span]]) -> None:
    """Compare every score with that of a plain pass."""
    for group, found in zip(groups, score_spans(model, groups), strict=True):
        for span, score in zip(group, found, strict=True):
            logprob, greedy = alone(model, span)
            assert score.logprob == pytest.approx(logprob, abs=1e-4)
            assert score.greedy == greedy
            assert score.tokens == len(span.ids) - span.start


ids = st.lists(st.integers(0, 49), min_size=1, max_size=8)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.tuples(ids, st.lists(ids, min_size=1, max_size=4)), min_size=1, max_size=5),
    positions=st.sampled_from([1, 24, 1 << 12]),
    logits=st.sampled_from([1, 120, 1 << 24]),
)
def test_any_groups_and_batches_have_the_scores_of_single_passes(
    name: str, groups: list[tuple[list[int], list[list[int]]]], positions: int, logits: int
) -> None:
    asked = [[Span(context + choice, len(context)) for choice in choices] for context, choices in groups]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(spans._POSITIONS, "cpu", positions)
        patch.setitem(spans._LOGITS, "cpu", logits)
        check(MODELS[name], asked)


def test_contexts_that_differ_before_a_common_ending_are_scored_too() -> None:
    """As in a Winograd schema, where only the beginning of the sentence has options."""
    check(MODELS["llama"], [[Span([1, 2, 3, 4, 5], 3), Span([1, 7, 3, 4, 5], 3)], [Span([9, 8], 1), Span([7, 8], 1)]])


def test_a_greedy_span_is_found() -> None:
    model = MODELS["llama"]
    text = [3]
    for _ in range(5):
        with torch.inference_mode():
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    wrong = [*text[:-1], (text[-1] + 1) % 50]
    ((right, other),) = score_spans(model, [[Span(text, 1), Span(wrong, 1)]])
    assert (right.greedy, other.greedy) == (True, False)


@pytest.mark.parametrize(("length", "cut"), [(24, 0), (25, 0), (26, 1), (40, 15)])
def test_a_long_context_loses_its_beginning(length: int, cut: int) -> None:
    """The context of 24 tokens is read in full: the last token is predicted, not read."""
    text = [number % 50 for number in range(length)]
    ((score,),) = score_spans(MODELS["gpt2"], [[Span(text, length - 2)]])
    assert score.cut == cut
    assert score.logprob == pytest.approx(alone(MODELS["gpt2"], Span(text, length - 2))[0], abs=1e-4)


def positions_read(groups: list[list[Span]]) -> int:
    """Return the number of positions that a model reads for groups, and check their scores."""
    read: list[int] = []
    model = network(replace(LLAMA, context=128))
    check(model, groups)
    plain = model.hidden
    model.hidden = lambda ids, **named: read.append(ids.numel()) or plain(ids, **named)  # type: ignore[method-assign]
    score_spans(model, groups)
    return sum(read)


@pytest.mark.parametrize(
    ("choices", "positions"),
    [
        (4 * [[]], 64),  # of one token each: the position before it is enough
        ([[5, 6], [7, 8], [9, 10], [11, 12]], 64 + 4 * 2),
        ([[*LONG, 6], [*LONG, 7], [*LONG, 8], [*LONG, 9]], 64 + 20 + 4),  # all begin alike, so it is of the trunk
        ([[*LONG, 6], [*LONG, 7], [5, *LONG, 9], [5, *LONG, 10]], 64 + 20 + 21 + 4),  # two and two begin alike
    ],
)
def test_what_the_choices_of_a_question_begin_with_is_read_once(choices: list[list[int]], positions: int) -> None:
    """Numbers of positions are rounded up to a multiple of 32."""
    context = [number % 50 for number in range(64)]
    spans = [Span([*context, *ids, choice], 64) for choice, ids in enumerate(choices)]
    assert positions_read([spans]) == -(-positions // 32) * 32


def test_what_questions_begin_with_is_read_once() -> None:
    """Two questions share 60 positions of 64, and a third one none, whatever their order."""
    context = [number % 50 for number in range(60)]
    same = [[Span([*context, own, 3, 4, 5, choice], 64) for choice in range(3)] for own in (7, 8)]
    other = [Span([9, *context[:63]], 60)]
    assert positions_read([same[0], other, same[1]]) == 60 + 2 * 4 + 60


def test_a_span_needs_a_token_before_it() -> None:
    for text, start in itertools.product(([], [1], [1, 2]), (0, 2)):
        with pytest.raises(AssertionError, match="a token before it"):
            Span(text, start)


def test_large_vocabularies_cost_no_precision() -> None:
    """One likely token and 50,000 unlikely ones: added up one after the other in float32, they are off by 1e-5."""
    logits = torch.randn(32, 50_000, generator=torch.Generator().manual_seed(0)) * 3
    logits[:, 7] += 15
    expected = logits.double().log_softmax(-1)[:, 7]
    head: Any = SimpleNamespace(config=SimpleNamespace(vocab_size=50_000), head=lambda hidden: hidden.clone())
    found, best = spans._chosen(head, logits, torch.arange(32), torch.full((32,), 7))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert torch.equal(best, logits.argmax(-1) == 7)
