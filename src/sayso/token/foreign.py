"""The tokenizer that a model of another maker brings, behind the interface of ours.

Any `tokenizer.json` over bytes or with byte fallback: byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM), and the pieces of
SentencePiece (Llama 2, Mistral, Gemma). Control tokens are those of its own config, and a conversation is laid out by
its own chat template.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import tokenizers

from sayso.base.errors import UserError
from sayso.base.files import write_atomic, write_json
from sayso.token.template import Content, Messages, Template, unused_letters
from sayso.token.tokenizer import BOS, END, byte_spelling, is_text, pieces, to_bytes
from sayso.token.tools import CALL, CALL_END
from sayso.token.trained import around_reply, trained_spans

BETWEEN = "<|endoftext|>"  # stands between documents where no token of its own begins one (GPT-2, Qwen, SmolLM)
NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
SPACE = "\u2581"  # SentencePiece's spelling of a space


class ForeignTokenizer:
    """A tokenizer of another maker. Raises `UserError` where it has no token that ends a text."""

    def __init__(self, core: tokenizers.Tokenizer, config: Mapping[str, Any], ends: Iterable[int] = ()) -> None:
        """Take the tokenizer, its `tokenizer_config.json`, and ids that end a reply besides its own."""
        self.kind = type(core.model).__name__.lower()
        self.core, self._config = core, dict(config)
        core.encode_special_tokens = True  # what a person types is text
        vocabulary = core.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self._control = core.get_added_tokens_decoder()
        self.control = {index: token.content for index, token in self._control.items() if token.special}
        self._spelled_bytes = not any(SPACE in name for name in vocabulary)
        self._bytes = self._bytes_of(vocabulary)
        names = {name: text for name in NAMES if isinstance(text := _text(config.get(name)), str)}
        end = vocabulary.get(names.get("eos_token", ""))
        self.stop_ids = frozenset({*ends, *([] if end is None else [end])})
        if not self.stop_ids:
            raise UserError("A tokenizer names the token that ends a text; this one has no eos_token in its config.")
        end = min(self.stop_ids) if end is None else end
        self.begins = self._begins()
        """Whether it puts a token of its own before a text."""
        begin = vocabulary.get(names.get("bos_token", "")) if self.begins else vocabulary.get(BETWEEN)
        self.specials = {BOS: end if begin is None else begin, END: end}
        source = config.get("chat_template")
        self.chat_template = source if isinstance(source, str) else None
        self.template = Template(source, names) if isinstance(source, str) else None
        self._lead, ended = around_reply(self.template) if self.template else ("", "")
        found = self._spelled.match(ended)
        ends = {index for index, token in self._control.items() if found and token.content == found[0]}
        self.stop_ids |= ends
        self.turn_end = min(ends, default=end)
        """The token that ends a reply."""

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of a text; never a control token.

        Raises `UserError` for bytes that are not UTF-8 where the vocabulary has no token for a byte.
        """
        if isinstance(text, str) and is_text(text):
            return self._ids(text)
        ids: list[int] = []
        for piece in pieces(to_bytes(text) if isinstance(text, str) else text):
            ids += self._ids(piece) if isinstance(piece, str) else [self._byte(byte) for byte in piece]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; the library's threads share them."""
        if not all(map(is_text, texts)):
            return [self.encode(text) for text in texts]
        return [found.ids for found in self.core.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without control tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids; control tokens, and ids that the vocabulary does not reach, give none."""
        return b"".join(self._bytes.get(index, b"") for index in ids)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` as they came."""
        write_atomic(folder / "tokenizer.json", self.core.to_str(pretty=True) + "\n")
        write_json(folder / "tokenizer_config.json", self._config)

    @property
    def takes_tools(self) -> bool:
        """Whether its template lays out tools and calls, with marks that are text to read and write."""
        marks = [token for token in self._control.values() if token.special and token.content in (CALL, CALL_END)]
        return self.template is not None and self.template.takes_tools and not marks

    def render(self, messages: Messages, *, reply: bool = False, tools: Messages = ()) -> tuple[list[int], list[bool]]:
        """Return the ids of a conversation by the chat template, and which are trained, see `trained.py`.

        What is spelled in calls and tools is text, as in any content. Raises `UserError` where there is no template, it
        refuses, or it does not tell where the contents stand or what ends a reply.
        """
        if self.template is None:
            raise UserError(
                "This model has no chat template: it continues text (sayso generate), it does not converse."
            )
        messages, tools, gap = self._gapped(messages, tools)
        laid = self.template.lay(messages, reply=reply, tools=tools)
        text, contents = laid.text, self.template.contents(messages, laid.text, reply=reply, tools=tools)
        told = bool(laid.marked) or reply  # what is trained is marked, or nothing is
        if contents is None and told and not any(self._spelled.search(message["content"]) for message in messages):
            contents = []  # nothing has to be kept from being a control token
        if contents is None:
            raise UserError("This chat template changes what it is given, so that nobody can tell what is trained.")
        learned = trained_spans(laid, messages, contents, self._lead, self._ending, whole=not reply)
        ids: list[int] = []
        trained: list[bool] = []
        gaps = [place for place, letter in enumerate(text) if letter == gap]
        for start, stretch in _cut(text, [*self._typed_control(text, contents), *gaps]):
            if stretch.startswith(gap):
                start, stretch = start + 1, stretch[1:]
            encoding = self._parsing.encode(stretch, add_special_tokens=False)
            for index, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
                trained.append(any(start + first < end and begin < start + last for begin, end in learned))
                ids.append(index)
        return ids, trained

    def _gapped(self, messages: Messages, tools: Messages) -> tuple[Messages, Messages, str]:
        """Return calls and tools with a letter of no other use inside each spelling of a control token, and the letter.

        Templates may lay these out in any way, so that nobody can tell where they stand but by what is in them.
        """
        [gap] = unused_letters([*messages, *tools], self.chat_template or "", 1)

        def split(value: Any) -> Any:
            if isinstance(value, str):
                return self._spelled.sub(lambda found: found[0][0] + gap + found[0][1:], value)
            if isinstance(value, Mapping):
                return {split(key): split(part) for key, part in value.items()}
            return [split(part) for part in value] if isinstance(value, list | tuple) else value

        extra = ("tool_calls", "name", "tool_call_id")
        turns = [{**turn, **{key: split(turn[key]) for key in extra if key in turn}} for turn in messages]
        return turns, split(list(tools)), gap

    @cached_property
    def _parsing(self) -> tokenizers.Tokenizer:
        """The same tokenizer, to which the spelling of a control token is that token."""
        core = tokenizers.Tokenizer.from_str(self.core.to_str())
        core.encode_special_tokens = False
        return core

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """The spelling of any control token."""
        names = [re.escape(token.content) for token in self._control.values() if len(token.content) > 1]
        return re.compile("|".join(names) or r"(?!)")

    @cached_property
    def _ending(self) -> re.Pattern[str]:
        """What ends a reply, with blanks that a template writes before it."""
        names = [re.escape(self._control[index].content) for index in self.stop_ids if index in self._control]
        return re.compile(rf"\s*(?:{'|'.join(names) or '(?!)'})")

    def _typed_control(self, text: str, contents: Sequence[Content]) -> list[int]:
        """Return where to cut the text so that no control token's spelling inside a content stays whole."""
        return [
            part.start + found.start() + 1
            for part in contents
            for found in self._spelled.finditer(text[part.start : part.end])
        ]

    def _begins(self) -> bool:
        """Whether the config says that a token comes before a text, or the library puts one there."""
        said = self._config.get("add_bos_token")
        if isinstance(said, bool):
            return said
        return bool(self.core.encode("a").ids != self.core.encode("a", add_special_tokens=False).ids)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids

    def _byte(self, byte: int) -> int:
        if bytes([byte]) not in self._single:
            raise UserError("This tokenizer has no tokens for single bytes, so that only UTF-8 text can be encoded.")
        return self._single[bytes([byte])]

    @cached_property
    def _single(self) -> dict[bytes, int]:
        """The id of each byte that is a token of its own."""
        return {value: index for index, value in self._bytes.items() if len(value) == 1}

    def _bytes_of(self, vocabulary: Mapping[str, int]) -> dict[int, bytes]:
        """Return the bytes of each id that is not a control token."""
        spelling = byte_spelling()
        found = {}
        for name, index in vocabulary.items():
            if index in self._control and self._control[index].special:
                continue
            byte = BYTE.fullmatch(name)
            if self._spelled_bytes and index not in self._control and all(letter in spelling for letter in name):
                found[index] = bytes(map(spelling.__getitem__, name))
            elif byte and not self._spelled_bytes:
                found[index] = bytes([int(byte[1], 16)])
            else:
                found[index] = name.replace(SPACE, " ").encode()
        return found


def _text(token: object) -> object:
    """Return how a control token is spelled, which a config says plainly or inside an object."""
    return token.get("content") if isinstance(token, Mapping) else token


def _cut(text: str, places: Sequence[int]) -> list[tuple[int, str]]:
    """Return the stretches of a text between places, each with where it begins."""
    edges = [0, *sorted(places), len(text)]
    return [(start, text[start:end]) for start, end in pairwise(edges)]
