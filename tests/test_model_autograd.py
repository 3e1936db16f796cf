"""Inside `plain_autograd()` the model gives the same values, and can be differentiated repeatedly."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, grad, hessian, vmap

from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.autograd import is_plain, plain_autograd

LLAMA = ModelConfig(vocab_size=64, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=32, context=32)
SHAPES = [replace(LLAMA, mlp="relu2"), LLAMA, replace(LLAMA, ngrams=(2,), ngram_rows=16, shift=2)]
IDS = torch.arange(64).view(2, 32) * 7 % 64  # as many positions as oneDNN's products want
TARGETS = IDS.roll(-1, dims=1)
ONE = torch.zeros(2, 32, dtype=torch.long)
PACKED = (torch.arange(32) // 11).expand(2, 32)


def random_model(config: ModelConfig) -> Transformer:
    """Return a model with random weights."""
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


def loss_of(model: Transformer, documents: torch.Tensor) -> torch.Tensor:
    """Return the mean loss."""
    total, count = next_token_loss(model, IDS, TARGETS, documents)
    return total / count


@pytest.mark.parametrize("config", SHAPES, ids=["relu2", "swiglu", "ngrams"])
@pytest.mark.parametrize("documents", [ONE, PACKED], ids=["one document", "packed"])
def test_loss_and_gradients_equal_those_of_the_fast_functions(config: ModelConfig, documents: torch.Tensor) -> None:
    """The mode does not change values."""
    model = random_model(config)
    fast_loss = loss_of(model, documents)
    fast = torch.autograd.grad(fast_loss, list(model.parameters()))
    with plain_autograd():
        plain_loss = loss_of(model, documents)
        plain = torch.autograd.grad(plain_loss, list(model.parameters()))
    torch.testing.assert_close(plain_loss, fast_loss, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(plain, fast, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("documents", [ONE, PACKED], ids=["one document", "packed"])
def test_hessian_vector_product_equals_the_difference_of_gradients(documents: torch.Tensor) -> None:
    """`create_graph=True` works and gives the derivative of the gradient."""
    model = random_model(replace(LLAMA, mlp="relu2")).double()
    weight = model.blocks[0].attention.out.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=weight.dtype)
    with plain_autograd():
        (gradient,) = torch.autograd.grad(loss_of(model, documents), weight, create_graph=True)
        (product,) = torch.autograd.grad((gradient * direction).sum(), weight)
        step, slopes = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * step * direction
            slopes += torch.autograd.grad(loss_of(model, documents), weight)
            with torch.no_grad():
                weight -= sign * step * direction
    torch.testing.assert_close(product, (slopes[0] - slopes[1]) / (2 * step), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own decompositions use it
def test_torch_func_transforms_work() -> None:
    """Per-example gradients by `vmap(grad(...))`, and a Hessian of a norm's gain."""
    model = random_model(LLAMA)
    gain = dict(model.named_parameters())["norm.weight"].detach()

    def loss(gain: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        logits = functional_call(model, {"norm.weight": gain}, (ids[None],))
        return torch.nn.functional.cross_entropy(logits[0, :-1], ids[1:])

    with plain_autograd():
        each = vmap(grad(loss), in_dims=(None, 0))(gain, IDS)
        alone = torch.stack([grad(loss)(gain, ids) for ids in IDS])
        curvature = hessian(loss)(gain, IDS[0])
    torch.testing.assert_close(each, alone, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(curvature, curvature.T, rtol=1e-3, atol=1e-5)
    assert curvature.abs().max() > 1e-3


def test_the_mode_ends_with_its_block() -> None:
    """After the block, also if it raised, the fast functions are used again."""
    with suppress(KeyError), plain_autograd():
        assert is_plain()
        raise KeyError
    assert not is_plain()
    model = random_model(LLAMA)
    gradient = torch.autograd.grad(loss_of(model, ONE), model.norm.weight, create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"does not require grad|once_differentiable"):
        torch.autograd.grad(gradient.sum(), model.norm.weight)
