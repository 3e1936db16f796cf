"""Direct logit attribution: what each part of the model adds to a logit; the parts sum to it (Elhage et al. 2021).

    logit = u . norm(x),  x = sum of what the embedding, heads and neurons wrote

The last norm, and norms after sublayers, are frozen at the scale that they had, which makes the logit linear in x.
B batch, T time, C width, L layers, H heads, D head size, M hidden size of the MLP.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sayso.lens.forward import blocks_of
from sayso.lens.matrices import matrix
from sayso.lens.names import Opened
from sayso.lens.readout import with_logits
from sayso.lens.targets import LogitDifference, Tokens, index_of
from sayso.lens.tracing import Ids, Trace, at_position, rows_of, rows_seen, trace
from sayso.model import Transformer
from sayso.model.norm import RMSNorm
from sayso.model.transformer import Block


@dataclass(frozen=True)
class Attribution:
    """What each part adds to a logit, or to a difference of two."""

    logit: Tensor
    """The logit, before a soft cap, [B]."""
    inputs: dict[str, Tensor]
    """Of each part of the input, such as `hook_embed`, [B]."""
    heads: Tensor
    """Of each head, [B, L, H]."""
    neurons: Tensor
    """Of each neuron of an MLP, [B, L, M]."""
    biases: Tensor
    """Of the biases of each attention layer and of each MLP, [B, L, 2]."""
    last_bias: Tensor
    """Of the bias of the last norm, [B]."""

    @property
    def layers(self) -> Tensor:
        """Of each attention layer and of each MLP, biases included, [B, L, 2]."""
        return torch.stack((self.heads.sum(-1), self.neurons.sum(-1)), dim=-1) + self.biases

    @property
    def total(self) -> Tensor:
        """Sum of all parts, [B]."""
        return sum(self.inputs.values(), self.last_bias) + self.layers.sum((1, 2))

    @property
    def rest(self) -> Tensor:
        """The logit minus all parts, [B]: what quantized layers lose because they round their inputs; else 0."""
        return self.logit - self.total


def direct_attribution(
    model: Transformer | Opened, ids: Ids, target: Tokens, contrast: Tokens | None = None, *, position: int = -1
) -> Attribution:
    """Return what each part of a model adds to the logit of `target` at a position, minus that of `contrast`.

    Both are one token, or one for each row. Raises `UserError` for an unknown token or position, and as `trace` does.
    """
    network = with_logits(model)
    rows = rows_of(network, ids)
    where = index_of(position, rows.shape[1])
    signs = LogitDifference(target, contrast).signs(len(rows), network.config.vocab_size)
    found = trace(network, rows_seen(network, rows, where), lambda name: read_by_attribution(network, name))
    return attributed(network, at_position(found, where), signs)


def attributed(network: Transformer, found: Trace, signs: Tensor) -> Attribution:
    """Return what each part adds to sums of logits, weighted by `signs` [B, V], at the last position of a trace.

    The trace has all names that `read_by_attribution`, of B rows, or of one for all sums.
    """
    last = found[f"blocks.{network.config.layers - 1}.hook_resid_post"]
    signs = signs.to(last)
    with torch.no_grad():
        reader = signs @ matrix(network.unembed)  # [B, C]
        logit = (network.unembed(network.norm(last[:, -1])) * signs).sum(-1)
        direction, last_bias = _pulled(network.norm, found, "ln_final", reader)
        inputs = {name: (found[name][:, -1] * direction).sum(-1) for name in found if name.endswith("_embed")}
        parts = [_layer(block, found, layer, direction) for layer, block in enumerate(blocks_of(network))]
    heads, neurons, biases = (torch.stack(part, dim=1) for part in zip(*parts, strict=True))
    return Attribution(logit, inputs, heads, neurons, biases, last_bias)


def read_by_attribution(network: Transformer, name: str) -> bool:
    """Whether attribution reads an activation."""
    return name == f"blocks.{network.config.layers - 1}.hook_resid_post" or name.endswith(_READ)


_READ = ("_embed", "attn.hook_z", "mlp.hook_post", "_post.hook_scale", "ln_final.hook_scale")


def _layer(block: Block, found: Trace, layer: int, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what heads [B, H], neurons [B, M] and biases [B, 2] of a block add along `direction` [B, C]."""
    name, attention = f"blocks.{layer}", block.attention
    reader, bias = _pulled(block.attention_post_norm, found, f"{name}.ln1_post", direction)
    z = found[f"{name}.attn.hook_z"][:, -1]
    heads = (z * (reader @ matrix(attention.out)).unflatten(-1, z.shape[1:])).sum(-1)
    attention_bias = bias + _along(attention.out.bias, reader)
    reader, bias = _pulled(block.mlp_post_norm, found, f"{name}.ln2_post", direction)
    neurons = found[f"{name}.mlp.hook_post"][:, -1] * (reader @ matrix(block.mlp.down))
    return heads, neurons, torch.stack((attention_bias, bias + _along(block.mlp.down.bias, reader)), dim=-1)


def _pulled(norm: nn.Module, found: Trace, name: str, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return the direction [B, C] before a frozen norm that gives `direction` after it, and what its bias adds [B]."""
    if isinstance(norm, nn.Identity):
        return direction, torch.zeros_like(direction[:, 0])
    assert isinstance(norm, RMSNorm | nn.LayerNorm)
    before = direction * norm.weight / found[f"{name}.hook_scale"][:, -1]
    if isinstance(norm, RMSNorm):
        return before, torch.zeros_like(direction[:, 0])
    return before - before.mean(-1, keepdim=True), _along(norm.bias, direction)


def _along(bias: Tensor | None, direction: Tensor) -> Tensor:
    return torch.zeros_like(direction[:, 0]) if bias is None else direction @ bias
