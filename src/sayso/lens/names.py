"""Names of a model's activations, as in TransformerLens, and their selection: takes a model, returns names in order.

    hook_embed   blocks.3.attn.hook_pattern   blocks.3.mlp.hook_post   ln_final.hook_scale   logits

A model has only the names of parts that it has. `ln1_post` and `ln2_post` are norms of a sublayer's output;
`hook_ngram_embed` and `hook_shift_embed` are parts of the input that TransformerLens does not know.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from sayso.base.errors import UserError, nearest
from sayso.model import ModelConfig, Transformer
from sayso.model.config import GATED
from sayso.model.score import score_head

Names = str | Iterable[str] | Callable[[str], bool] | None
"""A name, a glob pattern, several of them, a predicate, or None for all names except `hook_result`."""


class Opened(Protocol):
    """An opened model, such as `sayso.Model`."""

    @property
    def module(self) -> Transformer:
        """The Transformer itself."""
        ...


def network_of(model: Transformer | Opened) -> Transformer:
    """Return the Transformer of an opened model."""
    return model if isinstance(model, Transformer) else model.module


def activation_names(model: Transformer | Opened) -> tuple[str, ...]:
    """Return the names of all activations of a model, in the order of the forward pass."""
    network = network_of(model)
    config = network.config
    blocks = [f"blocks.{layer}.{name}" for layer in range(config.layers) for name in _block(config, layer)]
    last = "logits" if score_head(network) is None else "score"
    return *_embedding(config), *blocks, *_norm("ln_final"), last


def select(names: Names, known: Sequence[str]) -> tuple[str, ...]:
    """Return the selected ones of the `known` names, in their order.

    Raises `UserError` for a name or a pattern that matches none of them, with the nearest name.
    """
    if names is None:
        return tuple(name for name in known if not name.endswith("hook_result"))
    if callable(names):
        return tuple(name for name in known if names(name))
    patterns = [names] if isinstance(names, str) else list(names)
    found = {name for pattern in patterns for name in _matches(pattern, known)}
    return tuple(name for name in known if name in found)


def unknown(name: str, known: Sequence[str]) -> UserError:
    """Return the error for a name that the model does not have: why, as far as it is known, and the nearest name."""
    layers = sum(other.endswith("hook_resid_pre") for other in known)
    block = re.match(r"blocks\.(\d+)\.", name)
    if block and int(block[1]) >= layers:
        reason = f", which has blocks 0 to {layers - 1}"
    else:
        near = [other for other in known if block is None or other.startswith(block[0])]
        missing = (what for part, what in _ABSENT.items() if part in name and not any(part in other for other in near))
        reason = next((f", which has {what}" for what in missing), "")
    return UserError(f"'{name}' is not an activation of this model{reason}.{nearest(name, known)}")


_ABSENT = {
    "hook_rot_": "no rotary positions in this layer",
    "hook_pos_embed": "no learned positions",
    "hook_pre_linear": "no gate in its MLP",
    "_norm.": "no norm of queries and keys",
    "_post.hook_": "no norms after its sublayers",
    "ln1.": "no norms before its sublayers",
    "ln2.": "no norms before its sublayers",
    "hook_ngram_embed": "no n-gram embeddings",
    "hook_shift_embed": "no token shift",
    "logits": "a scalar head",
}
"""Part of a name -> why a model or a block has none with that part."""


def _matches(pattern: str, known: Sequence[str]) -> list[str]:
    found = [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        raise unknown(pattern, known)
    return found


def _norm(name: str) -> tuple[str, str]:
    return f"{name}.hook_scale", f"{name}.hook_normalized"


def _embedding(config: ModelConfig) -> Iterator[str]:
    yield "hook_embed"
    if config.shift:
        yield "hook_shift_embed"
    if config.positions == "learned":
        yield "hook_pos_embed"
    if config.ngrams:
        yield "hook_ngram_embed"


def _block(config: ModelConfig, layer: int) -> Iterator[str]:
    before, after = (config.norm_place in (place, "both") for place in ("pre", "post"))
    yield "hook_resid_pre"
    yield from _norm("ln1") if before else ()
    yield from ("attn.hook_q", "attn.hook_k", "attn.hook_v")
    yield from (*_norm("attn.q_norm"), *_norm("attn.k_norm")) if config.qk_norm != "none" else ()
    if config.positions == "rotary" and layer not in config.rope.nope_layers:
        yield from ("attn.hook_rot_q", "attn.hook_rot_k")
    yield from ("attn.hook_attn_scores", "attn.hook_pattern", "attn.hook_z", "attn.hook_result")
    yield from _norm("ln1_post") if after else ()
    yield from ("hook_attn_out", "hook_resid_mid")
    yield from _norm("ln2") if before else ()
    yield "mlp.hook_pre"
    yield from ("mlp.hook_pre_linear",) if config.mlp in GATED else ()
    yield "mlp.hook_post"
    yield from _norm("ln2_post") if after else ()
    yield from ("hook_mlp_out", "hook_resid_post")
