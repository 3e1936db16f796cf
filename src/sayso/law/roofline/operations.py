"""Records the operations that torch dispatches during a piece of work: kind, arithmetic and bytes of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Kind = Literal["product", "attention", "attention backward", "exponential", "index", "element"]
_EXPONENTIAL = ("exp", "softmax", "silu", "gelu", "sigmoid", "tanh", "pow", "log", "cos", "sin", "erf")
_INDEX = ("index", "gather", "scatter", "embedding", "nonzero", "sort", "masked")
_PRODUCTS: Mapping[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "mm": lambda a, b, *_: (a, b),
    "bmm": lambda a, b, *_: (a, b),
    "addmm": lambda _, a, b, *__: (a, b),
    "addmm_": lambda _, a, b, *__: (a, b),
    "baddbmm": lambda _, a, b, *__: (a, b),
    "_linear_pointwise": lambda x, w, *_: (x.flatten(0, -2), w.mT),
}


@dataclass(frozen=True)
class Operation:
    """One dispatched operation that touches memory."""

    name: str
    kind: Kind
    flops: int
    bytes: int
    """Of all its inputs and outputs, each counted once."""
    shape: tuple[int, int, int] = (0, 0, 0)
    """Rows, inputs and outputs of a product; for attention its queries, its head size, and its keys."""


def recorded(work: Callable[[], object]) -> list[Operation]:
    """Do some work, and return the operations that it consisted of; views are left out."""
    with _Recorder() as recorder:
        work()
    return recorder.found


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.found.append(_operation(func, args, kwargs or {}, out))
        return out


def _operation(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Operation:
    name = func.overloadpacket.__name__
    tensors = {id(x): x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)}
    size = sum(x.numel() * x.element_size() for x in tensors.values())
    if name in _PRODUCTS:
        a, b = _PRODUCTS[name](*args)
        rows, inputs, outputs = a.shape[-2], a.shape[-1], b.shape[-1]
        return Operation(name, "product", 2 * a.numel() * outputs, size, (rows, inputs, outputs))
    if "scaled_dot_product" in name:
        return _attention(name, args, size)
    return Operation(name, _kind(name), 0, size)


def _attention(name: str, args: tuple[Any, ...], size: int) -> Operation:
    """Return the operation of attention [..., T, D] to [..., S, D]: 2 products forward, 5 backward."""
    backward = "backward" in name
    query, key = args[1:3] if backward else args[:2]
    shape = query.shape[-2], query.shape[-1], key.shape[-2]
    flops = (10 if backward else 4) * query.numel() * key.shape[-2]
    return Operation(name, "attention backward" if backward else "attention", flops, size, shape)


def _kind(name: str) -> Kind:
    if any(word in name for word in _EXPONENTIAL):
        return "exponential"
    return "index" if any(word in name for word in _INDEX) else "element"


def total_flops(operations: Sequence[Operation]) -> int:
    """Return the operations of all products, attention included."""
    return sum(one.flops for one in operations)
