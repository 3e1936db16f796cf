"""A mode in which the model is differentiable any number of times, and by `torch.func`.

The model's own autograd functions write their backward pass by hand, which is faster but can be differentiated only
once. Inside `plain_autograd()` the same values are computed from PyTorch's own operations, and attention by its math
kernel, so that Hessian-vector products (`create_graph=True`) and `torch.func.grad`, `jvp`, `vmap` and `hessian` work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_PLAIN = ContextVar("plain_autograd", default=False)


@contextmanager
def plain_autograd() -> Iterator[None]:
    """Compute the forward passes inside by operations that can be differentiated repeatedly; values stay the same."""
    token = _PLAIN.set(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Whether the code runs inside `plain_autograd()`; never while it is compiled, which cannot look."""
    return not torch.compiler.is_compiling() and _PLAIN.get()
