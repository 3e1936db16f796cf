"""What positions tell: orders, dials and tables against passes of the model and published formulas."""

from dataclasses import replace

import pytest
import torch

from sayso.base.errors import UserError
from sayso.lens import (
    learned_positions,
    order_effect,
    position_kinds,
    rotary_dials,
    scores_by_distance,
    sinusoidal_positions,
    trace,
)
from sayso.model import Transformer
from sayso.model.config import Rope

from .conftest import OURS, SHAPES, made

IDS = [7, 3, 9, 30, 9, 1, 22]
ORDER = [5, 0, 3, 1, 4, 2]


def test_two_orders_are_the_same_without_positions(any_network: Transformer) -> None:
    """In no block of any model, if each token attends to all others; nothing of the model is changed by the test."""
    before = trace(any_network, IDS, "logits")["logits"]
    found = order_effect(any_network, IDS, ORDER, positions=False, causal=False)
    assert found.differences.shape == (4,)
    assert found.differences.max() < 2e-3  # 8-bit inputs round
    assert found.ids.tolist() == [1, 7, 30, 3, 9, 9, 22]
    assert torch.equal(trace(any_network, IDS, "logits")["logits"], before)


def test_the_causal_mask_tells_orders_apart_after_the_first_block() -> None:
    """The last token sees the same set in the first block; the tokens before it saw different ones."""
    model = made(SHAPES["no positions"])
    found = order_effect(model, IDS, ORDER).differences
    assert found[:2].max() < 1e-5
    assert found[2] > 1e-3


def test_positions_tell_orders_apart(ours: Transformer, gpt2: Transformer) -> None:
    for model in (ours, gpt2):
        for causal in (True, False):
            assert order_effect(model, IDS, ORDER, causal=causal).differences[1] > 1e-3
        assert order_effect(model, IDS, list(range(6))).differences.max() < 1e-6
    shifted = made(SHAPES["ngrams and shift"])
    assert order_effect(shifted, IDS, ORDER).differences[0] > 1e-3
    assert order_effect(shifted, IDS, ORDER, positions=False).differences[:2].max() < 1e-5


def test_differences_are_those_of_two_passes(ours: Transformer) -> None:
    found = order_effect(ours, IDS, generator=torch.Generator().manual_seed(3))
    assert sorted(found.ids.tolist()) == sorted(IDS)
    name = "blocks.1.hook_resid_post"
    first, second = (trace(ours, ids, name)[name][0, -1] for ids in (IDS, found.ids))
    torch.testing.assert_close(found.differences[2], (first - second).norm() / first.norm())


@pytest.mark.parametrize("shape", ["ours", "gemma3", "smollm3", "olmo2", "yarn"])
def test_scores_by_distance_are_those_of_the_model(shape: str) -> None:
    """Tokens whose vectors before rotation are the same everywhere have the score of their distance."""
    yarn = replace(OURS, rope=Rope("yarn", 4.0, original=16, attention_factor=1.3))
    model = made(SHAPES.get(shape, yarn))
    layer, ids = 2, [5, *[8] * 11]
    names = [f"blocks.{layer}.attn.hook_{name}" for name in ("q", "k", "attn_scores")]
    same = {name: (lambda x: x[:, :1].expand_as(x).clone()) for name in names[:2]}
    scores = trace(model, ids, names, interventions=same)[names[2]][0]
    for head in (0, 3):
        distances = [0, 1, 5, 11] if not model.config.layer_windows[layer] else [0, 1, 3]
        found = scores_by_distance(model, ids, layer, head, distances, query=0, key=0)
        expected = torch.stack([scores[head, 11, 11 - distance] for distance in distances])
        torch.testing.assert_close(found.sum(-1), expected, rtol=1e-3, atol=1e-4)


def test_scores_at_the_own_distance_are_those_of_the_pass(ours: Transformer) -> None:
    scores = trace(ours, IDS, "blocks.1.attn.hook_attn_scores")["blocks.1.attn.hook_attn_scores"]
    for head in range(4):
        for query, key in ((6, 0), (5, 4), (-1, 2)):
            found = scores_by_distance(ours, IDS, 1, head, [query % 7 - key], query=query, key=key)
            assert found.shape == (1, 4)
            torch.testing.assert_close(found.sum(), scores[0, head, query, key], rtol=1e-4, atol=1e-5)


def test_dials_turn_with_their_frequencies() -> None:
    """The published frequencies theta^(-2i/D); windows have their own base."""
    gemma = made(SHAPES["gemma3"])
    for layer, theta in ((0, 100.0), (2, 10_000.0)):
        dials = rotary_dials(gemma, layer)
        torch.testing.assert_close(dials.frequencies, theta ** -(torch.arange(4) / 4))
        torch.testing.assert_close(dials.wavelengths[0], torch.tensor(2 * torch.pi))
    torch.testing.assert_close(dials.angles(7)[:2], torch.tensor([7 - 2 * torch.pi, 0.7]))
    stretched = made(replace(OURS, rope=Rope("linear", 2.0)))
    torch.testing.assert_close(rotary_dials(stretched).frequencies, rotary_dials(made(OURS)).frequencies / 2)


def test_sinusoidal_positions_are_the_published_ones() -> None:
    found = sinusoidal_positions(50, 16)
    for time, pair in ((0, 0), (7, 3), (49, 7)):
        angle = torch.tensor(time / 10_000 ** (2 * pair / 16))
        torch.testing.assert_close(found[time, 2 * pair], angle.sin())
        torch.testing.assert_close(found[time, 2 * pair + 1], angle.cos())
    products = found @ found.T  # depend only on the distance
    torch.testing.assert_close(products.diagonal(5), products[0, 5].expand(45), rtol=1e-4, atol=1e-4)


def test_learned_positions_are_the_models(gpt2: Transformer) -> None:
    name = "hook_pos_embed"
    torch.testing.assert_close(learned_positions(gpt2)[:7], trace(gpt2, IDS, name)[name][0])
    assert position_kinds(gpt2) == ("learned",) * 3
    assert position_kinds(made(SHAPES["smollm3"])) == ("rotary", "none", "rotary")
    assert position_kinds(made(SHAPES["no positions"])) == ("none",) * 3


def test_bad_input_is_refused(ours: Transformer, gpt2: Transformer) -> None:
    for call, message in (
        (lambda: order_effect(ours, [1, 2]), "at least 3 tokens; got 1 of 2"),
        (lambda: order_effect(ours, [IDS, IDS]), "one row of at least 3 tokens; got 2 of 7"),
        (lambda: order_effect(ours, IDS, [0, 1]), r"each index from 0 to 5 once; got \[0, 1\]"),
        (lambda: rotary_dials(gpt2), "Block 0 of this model has no rotary positions; its positions: learned"),
        (lambda: rotary_dials(made(SHAPES["smollm3"]), 1), "Block 1 of this model has no rotary positions"),
        (lambda: rotary_dials(ours, 3), "A block must be from 0 to 2; got 3"),
        (lambda: scores_by_distance(ours, IDS, 0, 4, [1]), "A head must be from 0 to 3; got 4"),
        (lambda: scores_by_distance(ours, IDS, 0, 0, [1, 32]), "from 0 to 31, within the context; got 32"),
        (lambda: scores_by_distance(ours, IDS, 0, 0, [1], key=7), "A position must be from -7 to 6"),
        (lambda: scores_by_distance(ours, [IDS, IDS], 0, 0, [1]), "one row of ids; got 2 rows"),
        (lambda: learned_positions(ours), "no learned positions; its positions: rotary"),
        (lambda: sinusoidal_positions(4, 5), "an even width; got 4 and 5"),
    ):
        with pytest.raises(UserError, match=message):
            call()
