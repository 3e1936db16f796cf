"""Python functions as option values: each is identified by a name that changes with its code.

Options are recorded with their run, so a function is recorded as its module, its qualified name and a hash of its
source text. The same code has the same name in another process, and a resumed run detects a function that changed.
"""

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from sayso.base.errors import UserError, nearest

_PREFIX = "python:"
_PLAIN = (str, bytes, int, float, complex, bool, type(None), Path)
_PASSED: dict[str, Callable[..., Any]] = {}  # by name; options hold only names


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, with which `passed` returns it in this process.

    Raises `UserError` for anything that its source cannot identify: a lambda, a method, a callable object, a built-in,
    or a function whose closure or defaults hold one of these or another object.
    """
    name = f"{_PREFIX}{_title(function)}#{hashlib.sha256(_mark(function).encode()).hexdigest()[:12]}"
    _PASSED[name] = function
    return name


def is_passed(name: str) -> bool:
    """Whether an option's value is the name of a function."""
    return name.startswith(_PREFIX)


def passed(name: str) -> Callable[..., Any]:
    """Return the function with a name. Raises `UserError` if it was not passed in this process."""
    if name not in _PASSED:
        raise UserError(f"The function '{name}' is unknown in this process; pass the function itself, from Python.")
    return _PASSED[name]


def imported(source: str, name: str, flag: str) -> Callable[..., Any]:
    """Return a function of a Python file or an importable module.

    Raises `UserError`, which begins with `flag`, for a module that cannot be imported, or has no such function.
    """
    module = _module(source, flag)
    function: Any = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{flag}: '{source}' has no function '{name}'.{nearest(name, dir(module))}")
    return function


def _module(source: str, flag: str) -> ModuleType:
    try:
        if not source.endswith(".py"):
            return import_module(source)
        spec = spec_from_file_location(Path(source).stem, source)
        assert spec is not None
        assert spec.loader is not None, "a path that ends in .py has a loader"
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise UserError(f"{flag} could not be imported ({type(error).__name__}: {error}).") from error


def _mark(value: Any, within: tuple[Any, ...] = ()) -> str:
    """Return text that is equal for equal functions and plain values; `within` are the enclosing functions."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(_mark(part, within) for part in value)})"
    if not isinstance(value, FunctionType) or value.__name__ == "<lambda>":
        raise UserError(
            "A function passed as an option must be defined with 'def', and its defaults and closure may hold only "
            f"such functions, numbers and text; got {_title(value)}."
        )
    if value in within:
        return _title(value)
    held = [value.__defaults__ or (), *(part for pair in sorted((value.__kwdefaults__ or {}).items()) for part in pair)]
    held += [cell.cell_contents for cell in value.__closure__ or ()]
    return "\n".join([_title(value), _source(value), *(_mark(part, (*within, value)) for part in held)])


def _source(function: FunctionType) -> str:
    """Return the source text of a function itself, even if a decorator made it look like another one."""
    try:
        return textwrap.dedent(inspect.getsource(function.__code__))
    except (OSError, TypeError) as error:
        raise UserError(
            f"The source of the function {_title(function)} cannot be found, so it cannot be identified; define it in "
            "a file or a notebook cell."
        ) from error


def _title(value: Any) -> str:
    if isinstance(value, FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"
