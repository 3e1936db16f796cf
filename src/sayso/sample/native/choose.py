"""Which runner a model gets: the native one on a CPU where it can be had, recorded passes on a GPU, else torch's."""

from functools import cache

from sayso.base.log import warn
from sayso.model.adapters import adapters
from sayso.model.transformer import Transformer
from sayso.sample.graphs import GraphRunner
from sayso.sample.native.both import BothRunner
from sayso.sample.native.check import why_not
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import AloneRunner, Runner, TorchRunner
from sayso.weights.quantize.layers import QuantizedLinear


def runner_for(model: Transformer, pages: Pages, *, deterministic: bool = False) -> Runner:
    """Return a model's runner. On a CPU, a reason why a plain model's is not the native one is told once in a process.

    `deterministic`: one whose bits for a row do not depend on what else is computed. The native one always is; without
    it each token is computed alone.
    """
    device = pages.keys[0].device.type
    if device == "cpu":
        why = why_not(model)
        if not why:
            whole = any(isinstance(layer, QuantizedLinear) for layer in model.modules())  # its products are as fast
            return NativeRunner(model, pages) if deterministic or whole else BothRunner(model, pages)
        if not adapters(model):  # these are known to take torch's, and a run that tunes them asks again and again
            _tell(why)
    if deterministic:
        return AloneRunner(model, pages)
    return GraphRunner(model, pages) if device == "cuda" else TorchRunner(model, pages)


@cache
def _tell(why: str) -> None:
    warn(f"{why} Tokens are computed by torch, which is slower.")
