"""Max-activating examples equal a sort of all activations."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import max_examples, read_corpus, top_places, trace, trace_corpus
from sayso.model import Transformer

ROWS = torch.randint(50, (11, 9), generator=torch.Generator().manual_seed(4))
NAME = "blocks.1.mlp.hook_post"


def sorted_places(x: Tensor, neuron: int) -> list[tuple[float, int, int]]:
    """Return the largest value of each row with its row and position, the largest first."""
    found = [(x[row, :, neuron].max().item(), row, int(x[row, :, neuron].argmax())) for row in range(len(x))]
    return sorted(found, key=lambda place: -place[0])


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_examples_are_the_largest_of_all_rows(ours: Transformer, batch: int) -> None:
    found, x = max_examples(ours, ROWS, NAME, 3, batch=batch), trace(ours, ROWS, NAME)[NAME]
    assert found.values.shape == found.rows.shape == found.positions.shape == (64, 3)
    for neuron in (0, 17, 63):
        places = sorted_places(x, neuron)[:3]
        assert found.rows[neuron].tolist() == [row for _, row, _ in places]
        assert found.positions[neuron].tolist() == [position for _, _, position in places]
        torch.testing.assert_close(found.values[neuron], torch.tensor([value for value, _, _ in places]))
    torch.testing.assert_close(found.share, (x > 0).float().mean((0, 1)))


def test_features_are_computed_from_the_activation(ours: Transformer) -> None:
    found = max_examples(ours, ROWS, "blocks.0.hook_resid_post", 2, encode=lambda x: -x[..., :5], batch=3)
    x = -trace(ours, ROWS, "blocks.0.hook_resid_post")["blocks.0.hook_resid_post"]
    assert found.values.shape == (5, 2)
    assert found.rows[4].tolist() == [row for _, row, _ in sorted_places(x, 4)[:2]]


def test_examples_of_activations_on_disk_are_the_same(ours: Transformer, tmp_path: Path) -> None:
    trace_corpus(ours, ROWS, NAME, tmp_path, batch=4)
    there, here = top_places(read_corpus(tmp_path, NAME), 20), max_examples(ours, ROWS, NAME, 20, batch=4)
    assert torch.equal(there.rows, here.rows)
    assert here.rows.shape == (64, 11)  # no more than there are rows


def test_bad_input_is_refused(ours: Transformer) -> None:
    with pytest.raises(UserError, match="k must be at least 1; got 0"):
        max_examples(ours, ROWS, NAME, 0)
    with pytest.raises(UserError, match="at least 1 row; got 0"):
        max_examples(ours, ROWS, NAME, batch=0)
    with pytest.raises(UserError, match=r"\[B, T, F\], of neurons or features; got \(11, 4, 9, 9\)"):
        max_examples(ours, ROWS, "blocks.1.attn.hook_pattern")
    with pytest.raises(UserError, match="Did you mean"):
        max_examples(ours, ROWS, "blocks.1.mlp.hook_posts")
    with pytest.raises(UserError, match="at least one batch"):
        top_places([], 3)
