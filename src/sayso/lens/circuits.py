"""The circuit of one prediction: what each weight carries from the tokens to a logit difference.

With norm scales, attention patterns and gates frozen, the model is linear (see `frozen.py`), and what a weight carries
is the product of what enters it, the weight, and the gradient of the logit difference behind it. A weight that is zero
carries nothing, so in a model with few weights few of these numbers are not zero. For each dimension of the residual
stream, what enters it leaves it; for each head and neuron as well.
T time, L layers, H heads, M neurons, D head size, C width, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sayso.base.errors import UserError
from sayso.lens.forward import Probe, blocks_of, normed, through
from sayso.lens.frozen import FROZEN, INPUT, frozen_part, one_row
from sayso.lens.matrices import matrix
from sayso.lens.names import Opened
from sayso.lens.patching import differentiable
from sayso.lens.readout import with_logits
from sayso.lens.targets import LogitDifference
from sayso.lens.tracing import Ids, Trace, trace
from sayso.model import Transformer
from sayso.model.norm import RMSNorm


@dataclass(frozen=True)
class Circuit:
    """What flows to the logit of a target, minus that of a contrast; sums over the positions of the row."""

    logit: Tensor
    """The logit difference, before a soft cap."""
    inputs: Tensor
    """From the tokens into each dimension of the residual stream, [C]."""
    head_reads: Tensor
    """From each dimension into each head, through its values, [L, H, C]."""
    head_writes: Tensor
    """From each head into each dimension, [L, H, C]."""
    neuron_reads: Tensor
    """From each dimension into each neuron, [L, M, C]."""
    neuron_writes: Tensor
    """From each neuron into each dimension, [L, M, C]."""
    outputs: Tensor
    """From each dimension to the logits, through the last norm and the head, [C]."""


def circuit(
    model: Transformer | Opened, ids: Ids, target: int, contrast: int | None = None, *, position: int = -1
) -> Circuit:
    """Return what each weight carries to the logit of `target` at a position, minus that of `contrast`.

    Raises `UserError` for several rows, a quantized model, norms behind attention or the MLP, unknown tokens and
    positions, and as `trace` does.
    """
    network = differentiable(with_logits(model))
    if network.config.norm_place != "pre":
        raise UserError(
            "A circuit can be computed only for models whose norms come before attention and MLP; those of this model "
            f"are {'on both sides' if network.config.norm_place == 'both' else 'behind them'}."
        )
    rows, at = one_row(network, ids, position)
    signs = LogitDifference(target, contrast).signs(1, network.config.vocab_size)[0].to(network.device)
    found = trace(network, rows, lambda name: name == INPUT or name.endswith((*FROZEN, *_READ)))
    reader = (signs.to(network.dtype) @ matrix(network.unembed)).detach()
    with torch.enable_grad():
        seen, hidden = _differentiated(network, found, at)
        names = [name for name in seen if name.endswith(_WATCHED)]
        gradients = torch.autograd.grad((hidden * reader).sum(), [seen[name] for name in names])
    pulls = {name: gradient[0] for name, gradient in zip(names, gradients, strict=True)}
    with torch.no_grad():
        outputs = (hidden * reader)[0]
        parts = [
            (*_heads(network, found, pulls, layer), *_neurons(network, found, pulls, layer))
            for layer in range(network.config.layers)
        ]
        inputs = (found[INPUT][0] * pulls[INPUT]).sum(0)
    reads, writes, neuron_reads, neuron_writes = (torch.stack(part) for part in zip(*parts, strict=True))
    return Circuit(outputs.sum(), inputs, reads, writes, neuron_reads, neuron_writes, outputs)


_READ = ("ln1.hook_normalized", "ln2.hook_normalized", "attn.hook_z")
_WATCHED = (INPUT, "attn.hook_z", "mlp.hook_post", "hook_attn_out", "hook_mlp_out")


def _differentiated(network: Transformer, found: Trace, at: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return activations of the frozen model by name, and its stream [1, C] at a position, normalized."""
    frozen, see = frozen_part(network, found)
    seen = {INPUT: found[INPUT].detach().clone().requires_grad_()}

    def look(name: str, x: Tensor) -> Tensor:
        seen[name] = see(name, x) if name in frozen else x
        return seen[name]

    wanted = {f"blocks.{layer}.{name}" for layer in range(network.config.layers) for name in _WATCHED[1:]}
    probe = Probe(frozenset(frozen) | wanted, look)
    hidden = normed(network.norm, through(network, seen[INPUT], probe), probe.inside("ln_final"))
    return seen, hidden[:, at]


def _heads(network: Transformer, found: Trace, pulls: dict[str, Tensor], layer: int) -> tuple[Tensor, Tensor]:
    """Return what flows into and out of the heads of a layer by dimension, [H, C] each."""
    name, block = f"blocks.{layer}", list(blocks_of(network))[layer]
    attention, config = block.attention, network.config
    pattern, z = found[f"{name}.attn.hook_pattern"][0], found[f"{name}.attn.hook_z"][0]  # [H, T, T], [T, H, D]
    values = matrix(attention.value).unflatten(0, (config.kv_heads, config.head_size))  # [K, D, C]
    values = values.repeat_interleave(config.heads // config.kv_heads, dim=0)
    out = matrix(attention.out).unflatten(1, (config.heads, config.head_size))  # [C, H, D]
    pulled = torch.einsum("hts,thd->shd", pattern.to(z), pulls[f"{name}.attn.hook_z"])
    x = _gained(block.attention_norm, found[f"{name}.ln1.hook_normalized"][0])
    reads = (values * torch.einsum("shd,sc->hdc", pulled, x)).sum(1)  # by pairs: three at once need [H, D, C, T]
    writes = (out * torch.einsum("thd,tc->chd", z, pulls[f"{name}.hook_attn_out"])).sum(2).T
    return reads, writes


def _neurons(network: Transformer, found: Trace, pulls: dict[str, Tensor], layer: int) -> tuple[Tensor, Tensor]:
    """Return what flows into and out of the neurons of a layer by dimension, [M, C] each."""
    name, block = f"blocks.{layer}", list(blocks_of(network))[layer]
    mlp, post, pre = block.mlp, found[f"{name}.mlp.hook_post"][0], found[f"{name}.mlp.hook_pre"][0]
    gate = torch.where(pre == 0, 0, post / pre) if mlp.gate is None else mlp.activation(pre)
    x = _gained(block.mlp_norm, found[f"{name}.ln2.hook_normalized"][0])
    reads = matrix(mlp.up) * ((gate * pulls[f"{name}.mlp.hook_post"]).T @ x)
    writes = matrix(mlp.down).T * (post.T @ pulls[f"{name}.hook_mlp_out"])
    return reads, writes


def _gained(norm: nn.Module, x: Tensor) -> Tensor:
    """Return normalized vectors with the gain of their norm, and its bias if it has one."""
    if isinstance(norm, nn.Identity):  # a model without norms
        return x
    assert isinstance(norm, RMSNorm | nn.LayerNorm)
    return x * norm.weight if isinstance(norm, RMSNorm) else x * norm.weight + norm.bias
