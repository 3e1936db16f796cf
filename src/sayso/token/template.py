"""Render messages with a model's chat template to the exact text that the model was tuned on.

The template is Jinja, run in a sandbox as `transformers` runs it (huggingface.co/docs/transformers, "Chat templates").
Returns the text and the spans that the template marks as the assistant's with {% generation %}. The position of each
message's content is found by rendering again, for training and to detect what the template drops.
"""

import copy
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sayso.base.errors import UserError
from sayso.text.document import Messages
from sayso.token.tools import CALL

THINK, THINK_END = "<think>", "</think>"  # around the reasoning of a reply

Span = tuple[int, int]  # positions of characters, end exclusive
_OPEN, _CLOSE = "generation_opens", "generation_closes"
_RESERVED = {
    *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message"),
    *("raise_exception", "strftime_now", _OPEN, _CLOSE),
}
_REASONING = ("reasoning_content", "thinking", "reasoning")  # fields for reasoning next to a message's content
_MARKER = re.compile(r"(?:\ue000|\\ue000)(\d+)(?:\ue001|\\ue001)")  # the latter if the template's tojson uses ASCII


@dataclass(frozen=True)
class Rendered:
    """A conversation's text, and the spans that the template marks as the assistant's, if any."""

    text: str
    marked: list[Span]


@dataclass(frozen=True)
class Content:
    """Position of one message's content in the text, as characters from `start` to `end`."""

    message: int
    start: int
    end: int


class Template:
    """A compiled chat template. Raises `UserError` if it cannot be compiled."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """Take the template and its variables, such as `bos_token`."""
        self.source = source
        self.tokens: dict[str, Any] = dict(tokens)
        self.when: datetime.datetime | None = None
        """The time that `strftime_now` returns, such as that of a run's start; None = the current time."""
        self._settings = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        self._settings.filters["tojson"] = _to_json
        self._settings.globals |= {"raise_exception": _refuse, "strftime_now": self._now}
        try:
            self._compiled = self._settings.from_string(source)
            names = meta.find_undeclared_variables(self._settings.parse(source))
        except (jinja2.TemplateError, RecursionError) as error:
            raise UserError(f"The chat template of this tokenizer is not valid Jinja ({error}); correct it.") from error

        self.variables = frozenset(names) - _RESERVED - {*self.tokens}
        """Names of the variables that a caller may set, such as `enable_thinking`."""
        self.reasons = THINK_END in source
        """Whether a reply may begin with its reasoning, between `<think>` and `</think>`."""
        self.names_tools = "tools" in names
        """Whether it renders tools, in any format."""
        self.takes_tools = self.names_tools and CALL in source and "<function=" not in source
        """Whether it renders tools and calls in the format of Hermes and Qwen, JSON between markers."""

    def with_variables(self, variables: Mapping[str, Any]) -> "Template":
        """Return the same template with the values of some of its variables."""
        changed = copy.copy(self)
        changed.tokens = {**self.tokens, **variables}
        return changed

    @cached_property
    def literals(self) -> str:
        """The text that the template itself may write, in pieces."""
        tree = self._settings.parse(self.source)
        pieces = [node.data for node in tree.find_all(nodes.TemplateData)]
        pieces += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
        return "\0".join(pieces)

    def text(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> str:
        """Return the text of a conversation, as `render` does."""
        return self.render(messages, reply=reply, tools=tools).text

    def render(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> Rendered:
        """Return a rendered conversation; with `reply`, it ends with an open reply of the assistant.

        Raises `UserError` with the template's message if it rejects the messages, or fails.
        """
        opens, closes = unused_letters([*messages, *tools, self.tokens], self.source, 2)
        return _unmarked(self._render(messages, reply, tools, {_OPEN: opens, _CLOSE: closes}), opens, closes)

    def _now(self, layout: str) -> str:
        return (self.when or datetime.datetime.now().astimezone()).strftime(layout)

    def _render(self, messages: Messages, reply: bool, tools: Messages, marks: Mapping[str, str]) -> str:
        try:
            return self._compiled.render(
                messages=[_plain(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                documents=None,
                add_generation_prompt=reply,
                **marks,
                **self.tokens,
            )
        except Exception as error:  # a template is a third-party program, which may fail in any way
            reason = str(error) if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())
            raise UserError(f"The model's chat template rejects this conversation: {reason}") from error

    def contents(
        self, messages: Messages, text: str, *, reply: bool = False, tools: Messages = ()
    ) -> list[Content] | None:
        """Return the position of each message's content in `text`, the rendered conversation; None where ambiguous.

        The template is rendered again with markers instead of contents. It may trim a content, but not change it
        otherwise. A turn that only calls tools has no content.
        """
        marked = {number for number, turn in enumerate(messages) if turn["content"] or not turn.get("tool_calls")}
        first, *others = _MARKER.split(self._marked(messages, marked, reply=reply, tools=tools))
        numbers, between = [int(number) for number in others[::2]], others[1::2]
        if numbers != sorted(marked) or not text.startswith(first):
            return None
        found, place = [], len(first)
        for number, after in zip(numbers, between, strict=True):
            content = messages[number]["content"]
            for form in (content, content.strip(), content.rstrip(), content.lstrip()):
                if text.startswith(form, place) and text.startswith(after, place + len(form)):
                    found.append(Content(number, place, place + len(form)))
                    place += len(form) + len(after)
                    break
            else:
                return None
        return found if place == len(text) else None

    def dropped(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> int | None:
        """Return the index of a message, not of the assistant, that the template drops; None if it drops none.

        Searching for its text would not be enough: the text of a short message may occur for another reason.
        """
        lost = {number for number, turn in enumerate(messages) if _must_remain(turn)}
        for behind in (True, False):  # a template may inspect contents, or cut off their ends
            if not lost:
                break
            try:
                text = self._marked(messages, lost, reply=reply, tools=tools, behind=behind)
            except UserError:  # it does not accept markers as a content
                if not behind:
                    return None
                continue
            lost -= {int(number) for number in _MARKER.findall(text)}
        return min(lost, default=None)

    def _marked(
        self, messages: Messages, numbers: set[int], *, reply: bool, tools: Messages, behind: bool = False
    ) -> str:
        """Return the text of a conversation with markers instead of the contents of some messages, or `behind` them."""
        turns = [
            {**turn, "content": f"{turn['content'] if behind else ''}\ue000{number}\ue001"}
            if number in numbers
            else turn
            for number, turn in enumerate(messages)
        ]
        return self.text(turns, reply=reply, tools=tools)


def unused_letters(values: Sequence[Any], source: str, count: int) -> list[str]:
    """Return private-use characters that occur neither in messages or tools nor in the template."""
    used = json.dumps([*values], ensure_ascii=False, default=str) + source
    return list(islice((letter for letter in map(chr, range(0xE002, 0xF900)) if letter not in used), count))


class _Generation(Extension):
    """The tag {% generation %}, which marks an assistant's text by two unused letters around it."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the statements up to the end of the tag."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opens, closes = (nodes.Output([nodes.Name(name, "load")], lineno=line) for name in (_OPEN, _CLOSE))
        return [opens, *body, closes]


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as `transformers` passes it to templates: without None, reasoning under all its names."""
    turn = {key: value for key, value in message.items() if value is not None}
    reasoning = next((turn[name] for name in _REASONING if name in turn), None)
    return turn if reasoning is None else {"thinking": reasoning, **turn, "reasoning_content": reasoning}


def _must_remain(turn: Mapping[str, Any]) -> bool:
    """Whether the model must read a message; templates may drop an assistant's old reasoning."""
    content = turn.get("content")
    return turn.get("role") != "assistant" and isinstance(content, str) and bool(content.strip())


def _unmarked(text: str, opens: str, closes: str) -> Rendered:
    """Return a text without the characters that mark spans, and the spans."""
    marked: list[Span] = []
    start = length = 0
    plain = []
    for piece in re.split(f"([{opens}{closes}])", text):
        if piece == opens:
            start = length
        elif piece == closes:
            marked.append((start, length))
        else:
            plain.append(piece)
            length += len(piece)
    return Rendered("".join(plain), marked)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON; the arguments are those of `tojson` in `transformers`, in the same order."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
