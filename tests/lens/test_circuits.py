"""The circuit of a prediction: what flows in flows out, and each weight carries what the frozen model says."""

from dataclasses import replace

import pytest
import torch

from sayso.base.errors import UserError
from sayso.lens import circuit, direct_attribution, token_contributions
from sayso.lens.frozen import FROZEN, INPUT, one_row, prediction
from sayso.lens.tracing import trace
from sayso.model import ModelConfig, Transformer

OURS = ModelConfig(
    vocab_size=300, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=48, context=40, qk_norm="head"
)
SHAPES = {
    "ours": OURS,
    "ngrams": replace(OURS, ngrams=(2, 3), ngram_rows=40, shift=2, mlp="relu2"),
    "no-norms": replace(OURS, norm="none", qk_norm="none"),
    "gpt2": replace(
        OURS, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", tie_embeddings=True,
        biases=("qkv", "out", "mlp"),
    ),
}  # fmt: skip
IDS, POSITION, TARGET, CONTRAST = [0, 17, 5, 230, 17, 9, 44], 5, 8, 21


def random_model(config: ModelConfig, *, sparse: float = 1.0) -> Transformer:
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config).initialize(generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
            if weight.dim() == 2:
                weight.mul_(torch.rand(weight.shape, generator=generator) < sparse)
    return model.eval().double()


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest) -> Transformer:
    return random_model(SHAPES[request.param])


def test_each_weight_carries_what_the_frozen_model_loses_without_it(model: Transformer) -> None:
    """The difference is linear in each weight: the weight times the gradient, which autograd finds."""
    found = circuit(model, IDS, TARGET, CONTRAST, position=POSITION)
    rows, at = one_row(model, IDS, POSITION)
    frozen = trace(model, rows, lambda name: name == INPUT or name.endswith(FROZEN))
    hidden = prediction(model, frozen, frozen[INPUT], at)[0]
    head = model.unembed.weight.detach()
    difference = hidden @ (head[TARGET] - head[CONTRAST])
    torch.testing.assert_close(found.logit, difference.detach())
    config = model.config
    for layer, block in enumerate(model.blocks):
        weights = [block.attention.out.weight, block.mlp.up.weight, block.mlp.down.weight, block.attention.value.weight]
        out, up, down, value = (
            weight.detach() * gradient
            for weight, gradient in zip(
                weights, torch.autograd.grad(difference, weights, retain_graph=True), strict=True
            )
        )
        torch.testing.assert_close(found.neuron_reads[layer], up)
        torch.testing.assert_close(found.neuron_writes[layer], down.T)
        by_head = out.unflatten(1, (config.heads, config.head_size)).sum(-1).T
        torch.testing.assert_close(found.head_writes[layer], by_head)
        of_group = found.head_reads[layer].unflatten(0, (config.kv_heads, -1)).sum(1)
        torch.testing.assert_close(of_group, value.unflatten(0, (config.kv_heads, config.head_size)).sum(1))


def test_what_flows_in_flows_out(model: Transformer) -> None:
    """Into the logits what attribution says; into heads and neurons, but for biases; into each dimension with RMS."""
    found = circuit(model, IDS, TARGET, CONTRAST, position=POSITION)
    direct = direct_attribution(model, IDS, TARGET, CONTRAST, position=POSITION)
    torch.testing.assert_close(found.outputs.sum(), direct.logit[0])
    torch.testing.assert_close(found.neuron_writes[-1].sum(-1), direct.neurons[0, -1])
    tokens = token_contributions(model, IDS, [TARGET, CONTRAST], position=POSITION).tokens
    torch.testing.assert_close(found.inputs.sum(), (tokens[0] - tokens[1]).sum())
    if model.config.norm == "rms":
        torch.testing.assert_close(found.neuron_reads.sum(-1), found.neuron_writes.sum(-1))
        torch.testing.assert_close(found.head_reads.sum(-1), found.head_writes.sum(-1))
        entering = found.inputs + found.head_writes.sum((0, 1)) + found.neuron_writes.sum((0, 1))
        leaving = found.head_reads.sum((0, 1)) + found.neuron_reads.sum((0, 1)) + found.outputs
        torch.testing.assert_close(entering, leaving)


def test_a_weight_that_is_zero_carries_nothing() -> None:
    model = random_model(OURS, sparse=0.4)
    found = circuit(model, IDS, TARGET)
    for layer, block in enumerate(model.blocks):
        assert not found.neuron_reads[layer][block.mlp.up.weight == 0].any()
        assert not found.neuron_writes[layer][block.mlp.down.weight.T == 0].any()
    assert 0 < (found.neuron_writes != 0).float().mean() < 0.5


def test_what_has_no_circuit_is_said() -> None:
    with pytest.raises(UserError, match="whose norms come before attention and MLP; those of this model are behind"):
        circuit(random_model(replace(OURS, norm_place="post", qk_norm="whole")), IDS, 5)
    with pytest.raises(UserError, match="A target must be a token"):
        circuit(random_model(OURS), IDS, 999)
