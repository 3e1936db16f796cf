"""A mode that makes the model differentiable repeatedly and by `torch.func`.

The model's autograd functions have handwritten backward passes, which are faster but can be differentiated only once.
Inside `plain_autograd()` the same values are computed by built-in PyTorch operations, and attention by its math kernel,
so that Hessian-vector products (`create_graph=True`) and `torch.func.grad`, `jvp`, `vmap` and `hessian` work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_PLAIN = ContextVar("plain_autograd", default=False)


@contextmanager
def plain_autograd() -> Iterator[None]:
    """Use only operations that can be differentiated repeatedly in the forward passes inside; values are the same."""
    token = _PLAIN.set(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Whether the code runs inside `plain_autograd()`; False in `torch.compile`, which cannot trace the variable."""
    return not torch.compiler.is_compiling() and _PLAIN.get()
