"""Calling deeply recursive native code in a thread with a large stack.

A native stack overflow kills the process, and no handler can prevent that; so the stack must be large enough.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sayso.base.errors import UserError

_Value = TypeVar("_Value")
STACK = 2**28  # bytes, of which only used pages take memory. The worst grammars of 64 kB use about 64 MiB.
_starting = threading.Lock()  # the size of new stacks is a setting of the process


def on_deep_stack(function: Callable[[], _Value]) -> _Value:
    """Call a function in a thread with a stack of 256 MiB; return its result or raise its exception.

    Raises `UserError` if the system cannot create such a thread.
    """
    future: Future[_Value] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    with _starting:
        default = threading.stack_size(STACK)
        try:
            thread.start()
        except RuntimeError as error:
            raise UserError(
                f"Compiling a grammar needs a thread with a stack of {STACK >> 20} MiB; the system refused one. "
                "Raise the limit on virtual memory (ulimit -v) or on threads (ulimit -u)."
            ) from error
        finally:
            threading.stack_size(default)
    return future.result()
