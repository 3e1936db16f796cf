"""The sampling settings are declared once: flags, API fields, keyword arguments and the page agree."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from sayso.api.model import settings
from sayso.base.errors import UserError
from sayso.base.ranges import HUGE, Options, Share, numbers_of
from sayso.cli.commands import as_command
from sayso.reply.speaking import GenerationOptions
from sayso.run.chat import Chat
from sayso.run.generate import Generate
from sayso.sample.sampling import Sampling
from sayso.sample.settings import Control, SamplingSettings, Setting, declared
from sayso.serve.openai import ChatRequest, CompletionRequest
from sayso.serve.replies import ReplyBody
from sayso.serve.responses import ResponsesRequest
from sayso.serve.setting_fields import LIMITS, page_controls, settings_of, with_settings

NAMES = [setting.name for setting in declared()]
BODIES = {
    ChatRequest: {"messages": [{"role": "user", "content": "hi"}]},
    CompletionRequest: {"prompt": "hi"},
    ResponsesRequest: {"input": "hi"},
    ReplyBody: {"message_id": 1},
}


@dataclass(frozen=True, kw_only=True)
class More(SamplingSettings):
    """One setting more."""

    warmth: Annotated[Share, Control("Warmth", "Higher values are warmer.", most=0.5, step=0.1)] = 0.25
    """Warmth of the reply; 0 = off."""


@dataclass(frozen=True, kw_only=True)
class MoreOptions(More, GenerationOptions):
    """Options of an act."""


def speak(options: MoreOptions) -> float:
    """Speak."""
    return options.warmth


def test_a_setting_added_to_the_declaration_appears_everywhere() -> None:
    """As a flag with its help and range, as an optional field of a body, and as a control."""
    added = declared(More)[-1]
    control = Control("Warmth", "Higher values are warmer.", most=0.5, step=0.1)
    assert added == Setting("warmth", float, added.limits, 0.25, "Warmth of the reply; 0 = off.", control)
    flag = as_command(speak).__signature__.parameters["warmth"]  # type: ignore[attr-defined]
    assert flag.default == 0.25
    assert flag.annotation.__metadata__[-1].help == "Warmth of the reply; 0 = off. Range: from 0 to 1."
    assert as_command(speak)(warmth=0.5) == 0.5
    with pytest.raises(UserError, match="--warmth must be from 0 to 1; got 2"):
        as_command(speak)(warmth=2)

    @with_settings(More)
    class Body(BaseModel):
        """A body."""

    assert Body(warmth=0.5).warmth == 0.5
    assert Body(warmth=None).warmth is None
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        Body(warmth=2)
    *rest, shown = page_controls(64, More)
    assert rest == page_controls(64)
    numbers = {"min": 0, "max": 0.5, "step": 0.1, "default": 0.25, "unset": "random", "more": False}
    assert shown == {"name": "warmth", "label": "Warmth", "help": control.help, "type": "range", **numbers}


@pytest.mark.parametrize("setting", declared(), ids=NAMES)
def test_flags_arguments_and_declaration_agree(setting: Setting) -> None:
    """Default, type, range and help are the declared ones; so are those of `Sampling`, but for seeds of any size."""
    assert setting.help
    for kind in (Generate, Chat, Sampling):
        assert next(field.default for field in fields(kind) if field.name == setting.name) == setting.default
        if kind is not Sampling or setting.name != "seed":
            assert (setting.name, setting.kind, setting.limits) in numbers_of(kind)
    helps = as_command_helps()
    assert helps[setting.name] == f"{setting.help} Range: {setting.limits}."
    assert getattr(settings({setting.name: 1}), setting.name) == 1
    assert getattr(Generate(**{setting.name: 1}).sampling(), setting.name) == 1


def as_command_helps() -> dict[str, Any]:
    """The help of each flag of a command that generates text."""
    flags = as_command(speak).__signature__.parameters.values()  # type: ignore[attr-defined]
    return {flag.name: flag.annotation.__metadata__[-1].help for flag in flags}


@pytest.mark.parametrize("setting", declared(), ids=NAMES)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_fields_of_the_api_and_declaration_agree(body: Any, setting: Setting) -> None:
    """Type, range and help are the declared ones, but for the listed limits; what is not set has the default."""
    if body is ResponsesRequest and setting.name == "max_tokens":
        assert setting.name not in body.model_fields  # its name is max_output_tokens there
        return
    field = body.model_json_schema()["properties"][setting.name]
    number, null = field["anyOf"]
    assert (field["default"], null) == (None, {"type": "null"})
    limits = LIMITS.get(setting.name, setting.limits)
    least, most = ("exclusiveMinimum" if limits.above else "minimum"), "maximum"
    assert number.pop("description") == setting.help
    assert number == {"type": {int: "integer", float: "number"}[setting.kind], least: limits.least, most: limits.most}
    assert settings_of(body(**BODIES[body])) == {}
    assert settings_of(body(**BODIES[body], **{setting.name: None})) == {}
    assert settings_of(body(**BODIES[body], **{setting.name: 1})) == {setting.name: 1}


@pytest.mark.parametrize("name", ["top_k", "dry_penalty_last_n"])
def test_minus_one_is_off_in_the_api(name: str) -> None:
    """As in vLLM and llama.cpp; the declared value for it is 0."""
    for body, rest in BODIES.items():
        assert settings_of(body(**rest, **{name: -1})) == {name: 0}


def test_controls_of_the_page_agree_with_the_declaration() -> None:
    """Each is a declared setting with its default; its ends are in the declared range, or there are none."""
    by_name = {setting.name: setting for setting in declared()}
    shown = page_controls(64)
    assert [control["name"] for control in shown] == list(by_name)
    assert [control["name"] for control in shown if not control["more"]] == ["temperature", "max_tokens"]
    for control in shown:
        setting = by_name[control["name"]]
        assert control["default"] == setting.default
        assert control["min"] == (setting.limits.least if setting.limits.least > -HUGE else None)
        assert control["max"] is None or control["max"] in setting.limits
    assert [control["max"] for control in shown if control["name"] == "max_tokens"] == [64]


def test_the_declaration_is_the_base_of_the_options() -> None:
    """Its fields stand between the model and the device, in their order."""
    assert issubclass(GenerationOptions, Options)
    assert [field.name for field in fields(GenerationOptions)] == ["life", "model", *NAMES, "device"]
