"""A Python script that rebuilds one head in plain formulas, for a notebook: takes a model, returns text."""

from sayso.lens.positions import position_kinds
from sayso.model import Transformer

HEAD = '''"""One attention head by hand: head {head} of layer {layer}."""

import torch

import sayso

model = sayso.load({model!r}, life={life!r}, device="cpu")
ids = torch.tensor({ids})
network, layer, head = model.module, {layer}, {head}
block = network.blocks[layer]
attention = block.attention
D, group = {size}, head // {shared}  # {shared} heads share a key and a value
names = [f"blocks.{{layer}}.{{name}}" for name in ("hook_resid_pre", "attn.hook_pattern", "attn.hook_result")]
found = sayso.lens.trace(model, ids, names)
x, own_weights, own_written = found[names[0]][0], found[names[1]][0, head], found[names[2]][0, :, head]
'''
RMS = "{out} = {x} / ({x}.square().mean(-1, keepdim=True) + {norm}.eps).sqrt() * {norm}.weight"
LAYER = "{out} = ({x} - {x}.mean(-1, keepdim=True)) / ({x}.var(-1, keepdim=True, unbiased=False) + {norm}.eps).sqrt()"
END = """
z = weights @ v  # the mean of the values, by attention
written = z @ attention.out.weight[:, head * D : (head + 1) * D].T
print(torch.round(weights[-1], decimals=3))
assert torch.allclose(weights, own_weights, atol=1e-5)
assert torch.allclose(written, own_written, atol=1e-5 * max(1, own_written.abs().max().item()))
"""


def script_of(network: Transformer, model: str, life: str, ids: list[int], layer: int, head: int) -> str:
    """Return the script for a head of an unquantized model that `sayso.load(model, life=life)` opens."""
    config = network.config
    lines = [HEAD.format(model=model, life=life, ids=ids, layer=layer, head=head, size=config.head_size,
                         shared=config.heads // config.kv_heads)]  # fmt: skip
    pre = config.norm != "none" and config.norm_place in ("pre", "both")
    lines.append("# What the head reads\n" + (_norm("h", "x", "block.attention_norm", config.norm) if pre else "h = x"))
    lines.append("\n# Its queries, keys and values")
    for name, layer_name, which in (("q", "query", "head"), ("k", "key", "group"), ("v", "value", "group")):
        lines += _projection(network, name, layer_name, which)
    if position_kinds(network)[layer] == "rotary":
        local = config.rope.local_theta and config.layer_windows[layer]
        factor = 1.0 if local else config.rope.attention_factor
        times = f" * {factor}" if factor != 1 else ""
        lines += [
            "\n# Pairs of dimensions turn with the position",
            "angles = torch.arange(len(x))[:, None] * sayso.lens.rotary_dials(model, layer).frequencies",
            "cos, sin = angles.cos(), angles.sin()",
            *(
                f"{y} = torch.cat(({y}[:, : D // 2] * cos - {y}[:, D // 2 :] * sin, "
                f"{y}[:, D // 2 :] * cos + {y}[:, : D // 2] * sin), dim=-1){times}"
                for y in "qk"
            ),
        ]
    lines += ["\n# Where it looks", "scores = q @ k.T * D**-0.5"]
    if cap := config.attention_cap:
        lines.append(f"scores = {cap} * torch.tanh(scores / {cap})")
    lines.append("behind = torch.arange(len(x))[:, None] - torch.arange(len(x))")
    window = config.layer_windows[layer]
    unseen = f"(behind < 0) | (behind >= {window})" if window else "behind < 0"
    lines.append(f'scores = scores.masked_fill({unseen}, float("-inf"))')
    lines.append("weights = torch.exp(scores - scores.amax(-1, keepdim=True))")
    lines.append("weights = weights / weights.sum(-1, keepdim=True)")
    return "\n".join(lines) + END


def _norm(out: str, x: str, norm: str, kind: str) -> str:
    if kind == "rms":
        return RMS.format(out=out, x=x, norm=norm)
    return LAYER.format(out=out, x=x, norm=norm) + f"\n{out} = {out} * {norm}.weight + {norm}.bias"


def _projection(network: Transformer, name: str, layer: str, which: str) -> list[str]:
    """Return the lines that compute the queries, keys or values of a head."""
    config, bias = network.config, "qkv" in network.config.biases
    normed = config.qk_norm != "none" and layer != "value"
    rows = f"[{which} * D : ({which} + 1) * D]"
    if normed and config.qk_norm == "whole":
        added = f" + attention.{layer}.bias" if bias else ""
        return [
            f"{name} = h @ attention.{layer}.weight.T{added}",
            _norm(name, name, f"attention.{layer}_norm", config.norm),
            f"{name} = {name}[:, {rows[1:]}",
        ]
    added = f" + attention.{layer}.bias{rows}" if bias else ""
    lines = [f"{name} = h @ attention.{layer}.weight{rows}.T{added}"]
    return [*lines, _norm(name, name, f"attention.{layer}_norm", config.norm)] if normed else lines
