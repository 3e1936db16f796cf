"""The declared sampling settings (`sample/settings.py`) as fields of request bodies and as controls of the page."""

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, Field, create_model

from sayso.base.ranges import HUGE, LARGEST, Range
from sayso.sample.settings import SamplingSettings, Setting, declared

# Ranges of the HTTP API that differ from the declared ones: those of OpenAI, and -1 for off of vLLM and llama.cpp.
LIMITS = {
    "temperature": Range(0, 100),
    "top_p": Range(0, 1),
    "max_tokens": Range(0, LARGEST),
    "repetition_penalty": Range(0, 100, above=True),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "top_k": Range(-1, LARGEST),
    "dry_penalty_last_n": Range(-1, LARGEST),
    "seed": Range(-(2**63), LARGEST),
}
OPENAI = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens", "seed")
"""Settings that every server with OpenAI's API has."""
ALIASES = {"repetition_penalty": ("repeat_penalty",), "max_tokens": ("n_predict", "num_predict")}
"""Names of llama.cpp and Ollama for the same settings."""
_MINUS_ONE_IS_OFF = ("top_k", "dry_penalty_last_n")
_TINY = 1e-9  # a nucleus of only the most likely token, which OpenAI writes as 0
_Body = TypeVar("_Body", bound=BaseModel)


def with_settings(
    kind: type = SamplingSettings, *, without: Collection[str] = ()
) -> Callable[[type[_Body]], type[_Body]]:
    """Return a decorator that adds the declared settings to a request body as optional fields, except `without`."""
    added: dict[str, Any] = {
        one.name: (_field(one) | None, _default(one.name)) for one in declared(kind) if one.name not in without
    }

    def add(body: type[_Body]) -> type[_Body]:
        return create_model(body.__name__, __base__=body, __module__=body.__module__, __doc__=body.__doc__, **added)

    return add


def settings_of(body: BaseModel) -> dict[str, Any]:
    """Return the settings that a body sets, by name."""
    given = {setting.name: getattr(body, setting.name, None) for setting in declared()}
    return {name: _in_range(name, value) for name, value in given.items() if value is not None}


def _in_range(name: str, value: Any) -> Any:
    """Return a value of the API in the declared range of its setting."""
    if name in _MINUS_ONE_IS_OFF:
        return max(value, 0)
    return max(value, _TINY) if name == "top_p" else value


def page_controls(context: int | None, kind: type = SamplingSettings) -> list[dict[str, Any]]:
    """Return a control of the page for each setting in their order.

    A reply is at most as long as the context, if that is known. Those without a declared control are `more`: number
    boxes for people who know them. `unset` is what an empty one without a default means.
    """
    return [_control(setting, context) for setting in declared(kind)]


def remote_controls() -> list[dict[str, Any]]:
    """Return the controls for a server with OpenAI's API: the settings that it has, not sent until they are set."""
    unset = {"type": "number", "default": None, "unset": "the server's default", "more": True}
    return [one | unset for one in page_controls(None) if one["name"] in OPENAI]


def _control(setting: Setting, context: int | None) -> dict[str, Any]:
    control, limits = setting.control, setting.limits
    most = control.most if control else limits.most if limits.most < HUGE else None
    return {
        "name": setting.name,
        "label": control.label if control else setting.name.replace("_", " ").capitalize(),
        "help": control.help if control else setting.help,
        "type": "number" if control is None or control.most is None else "range",
        "min": limits.least if limits.least > -HUGE else None,
        "max": context if setting.name == "max_tokens" else most,
        "step": control.step if control else 1 if setting.kind is int else "any",
        "default": setting.default,
        "unset": "random",
        "more": control is None,
    }


def _default(name: str) -> Any:
    """Return the default of a field, None, with its other names."""
    return Field(None, validation_alias=AliasChoices(name, *ALIASES[name])) if name in ALIASES else None


def _field(setting: Setting) -> Any:
    limits = LIMITS.get(setting.name, setting.limits)
    bounds: dict[str, Any] = {
        "gt" if limits.above else "ge": limits.least,
        "lt" if limits.below else "le": limits.most,
        "allow_inf_nan": False if setting.kind is float else None,
    }
    return Annotated[setting.kind, Field(description=setting.help, **bounds)]
