"""Which runner a model gets: the native one where it can be had, else torch's, with one sentence why."""

from functools import cache

from sayso.base.log import warn
from sayso.model.transformer import Transformer
from sayso.sample.native.check import why_not
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Runner, TorchRunner


def runner_for(model: Transformer, pages: Pages) -> Runner:
    """Return a model's runner. On a CPU, a reason why it is not the native one is told once in a process."""
    if pages.keys[0].device.type != "cpu":
        return TorchRunner(model, pages)
    why = why_not(model)
    if not why:
        return NativeRunner(model, pages)
    _tell(why)
    return TorchRunner(model, pages)


@cache
def _tell(why: str) -> None:
    warn(f"{why} Tokens are computed by torch, which is slower.")
