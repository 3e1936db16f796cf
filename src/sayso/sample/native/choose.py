"""Chooses a model's runner: the native one on a CPU if it is available, recorded passes on a GPU, else torch's."""

from functools import cache

from sayso.base.log import warn
from sayso.model.adapters import adapters
from sayso.model.transformer import Transformer
from sayso.sample.graphs import GraphRunner
from sayso.sample.native.both import BothRunner
from sayso.sample.native.check import hooked, why_not
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import AloneRunner, Runner, TorchRunner
from sayso.weights.quantize.layers import QuantizedLinear


def runner_for(model: Transformer, pages: Pages, *, deterministic: bool = False) -> Runner:
    """Return a model's runner. On a CPU, warn once if a model without adapters and hooks cannot run natively.

    `deterministic`: the bits of a row do not depend on the rest of the batch. This always holds for the native runner;
    without it, each token is computed in a separate pass.
    """
    device = pages.keys[0].device.type
    if device == "cpu":
        reason = why_not(model)
        if not reason:
            # Quantized prompts are as fast natively.
            quantized = any(isinstance(layer, QuantizedLinear) for layer in model.modules())
            return NativeRunner(model, pages) if deterministic or quantized else BothRunner(model, pages)
        if not (adapters(model) or hooked(model)):  # these always run with torch, and training asks often
            _warn(reason)
    if deterministic:
        return AloneRunner(model, pages)
    return GraphRunner(model, pages) if device == "cuda" else TorchRunner(model, pages)


@cache
def _warn(reason: str) -> None:
    warn(f"{reason} Using torch, which is slower.")
