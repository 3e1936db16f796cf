"""Keep typed control tokens as text: takes messages; returns ids in which only the template's control tokens count.

A private-use character is inserted into each typed control token before the template renders the messages, and removed
afterwards, which distinguishes typed ones from the template's. Text without any is encoded exactly as `transformers`
does; text with some, by the same tokenizer with private names for the template's tokens.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

import tokenizers

from sayso.base.errors import UserError
from sayso.text.document import Messages
from sayso.token.template import Span, unused_letters
from sayso.token.tools import CALL, CALL_END, RESULT, RESULT_END

_MARKERS = (CALL, CALL_END, RESULT, RESULT_END)
_OWN = (
    "content",
    "reasoning_content",
    "thinking",
    "reasoning",
)  # fields of an assistant's text, which may contain reasoning
_SURROGATE = re.compile("[\ud800-\udfff]")
PRIVATE = 0xF0000  # planes 15 and 16 are for private use


@dataclass(frozen=True)
class Shown:
    """A rendered text without the inserted letters."""

    text: str
    typed: Sequence[Span] = ()
    """Spans of typed control tokens."""
    gaps: Sequence[Span] = ()
    """Spans, in the text with the letters, of those that were removed."""

    @cached_property
    def _removed(self) -> list[int]:
        return [0, *accumulate(end - start for start, end in self.gaps)]

    def place(self, place: int) -> int:
        """Return the position, in this text, of a position in the text with the letters."""
        return place - self._removed[bisect_left(self.gaps, (place, 0))]


class Spellings:
    """Find typed control tokens, and encode text that contains them.

    Protected are special tokens and, as in `sanitize_control_tokens` of `transformers`, added tokens that the template
    writes. In an assistant's text, only special tokens and the markers of calls are: its reasoning uses the others.
    """

    def __init__(self, core: tokenizers.Tokenizer, literals: str) -> None:
        """Take the tokenizer, and the text that its templates may write."""
        self.core = core
        added = [token for token in core.get_added_tokens_decoder().values() if len(token.content) > 1]
        special = {token.content for token in added if token.special}
        written = {token.content for token in added if token.content in literals and not token.content.isspace()}
        self._all = special | written
        self._others, self._assistants = _pattern(self._all), _pattern(special | (written & {*_MARKERS}))
        self._literals = literals

    def hidden(self, messages: Messages, tools: Messages) -> tuple[Messages, Messages, str]:
        """Return messages and tools with a letter inside each typed control token, and the letter, or "" if none is."""
        if not any(self._typed(turn, turn.get("role") == "assistant") for turn in messages) and not self._typed(tools):
            return messages, tools, ""
        [gap] = unused_letters([*messages, *tools], self._literals + json.dumps([*messages, *tools], default=str), 1)
        turns = [self._gapped(turn, gap, turn.get("role") == "assistant") for turn in messages]
        return turns, self._gapped([*tools], gap), gap

    def shown(self, text: str, gap: str) -> "Shown":
        """Return a text without the letter, and where control tokens were typed in it.

        Lone surrogates, which UTF-8 cannot encode, become U+FFFD.
        """
        text = _SURROGATE.sub("\ufffd", text)
        if not gap:
            return Shown(text)
        letter = f"(?:{gap}|{re.escape(json.dumps(gap)[1:-1])})"  # in ASCII if the template's tojson uses it
        gaps = [found.span() for found in re.finditer(letter, text)]
        shown = Shown(re.sub(letter, "", text), gaps=gaps)
        rests: dict[str, list[str]] = {}
        for name in self._all:
            rests.setdefault(name[0], []).append(name[1:])
        typed = re.finditer("|".join(re.escape(first) + letter + any_of(rest) for first, rest in rests.items()), text)
        return replace(shown, typed=[(shown.place(found.start()), shown.place(found.end())) for found in typed])

    def encode(self, shown: Shown) -> tuple[list[int], list[Span]]:
        """Return the ids of a text with their spans of characters; typed control tokens are encoded as text."""
        text, typed = shown.text, shown.typed
        if not typed:
            encoding = self._parsing.encode(text, add_special_tokens=False)
            return encoding.ids, encoding.offsets
        renamed, names, ids = self._renamed
        if any(name[0] in text for name in names.values()):
            raise UserError(
                "A conversation that contains the text of control tokens cannot also contain characters of Unicode's "
                "private use planes; remove one of the two."
            )
        edges, hidden = [0, *(edge for span in typed for edge in span), len(text)], []
        for number, (start, end) in enumerate(pairwise(edges)):
            part = text[start:end]
            hidden.append(part if number % 2 else self._others.sub(lambda found: names[found[0]], part))
        encoding = renamed.encode("".join(hidden), add_special_tokens=False)
        return [ids.get(index, index) for index in encoding.ids], encoding.offsets

    @cached_property
    def _parsing(self) -> tokenizers.Tokenizer:
        """The same tokenizer, which encodes the text of a control token as that token."""
        core = tokenizers.Tokenizer.from_str(self.core.to_str())
        core.encode_special_tokens = False
        return core

    @cached_property
    def _renamed(self) -> tuple[tokenizers.Tokenizer, dict[str, str], dict[int, int]]:
        """The same tokenizer with private names for protected tokens, these names, and the true ids of added tokens.

        A name is as long as the token's text, so that offsets are unchanged.
        """
        facts = json.loads(self.core.to_str())
        names = {token: chr(PRIVATE + number) * len(token) for number, token in enumerate(sorted(self._all))}
        for token in facts["added_tokens"]:
            if token["content"] in names:
                token |= {"content": names[token["content"]], "normalized": False}
        core = tokenizers.Tokenizer.from_str(json.dumps(facts))
        core.encode_special_tokens = False
        ids = {}
        for index, token in self.core.get_added_tokens_decoder().items():
            found = core.token_to_id(names.get(token.content, token.content))
            assert found is not None, "every added token has an id under its private name"
            ids[found] = index
        return core, names, ids

    def _typed(self, value: Any, assistant: bool = False) -> bool:
        if isinstance(value, str):
            return (self._assistants if assistant else self._others).search(value) is not None
        if isinstance(value, Mapping):
            own = assistant and "role" in value
            return any(
                self._typed(part, own and key in _OWN) or (not own and self._typed(key)) for key, part in value.items()
            )
        return isinstance(value, list | tuple) and any(map(self._typed, value))

    def _gapped(self, value: Any, gap: str, assistant: bool = False) -> Any:
        if isinstance(value, str):
            pattern = self._assistants if assistant else self._others
            return pattern.sub(lambda found: found[0][0] + gap + found[0][1:], value)
        if isinstance(value, Mapping):
            own = assistant and "role" in value
            return {
                (key if own else self._gapped(key, gap)): self._gapped(part, gap, own and key in _OWN)
                for key, part in value.items()
            }
        return [self._gapped(part, gap) for part in value] if isinstance(value, list | tuple) else value


def any_of(names: Iterable[str]) -> str:
    """Return a regular expression that matches the longest of these names.

    Common prefixes are shared (a trie), so that a text is searched once, and not once for each of thousands of tokens.
    """
    rests: dict[str, list[str]] = {}
    for name in sorted({*names}):
        rests.setdefault(name[:1], []).append(name[1:])
    ends = rests.pop("", None) is not None
    parts = [re.escape(letter) + any_of(rest) for letter, rest in rests.items()]
    if not parts:
        return ""
    return f"(?:{'|'.join(parts)})" + "?" * ends if ends or len(parts) > 1 else parts[0]


def _pattern(names: set[str]) -> re.Pattern[str]:
    return re.compile(any_of(names) or r"(?!)")
