"""Tools that a model may call: validates OpenAI's `tools` and `tool_choice`, returns prompt and grammar.

A call is `<tool_call>`, a line of JSON with name and arguments, `</tool_call>`, as in Hermes and Qwen. The grammar
constrains the reply: always if a call is required, from `<tool_call>` on if the model may choose.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.sample.grammar import Grammar, inlined, lark, quoted, schema_text
from sayso.token.tools import CALL, CLOSING, opening

MOST_TOOLS = 128
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # OpenAI's rule
CHOICES = ("none", "auto", "required")
FIELDS = {"tool": {"type", "function"}, "function": {"name", "description", "parameters", "strict"}}


@dataclass(frozen=True)
class Tool:
    """One callable function."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    strict: bool
    """Whether unsupported schema keywords are an error; otherwise they are ignored."""


@dataclass(frozen=True)
class Toolbox:
    """The tools of one request, and how they may be used."""

    tools: tuple[Tool, ...] = ()
    choice: str = "none"
    """"none", "auto" (text or calls), "required", or the name of the one tool that must be called."""
    parallel: bool = True
    """Whether a reply may contain more than one call."""

    @property
    def calls(self) -> bool:
        """Whether the reply may contain calls: `grammar` then constrains them and `Calls` parses them."""
        return self.choice != "none"

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The tools to include in the prompt, for `render`; empty if none may be called."""
        return [_to_openai(tool) for tool in self.tools] if self.calls else []

    def grammar(self, *, text: bool = True) -> Grammar | None:
        """Return the grammar of the reply; None if it is unconstrained.

        Without `text` the reply consists of calls, even if the model may choose: a separate grammar covers text.
        Raises `UserError` if the schemas are too large together.
        """
        if not self.calls:
            return None
        allowed = [tool for tool in self.tools if self.choice in (*CHOICES, tool.name)]
        more = f'("\\n{CALL}" body)*' if self.parallel else ""
        if self.choice == "auto" and text:
            # Lazy: it ends at the first marker, so that no text follows one. TEXT is for replies without calls.
            lines = [f"start: TEXT | call body {more}", f"call[lazy]: TEXT {quoted(CALL)}", r"TEXT: /(?s:.*)/"]
        else:
            lines = [f"start: {quoted(CALL)} body {more}"]
        lines.append("body: " + " | ".join(f"body_{number}" for number in range(len(allowed))))
        for number, tool in enumerate(allowed):
            schema = inlined(tool.parameters, f"The parameters of '{tool.name}'", lenient=not tool.strict)
            lines += [f"body_{number}: {quoted(opening(tool.name))} arguments_{number} {quoted(CLOSING)}"]
            lines += [f"arguments_{number}: {schema}"]
        return lark("\n".join(lines), "set of tools")


def toolbox(tools: Sequence[Any] | None, choice: Any = None, *, parallel: bool | None = None) -> Toolbox:
    """Parse OpenAI's `tools`, `tool_choice` and `parallel_tool_calls`; None means OpenAI's default.

    Raises `UserError` for invalid values: the tool by its position or name, the rule, the value given.
    """
    if tools is not None and not isinstance(tools, list | tuple):
        raise UserError(f"'tools' must be a list of functions; got {type(tools).__name__}.")
    parsed = tuple(_tool(place, tool) for place, tool in enumerate(tools or ()))
    names = [tool.name for tool in parsed]
    if len(parsed) > MOST_TOOLS:
        raise UserError(f"A request may have at most {MOST_TOOLS} tools; got {len(parsed)}.")
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"Tool names must be unique; '{duplicate}' occurs twice.")
    return Toolbox(parsed, _choice(choice, names), parallel is not False)


def _tool(place: int, given: Any) -> Tool:
    where = f"tools[{place}]"
    tool = _fields(given, where, "tool")
    if tool.get("type") != "function":
        raise UserError(f"A tool's type must be 'function'; that of {where} is {tool.get('type')!r:.100}.")
    function = _fields(tool.get("function"), f"{where}.function", "function")
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f"A tool's name must have 1 to 64 letters, digits, _ or -, such as get_time; {where} has {name!r:.100}."
        )
    if not isinstance(description, str | None):
        raise UserError(f"A tool's description must be text; that of '{name}' is {type(description).__name__}.")
    if not isinstance(function.get("strict"), bool | None):
        raise UserError(f"'strict' of a tool must be true or false; that of '{name}' is {function['strict']!r:.100}.")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    schema_text(parameters, f"A schema as the parameters of '{name}'")
    if parameters.get("type", "object") != "object":
        raise UserError(
            f"The parameters of a tool must be the schema of an object; those of '{name}' have the type "
            f"{parameters['type']!r:.100}: wrap them in an object."
        )
    return Tool(name, description or "", {"type": "object", **parameters}, bool(function.get("strict")))


def _fields(given: Any, where: str, kind: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"{where} must be a JSON object; got {type(given).__name__}.")
    if unknown := [str(key) for key in given if key not in FIELDS[kind]]:
        hint = nearest(unknown[0], FIELDS[kind])
        raise UserError(f"{where} may only have {', '.join(sorted(FIELDS[kind]))}; got '{unknown[0]:.100}'.{hint}")
    return given


def _choice(choice: Any, names: Sequence[str]) -> str:
    if choice is None:
        return "auto" if names else "none"
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if choice.get("type") != "function" or name not in names:
            hint, known = nearest(str(name), names), ", ".join(names) or "none"
            raise UserError(f"'tool_choice' must name one of the tools ({known}); got {name!r:.100}.{hint}")
        return str(name)
    if choice not in CHOICES:
        raise UserError(f"'tool_choice' must be {', '.join(CHOICES)} or name a function; got {choice!r:.100}.")
    if choice == "required" and not names:
        raise UserError("'tool_choice' 'required' needs 'tools'; got none.")
    return str(choice) if names else "none"


def _to_openai(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}
