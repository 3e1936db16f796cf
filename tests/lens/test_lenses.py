"""Tuned and Jacobian lenses against autograd and the definition of their measures."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import Lens, jacobian_lens, load_lens, logit_lens, save_lens, trace, tuned_lens
from sayso.lens.forward import Probe, through
from sayso.model import Transformer

from .conftest import SHAPES, made

ROWS = torch.randint(50, (6, 5), generator=torch.Generator().manual_seed(4))
STREAMS = ("blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(3)))


def jacobian(model: Transformer, rows: Tensor, layer: int) -> Tensor:
    """Return the mean over rows and positions of d(sum of the last stream over positions) / d(stream), [C, C]."""
    found, total = trace(model, rows, STREAMS), torch.zeros(32, 32, dtype=torch.float64)
    for x in found[STREAMS[layer]]:

        def last(x: Tensor) -> Tensor:
            return through(model, x[None], Probe((), lambda _, y: y), layer)[0].sum(0)

        total += torch.autograd.functional.jacobian(last, x).mean(1)  # [C, T, C]
    return total / len(rows)


@pytest.mark.parametrize("shape", ["ours", "gpt2", "gemma3"])
def test_the_jacobian_lens_is_the_mean_jacobian(shape: str) -> None:
    model = made(SHAPES[shape]).double()
    found = jacobian_lens(model, ROWS[:4], tolerance=0.0)
    assert found.names == STREAMS
    assert found.rows == 4
    for layer in range(4):
        torch.testing.assert_close(found.weight[layer].double(), jacobian(model, ROWS[:4], layer), rtol=1e-3, atol=1e-4)
    halves = [jacobian(model, rows, 1) for rows in (ROWS[:2], ROWS[2:4])]
    expected = (halves[0] - halves[1]).norm() / found.weight[1].norm()
    torch.testing.assert_close(found.refit_error[1].double(), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.weight[3], torch.eye(32))
    assert found.refit_error[3] == 0


def test_rows_are_added_until_the_lens_converges(ours: Transformer) -> None:
    told: list[tuple[int, float]] = []
    found = jacobian_lens(ours, ROWS, tolerance=1e9, batch=1, progress=lambda *each: told.append(each))
    assert found.rows == 2
    assert told == [(2, found.refit_error.max().item())]
    assert jacobian_lens(ours, ROWS, tolerance=0.0, batch=1).rows == 6
    same = jacobian_lens(ours, ROWS[:1].repeat(2, 1), batch=1)
    assert same.refit_error.max() < 1e-5


def test_a_tuned_lens_reads_streams_better_than_the_logit_lens(ours: Transformer) -> None:
    """On held-out rows, in all streams but the last, which stays as it is; the model is not changed."""
    rows = torch.randint(50, (40, 5), generator=torch.Generator().manual_seed(1))
    before = {name: x.clone() for name, x in ours.state_dict().items()}
    told: list[int] = []
    generator = torch.Generator().manual_seed(0)
    found = tuned_lens(ours, rows, steps=60, rate=1e-2, generator=generator, progress=told.append)
    assert told == list(range(1, 61))
    assert (found.kl[:-1] < 0.8 * found.logit_lens_kl[:-1]).all()
    assert torch.equal(found.weight[-1], torch.eye(32))
    assert not found.bias[-1].any()
    assert found.kl[-1] == pytest.approx(0, abs=1e-6)
    for lens, measured in ((found, found.kl), (None, found.logit_lens_kl)):
        torch.testing.assert_close(logit_lens(ours, rows[-4:], lens=lens).kl.mean((1, 2)), measured)
    assert all(torch.equal(x, before[name]) for name, x in ours.state_dict().items())
    assert all(weight.grad is None for weight in ours.parameters())


def test_a_lens_maps_streams_before_they_are_read(ours: Transformer, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    lens = Lens(STREAMS, torch.randn(4, 32, 32, generator=generator), torch.randn(4, 32, generator=generator))
    save_lens(lens, tmp_path / "lens.safetensors")
    lens = load_lens(tmp_path / "lens.safetensors")
    assert lens.names == STREAMS
    found = logit_lens(ours, ROWS, lens=lens, k=1)
    x = trace(ours, ROWS, STREAMS[2])[STREAMS[2]]
    with torch.no_grad():
        logits = ours.head(ours.norm(x @ lens.weight[2].T + lens.bias[2]))
    assert torch.equal(found.top[2, ..., 0], logits.argmax(-1))
    torch.testing.assert_close(found.top_logprobs[2, ..., 0], logits.log_softmax(-1).amax(-1))


def test_bad_input_is_refused(ours: Transformer, tmp_path: Path) -> None:
    lens = Lens(STREAMS[1:], torch.zeros(3, 32, 32), torch.zeros(3, 32))
    narrow = Lens(STREAMS, torch.zeros(4, 8, 8), torch.zeros(4, 8))
    (tmp_path / "other").write_text("{}")
    for call, message in (
        (lambda: logit_lens(ours, ROWS, lens=lens), "no map of 'blocks.0.hook_resid_pre'. Did you mean"),
        (
            lambda: logit_lens(ours, ROWS, lens=narrow),
            "width of 32; got 8",
        ),
        (lambda: tuned_lens(ours, [1, 2]), "held-out rows; got 1 rows"),
        (lambda: jacobian_lens(ours, ROWS, batch=4), "two batches of rows; got 6 rows and batch=4"),
        (lambda: load_lens(tmp_path / "other"), "is not a lens that save_lens wrote"),
        (lambda: load_lens(tmp_path / "none"), "is not a lens that save_lens wrote"),
    ):
        with pytest.raises(UserError, match=message):
            call()
