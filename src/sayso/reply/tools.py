"""Tools that a model may call: validates OpenAI's `tools` and `tool_choice`, returns prompt and grammar.

A call is `<tool_call>`, a line of JSON with name and arguments, `</tool_call>`, as in Hermes and Qwen. The grammar
constrains the reply: always if a call is required, from `<tool_call>` on if the model may choose.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sayso.base.errors import FieldError, UserError, nearest
from sayso.base.json_words import either_of, json_shown
from sayso.reply.schema import closed
from sayso.sample.grammar import Grammar, inlined, json_schema, lark, quoted, schema_text
from sayso.token.template import THINK
from sayso.token.tools import CALL, CLOSING, opening

MOST_TOOLS = 128
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # OpenAI's rule
CHOICES = ("none", "auto", "required")
INPUT = "input"  # the one argument that a custom tool has in the prompt and in the reply
FIELDS = {
    "tool": {"type", "function"},
    "function": {"name", "description", "parameters", "strict"},
    "custom tool": {"type", "custom"},
    "custom": {"name", "description", "format"},
    "set of allowed tools": {"mode", "tools"},
}


@dataclass(frozen=True)
class Tool:
    """One callable function."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    strict: bool
    """Whether unsupported schema keywords are an error; otherwise they are ignored."""
    custom: bool = False
    """Whether it is one of OpenAI's custom tools, whose input is a text; its one argument is `INPUT`."""


@dataclass(frozen=True)
class Toolbox:
    """The tools of one request, and how they may be used."""

    tools: tuple[Tool, ...] = ()
    choice: str = "none"
    """"none", "auto" (text or calls), "required", or the name of the one tool that must be called."""
    parallel: bool = True
    """Whether a reply may contain more than one call."""
    allowed: frozenset[str] | None = None
    """The only tools that may be called (OpenAI's `allowed_tools`); None: all. The prompt has all of them."""

    @property
    def calls(self) -> bool:
        """Whether the reply may contain calls: `grammar` then constrains them and `Calls` parses them."""
        return self.choice != "none"

    @property
    def custom(self) -> frozenset[str]:
        """Names of the custom tools."""
        return frozenset(tool.name for tool in self.tools if tool.custom)

    @property
    def schemas(self) -> dict[str, Grammar]:
        """The grammar of each tool's arguments alone, by the field that sets it, to tell which of them is wrong."""
        return {
            f"tools[{place}].{'custom.format' if tool.custom else 'function.parameters'}": replace(
                json_schema(closed(tool.parameters), lenient=not tool.strict),
                name=f"schema of the tool {json_shown(tool.name)}",
            )
            for place, tool in enumerate(self.tools)
        }

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The tools to include in the prompt, for `render`; empty if none may be called."""
        return [_to_openai(tool) for tool in self.tools] if self.calls else []

    def grammar(self, *, text: bool = True, reasons: bool = False) -> Grammar | None:
        """Return the grammar of the reply; None if it is unconstrained.

        Without `text` the reply consists of calls, even if the model may choose: a separate grammar covers text. If it
        `reasons`, the text does not begin with `<think>`: `after_reasoning` covers that.
        Raises `UserError` if the schemas are too large together.
        """
        if not self.calls:
            return None
        allowed = [tool for tool in self.tools if self.choice in (*CHOICES, tool.name)]
        if self.allowed is not None:
            allowed = [tool for tool in allowed if tool.name in self.allowed]
        more = f'("\\n{CALL}" body)*' if self.parallel else ""
        if self.choice == "auto" and text:
            # Lazy: it ends at the first marker, so that no text follows one. TEXT is for replies without calls.
            free = rf"/(?s:.*)/ & ~/[ \n]*{THINK}(?s:.*)/" if reasons else "/(?s:.*)/"
            lines = [f"start: TEXT | call body {more}", f"call[lazy]: TEXT {quoted(CALL)}", f"TEXT: {free}"]
        else:
            lines = [f"start: {quoted(CALL)} body {more}"]
        lines.append("body: " + " | ".join(f"body_{number}" for number in range(len(allowed))))
        for number, tool in enumerate(allowed):
            schema = inlined(closed(tool.parameters), f"The schema of the tool '{tool.name}'", lenient=not tool.strict)
            lines += [f"body_{number}: {quoted(opening(tool.name))} arguments_{number} {quoted(CLOSING)}"]
            lines += [f"arguments_{number}: {schema}"]
        return lark("\n".join(lines), "set of tools")


def toolbox(tools: Sequence[Any] | None, choice: Any = None, *, parallel: bool | None = None) -> Toolbox:
    """Parse OpenAI's `tools`, `tool_choice` and `parallel_tool_calls`; None means OpenAI's default.

    Raises `FieldError` for invalid values: the field of the tool, the rule, the value given.
    """
    if tools is not None and not isinstance(tools, list | tuple):
        raise FieldError("tools", f"'tools' must be an array of tools; got {json_shown(tools)}.")
    parsed = tuple(_tool(place, tool) for place, tool in enumerate(tools or ()))
    names = [tool.name for tool in parsed]
    if len(parsed) > MOST_TOOLS:
        raise FieldError("tools", f"'tools' must have at most {MOST_TOOLS} items; got {len(parsed)}.")
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise FieldError("tools", f"'tools' must have unique names; {json_shown(duplicate)} occurs more than once.")
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        mode, allowed = _allowed(choice.get("allowed_tools"), names)
        return Toolbox(parsed, mode, parallel is not False, allowed)
    return Toolbox(parsed, _choice(choice, names), parallel is not False)


def _tool(place: int, given: Any) -> Tool:
    where = f"tools[{place}]"
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind == "custom":
        where = f"{where}.custom"
        return _custom(_fields(_fields(given, f"tools[{place}]", "custom tool").get("custom"), where, "custom"), where)
    tool = _fields(given, where, "tool")
    if kind != "function":
        raise _wrong(f"{where}.type", 'must be "function" or "custom"', kind)
    where = f"{where}.function"
    function = _fields(tool.get("function"), where, "function")
    name, description = _named(function, where)
    if not isinstance(function.get("strict"), bool | None):
        raise _wrong(f"{where}.strict", "must be true or false", function["strict"])
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    where = f"{where}.parameters"
    try:
        schema_text(parameters, f"'{where}'")
    except UserError as error:
        raise FieldError(where, str(error)) from error
    if (own := parameters.get("type", "object")) != "object":
        text = f"'{where}' must be the schema of an object; got the type {json_shown(own)}: wrap it in an object."
        raise FieldError(where, text)
    return Tool(name, description, {"type": "object", **parameters}, bool(function.get("strict")))


def _wrong(field: str, rule: str, given: Any, hint: str = "") -> FieldError:
    """Return the error of a field that breaks a rule, such as "must be true or false"."""
    return FieldError(field, f"'{field}' {rule}; got {json_shown(given)}.{hint}")


def _custom(given: Mapping[str, Any], where: str) -> Tool:
    """Return a custom tool: a function whose one argument is a text, free or with a pattern."""
    name, description = _named(given, where)
    form = given.get("format") or {"type": "text"}
    grammar = form.get("grammar") if isinstance(form, Mapping) else None
    text = {"type": "string"}
    if isinstance(grammar, Mapping) and grammar.get("syntax") == "regex" and isinstance(grammar.get("definition"), str):
        text["pattern"] = f"^(?:{grammar['definition']})$"
    elif form != {"type": "text"}:
        raise _wrong(f"{where}.format", 'must be of the type "text", or a grammar with the syntax "regex"', form)
    schema = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return Tool(name, description, schema, strict=True, custom=True)


def _named(given: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Return the checked name and description of a tool."""
    name, description = given.get("name"), given.get("description")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _wrong(f"{where}.name", 'must have from 1 to 64 letters, digits, _ or -, such as "get_time"', name)
    if not isinstance(description, str | None):
        raise _wrong(f"{where}.description", "must be a string", description)
    return name, description or ""


def _fields(given: Any, where: str, kind: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise FieldError(where, f"'{where}' must be an object; got {json_shown(given)}.")
    fields = {str(key): value for key, value in given.items() if value is not None}
    if unknown := next((key for key in fields if key not in FIELDS[kind]), None):
        known = ", ".join(f"'{name}'" for name in sorted(FIELDS[kind]))
        text = f"'{where}.{unknown:.100}' is not a field of a {kind}: {known}.{nearest(unknown, FIELDS[kind], 0.75)}"
        raise FieldError(f"{where}.{unknown:.100}", text)
    return fields


def _allowed(given: Any, names: Sequence[str]) -> tuple[str, frozenset[str]]:
    """Return the mode and the names of OpenAI's `allowed_tools`."""
    fields = _fields(given, "tool_choice.allowed_tools", "set of allowed tools")
    mode, tools = fields.get("mode"), fields.get("tools")
    if mode not in ("auto", "required"):
        raise _wrong("tool_choice.allowed_tools.mode", 'must be "auto" or "required"', mode)
    if not isinstance(tools, list) or not tools:
        raise _wrong("tool_choice.allowed_tools.tools", "must be an array of at least one of the tools", tools)
    return mode, frozenset(_name_of(tool, names) for tool in tools)


def _name_of(choice: Any, names: Sequence[str]) -> str:
    """Return the name of the tool that `{"type": KIND, KIND: {"name": NAME}}` refers to."""
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    named = choice.get(kind) if kind in ("function", "custom") else None
    name = named.get("name") if isinstance(named, Mapping) else None
    if name not in names:
        known = either_of([json_shown(one) for one in names]) or "there are none"
        raise _wrong("tool_choice", f"must name one of the tools ({known})", name, nearest(str(name), names))
    return str(name)


def _choice(choice: Any, names: Sequence[str]) -> str:
    if choice is None:
        return "auto" if names else "none"
    if isinstance(choice, Mapping):
        return _name_of(choice, names)
    if choice not in CHOICES:
        raise _wrong("tool_choice", 'must be "none", "auto" or "required", or name a tool', choice)
    if choice == "required" and not names:
        raise FieldError("tool_choice", "'tool_choice' requires a call, but there are no 'tools'.")
    return str(choice) if names else "none"


def _to_openai(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
