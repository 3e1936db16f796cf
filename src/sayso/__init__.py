"""Sayso: the whole life of a language model in one package.

    import sayso

    model = sayso.load("smollm2")
    model.chat("What is the capital of France?")

Names are imported when they are first used, so `import sayso` takes milliseconds and loads no torch. Each folder is a
stage that imports only stages to its left; docs/architecture.md draws them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sayso import lens
    from sayso.api.life import Life
    from sayso.api.model import Model, load
    from sayso.base.errors import UserError
    from sayso.base.output import output
    from sayso.model.autograd import plain_autograd
    from sayso.sample.sampling import Sampling

_WHERE = {
    "Life": "sayso.api.life",
    "Model": "sayso.api.model",
    "Sampling": "sayso.sample.sampling",
    "UserError": "sayso.base.errors",
    "lens": "sayso.lens",
    "load": "sayso.api.model",
    "output": "sayso.base.output",
    "plain_autograd": "sayso.model.autograd",
}

__all__ = ["Life", "Model", "Sampling", "UserError", "lens", "load", "output", "plain_autograd"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'sayso' has no attribute '{name}'")
    module = import_module(_WHERE[name])
    return module if module.__name__ == f"sayso.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
