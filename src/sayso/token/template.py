"""A chat template as model folders bring one: messages become the very text that the model was tuned on.

The template is Jinja, run in a sandbox as `transformers` runs it (huggingface.co/docs/transformers, "Chat templates").
What comes out is the text, where in it the content of each message stands, and what the template itself marks as the
assistant's by {% generation %}: that tells what is trained, and keeps a person's words from becoming control tokens.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sayso.base.errors import UserError
from sayso.token.tools import CALL

Messages = Sequence[Mapping[str, Any]]
Span = tuple[int, int]  # characters of a text, from the first to one past the last
_OPEN, _CLOSE = "generation_opens", "generation_closes"


@dataclass(frozen=True)
class Laid:
    """A conversation's text, and the stretches that the template marks as the assistant's; none where it marks none."""

    text: str
    marked: list[Span]


@dataclass(frozen=True)
class Content:
    """Where one message's content stands in the text, as characters from `start` to `end`."""

    message: int
    start: int
    end: int


class Template:
    """A chat template that was compiled once. Raises `UserError` when it cannot be."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """Take the template and what it knows by name, such as `bos_token`."""
        self.source, self.tokens = source, dict(tokens)
        self.when: datetime.datetime | None = None
        """The time that it is told by `strftime_now`, such as that of a run's beginning; the present when None."""
        settings = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        settings.filters["tojson"] = _to_json
        settings.globals |= {"raise_exception": _refuse, "strftime_now": self._now}
        try:
            self._compiled = settings.from_string(source)
            names = meta.find_undeclared_variables(settings.parse(source))
        except jinja2.TemplateError as error:
            raise UserError(f"The chat template of this tokenizer is not valid Jinja ({error}); mend it.") from error

        self.takes_tools = "tools" in names and CALL in source and "<function=" not in source
        """Whether it lays out tools and calls in the format of Hermes and Qwen, JSON between marks."""

    def text(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> str:
        """Return the text of a conversation, as `lay` does."""
        return self.lay(messages, reply=reply, tools=tools).text

    def lay(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> Laid:
        """Return a conversation laid out, with `reply` opened for the model to go on.

        Raises `UserError` with what the template says where it refuses the messages.
        """
        opens, closes = unused_letters([*messages, *tools], self.source, 2)
        return _unmarked(self._render(messages, reply, tools, {_OPEN: opens, _CLOSE: closes}), opens, closes)

    def _now(self, layout: str) -> str:
        return (self.when or datetime.datetime.now().astimezone()).strftime(layout)

    def _render(self, messages: Messages, reply: bool, tools: Messages, marks: Mapping[str, str]) -> str:
        try:
            return self._compiled.render(
                messages=[dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=reply,
                **marks,
                **self.tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"The model's chat template does not take this conversation: {error}") from error

    def contents(
        self, messages: Messages, text: str, *, reply: bool = False, tools: Messages = ()
    ) -> list[Content] | None:
        """Return where each message's content stands in `text`, the same conversation's; None where that is unclear.

        The template is asked again with marks for contents. It may trim a content, and change nothing else in it.
        A turn that only calls tools has none.
        """
        marks = {
            number: f"\ue000{number}\ue001"
            for number, message in enumerate(messages)
            if message["content"] or not message.get("tool_calls")
        }
        marked = [{**turn, "content": marks.get(number, "")} for number, turn in enumerate(messages)]
        found, place = [], 0
        rest = self.text(marked, reply=reply, tools=tools)
        for number, mark in marks.items():
            if rest.count(mark) != 1:
                return None
            before, rest = rest.split(mark)
            if not text.startswith(before, place):
                return None
            place += len(before)
            after = rest.split("\ue000", 1)[0]
            content = messages[number]["content"]
            for form in (content, content.strip(), content.rstrip(), content.lstrip()):
                if text.startswith(form + after, place):
                    found.append(Content(number, place, place + len(form)))
                    place += len(form)
                    break
            else:
                return None
        return found if text[place:] == rest else None


def unused_letters(said: Sequence[Any], source: str, count: int) -> list[str]:
    """Return letters for private use that occur neither in messages or tools nor in the template."""
    used = json.dumps([*said], ensure_ascii=False, default=str) + source
    return list(islice((letter for letter in map(chr, range(0xE002, 0xF900)) if letter not in used), count))


class _Generation(Extension):
    """The tag {% generation %}, which marks an assistant's words: what is in it, between two unused letters."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements up to the end of the tag."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opens, closes = (nodes.Output([nodes.Name(name, "load")], lineno=line) for name in (_OPEN, _CLOSE))
        return [opens, *body, closes]


def _unmarked(text: str, opens: str, closes: str) -> Laid:
    """Return a text without the letters that mark stretches, and the stretches."""
    marked: list[Span] = []
    begun = length = 0
    plain = []
    for piece in re.split(f"([{opens}{closes}])", text):
        if piece == opens:
            begun = length
        elif piece == closes:
            marked.append((begun, length))
        else:
            plain.append(piece)
            length += len(piece)
    return Laid("".join(plain), marked)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
