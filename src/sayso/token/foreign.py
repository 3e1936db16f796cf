"""The tokenizer of a third-party model, behind the same interface as ours.

Any `tokenizer.json` over bytes or with byte fallback: byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM), and SentencePiece
(Llama 2, Mistral, Gemma). Its config defines the control tokens, and its chat template renders conversations.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
from tokenizers import AddedToken, pre_tokenizers

from sayso.base.errors import UserError
from sayso.base.files import write_atomic, write_json
from sayso.text.document import Messages
from sayso.token.spelled import Spellings, any_of
from sayso.token.template import Template, unused_letters
from sayso.token.tokenizer import BOS, END, byte_spelling, is_text, pieces, to_bytes
from sayso.token.tools import CALL, CALL_END
from sayso.token.trained import EXAMPLE, Around, around_reply, check_ends, trained_spans

SEPARATOR = "<|endoftext|>"  # between documents if no other token begins one (GPT-2, Qwen, SmolLM)
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
SPACE = "\u2581"  # a space in SentencePiece
CHANGES = "This chat template changes the text of replies, so the trained tokens cannot be determined."


class ForeignTokenizer:
    """A third-party tokenizer. Raises `UserError` if it has no token that ends a text."""

    def __init__(
        self,
        core: tokenizers.Tokenizer,
        config: Mapping[str, Any],
        ends: Sequence[int] = (),
        *,
        generation: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the tokenizer, its `tokenizer_config.json`, and more ids that end a reply.

        `generation` holds the sampling settings of the model's generation_config.json, kept for saved folders.
        """
        self.kind = type(core.model).__name__.lower()
        self.core, self._config, self.generation = core, dict(config), dict(generation or {})
        core.no_truncation()  # settings left over from training must not cut or pad text
        core.no_padding()
        core.encode_special_tokens = True  # typed text stays text
        names = _names(config)
        _make_special(core, names.values())
        vocabulary = core.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values()) + 1
        self._control = core.get_added_tokens_decoder()
        self.control = {index: token.content for index, token in self._control.items() if token.special}
        self._byte_level = _is_byte_level(core)
        self._bytes = self._bytes_of(vocabulary)
        end = vocabulary.get(names.get("eos_token", ""))
        self.stop_ids = frozenset({*ends, *([] if end is None else [end])})
        if not self.stop_ids:
            raise UserError("A tokenizer needs a token that ends a text; this one has no eos_token in its config.")
        end = ends[0] if end is None else end
        self.begins = self._begins()
        """Whether it puts a control token before a text."""
        self.specials = {BOS: self._begin(vocabulary, names.get("bos_token", ""), end), END: end}
        self._templates = {name: Template(source, names) for name, source in _templates(config).items()}
        self.template = self._templates.get("default")
        self.chat_template = self.template.source if self.template else None
        self._around = around_reply(self.template) if self.template else Around()
        found = self._spelled.match(self._around.after)
        ends = [index for index, token in self._control.items() if found and token.content == found[0]]
        self.stop_ids |= {*ends}
        self.turn_end = min(ends, default=end)
        """The token that ends a reply."""

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of a text; never a control token.

        Raises `UserError` for bytes that are not UTF-8 if the vocabulary has no byte tokens.
        """
        if isinstance(text, str) and is_text(text):
            return self._ids(text)
        ids: list[int] = []
        for piece in pieces(to_bytes(text) if isinstance(text, str) else text):
            ids += self._ids(piece) if isinstance(piece, str) else [self._byte(byte) for byte in piece]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, in parallel."""
        if not all(map(is_text, texts)):
            return [self.encode(text) for text in texts]
        return [found.ids for found in self.core.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without control tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Return the bytes of ids; control tokens, and ids outside the vocabulary, have none."""
        return b"".join(self._bytes.get(index, b"") for index in ids)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` unchanged."""
        write_atomic(folder / "tokenizer.json", self.core.to_str(pretty=True) + "\n")
        write_json(folder / "tokenizer_config.json", self._config)

    @property
    def reasons(self) -> bool:
        """Whether replies may begin with reasoning, between `<think>` and `</think>`."""
        return any(template.reasons for template in self._templates.values())

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables of the chat templates that a caller may set, such as `enable_thinking`."""
        return frozenset().union(*(template.variables for template in self._templates.values()))

    @cached_property
    def takes_system(self) -> bool:
        """Whether the chat template accepts a system message."""
        if self.template is None:
            return True
        messages = [{"role": "system", "content": "Be kind."}, *EXAMPLE[:1]]
        try:
            self.template.text(messages, reply=True)
        except UserError:
            return False
        return self.template.dropped(messages, reply=True) is None

    @property
    def takes_tools(self) -> bool:
        """Whether a template supports tools and calls, between markers that are text and not control tokens."""
        return self._takes_tools(self.template) or self._takes_tools(self._templates.get("tool_use"))

    def lays_out(self, tools: Messages) -> bool:
        """Whether the template for a conversation with these tools takes tools and calls as data."""
        return self._takes_tools(self._template(tools))

    @property
    def tools_are_text(self) -> bool:
        """Whether the templates use a tool format that is not supported, so that tools are described as text."""
        return not self.takes_tools and any(template.names_tools for template in self._templates.values())

    @property
    def differing_class(self) -> str:
        """The class that `transformers` 5 opens it as, if that splits some text differently than the file, else ""."""
        normalizer, splitter = self.core.normalizer, self.core.pre_tokenizer
        gpt2 = normalizer is None and isinstance(splitter, pre_tokenizers.ByteLevel) and splitter.use_regex
        legacy = normalizer is not None and b'"Prepend"' in normalizer.__getstate__() and not self._byte_level
        name = str(self._config.get("tokenizer_class")).removesuffix("Fast")
        return name if (name == "GPT2Tokenizer" and not gpt2) or (name == "LlamaTokenizer" and legacy) else ""

    def differences(self) -> list[str]:
        """Return the differences from `transformers`, as sentences."""
        found = []
        if self.tools_are_text:
            found.append(
                "Its chat template has its own tool format; Sayso describes tools to the model as plain text instead."
            )
        if self.differing_class:
            found.append(
                f"transformers 5 loads this tokenizer as {self.differing_class}, which splits some text differently "
                "from tokenizer.json; Sayso follows tokenizer.json."
            )
        return found

    def ids(
        self,
        messages: Messages,
        *,
        reply: bool = False,
        tools: Messages = (),
        continued: bool = False,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[int]:
        """Return the ids of a conversation by the chat template, as `transformers` does.

        Control tokens typed in messages, calls, tools and the template's variables stay text. `continued` leaves the
        last message open.
        Raises `UserError` if there is no template, or the template rejects the conversation or drops a message.
        """
        template = self._template(tools)
        messages, values, gap = self._spellings.hidden(messages, [*tools, variables])
        tools, template = values[:-1], template.with_variables(values[-1])
        if continued:
            text = _continued(template, messages, tools)
        else:
            text = template.text(messages, reply=reply, tools=tools)
            self._check_kept(template, messages, reply, tools)
        return self._spellings.encode(self._spellings.shown(text, gap))[0]

    def render(
        self, messages: Messages, *, reply: bool = False, tools: Messages = ()
    ) -> tuple[list[int], list[bool], int]:
        """Return the ids of a conversation, the trained mask, and the number of replies that could not be located.

        See `trained.py`; errors as in `ids`, and if no control token ends a reply.
        """
        template = self._template(tools)
        messages, tools, gap = self._spellings.hidden(messages, tools)
        rendered = template.render(messages, reply=reply, tools=tools)
        self._check_kept(template, messages, reply, tools)
        contents = template.contents(messages, rendered.text, reply=reply, tools=tools)
        around = self._around if self._spelled.search(self._around.header) else Around(lead=self._around.lead)
        spans, lost = trained_spans(rendered, messages, contents, around, self._ending)
        if not reply:
            check_ends(spans, rendered.text, self._ending)
        shown = self._spellings.shown(rendered.text, gap)
        ids, offsets = self._spellings.encode(shown)
        return ids, _mask(offsets, [(shown.place(start), shown.place(end)) for start, end in spans]), lost

    def _template(self, tools: Messages) -> Template:
        """Return the template that renders a conversation; raises `UserError` if there is none."""
        if tools and self._takes_tools(found := self._templates.get("tool_use")):
            assert found
            return found
        if self.template is None:
            named = f" named 'default', only {', '.join(self._templates)}" if self._templates else ""
            raise UserError(
                f"This model has no chat template{named}: it can continue text (sayso generate), but not chat."
            )
        return self.template

    def _takes_tools(self, template: Template | None) -> bool:
        markers = [token for token in self._control.values() if token.special and token.content in (CALL, CALL_END)]
        return template is not None and template.takes_tools and not markers

    def _check_kept(self, template: Template, messages: Messages, reply: bool, tools: Messages) -> None:
        """Raise `UserError` if the template drops a message that the model must read."""
        number = template.dropped(messages, reply=reply, tools=tools)
        if number is None:
            return
        if messages[number].get("role") == "system":
            raise UserError(
                "This model's chat template does not support system messages; put the text into the first user message."
            )
        raise UserError(
            f"This model's chat template drops message {number + 1}, of the {messages[number]['role']}; remove it."
        )

    @cached_property
    def _spellings(self) -> Spellings:
        """Keeps typed control tokens as plain text."""
        return Spellings(self.core, "\0".join(template.literals for template in self._templates.values()))

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """Matches any added token, the longest first."""
        return re.compile(
            any_of(token.content for token in self._control.values() if len(token.content) > 1) or r"(?!)"
        )

    @cached_property
    def _ending(self) -> re.Pattern[str]:
        """Matches a token that ends a reply, with the white space before it."""
        names = [self._control[index].content for index in self.stop_ids if index in self._control]
        return re.compile(rf"\s*(?:{any_of(names) or '(?!)'})")

    def _begins(self) -> bool:
        """Whether a token precedes each text, by the config or by the library's post-processor."""
        setting = self._config.get("add_bos_token")
        if isinstance(setting, bool):
            return setting
        return bool(self.core.encode("a").ids[:1] != self.core.encode("a", add_special_tokens=False).ids[:1])

    def _begin(self, vocabulary: Mapping[str, int], name: str, end: int) -> int:
        """Return the token that begins a document: the one before texts, the separator, or the end token."""
        if self.begins and name not in vocabulary:
            first, plain = self.core.encode("a").ids[:1], self.core.encode("a", add_special_tokens=False).ids[:1]
            return first[0] if first != plain else end
        order = (name, SEPARATOR) if self.begins else (SEPARATOR, name)
        return next((vocabulary[one] for one in order if one in vocabulary), end)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids

    def _byte(self, byte: int) -> int:
        if bytes([byte]) not in self._single:
            raise UserError("This tokenizer has no tokens for single bytes, so text must be UTF-8; convert it.")
        return self._single[bytes([byte])]

    @cached_property
    def _single(self) -> dict[bytes, int]:
        """The id of each byte that is a token."""
        return {value: index for index, value in self._bytes.items() if len(value) == 1}

    def _bytes_of(self, vocabulary: Mapping[str, int]) -> dict[int, bytes]:
        """Return the bytes of each id that is not a control token."""
        byte_of = byte_spelling()
        found = {}
        for name, index in vocabulary.items():
            if index in self._control and self._control[index].special:
                continue
            byte = BYTE.fullmatch(name)
            if self._byte_level:
                encoded = index not in self._control and all(letter in byte_of for letter in name)
                found[index] = bytes(map(byte_of.__getitem__, name)) if encoded else name.encode()
            elif byte:
                found[index] = bytes([int(byte[1], 16)])
            else:
                found[index] = name.replace(SPACE, " ").encode()
        return found


def _make_special(core: tokenizers.Tokenizer, names: Iterable[str]) -> None:
    """Make the tokens that a config names, such as eos_token, control tokens even if the file defines plain ones."""
    for token in core.get_added_tokens_decoder().values():
        if token.content in {*names} and not token.special:
            flags = {flag: getattr(token, flag) for flag in ("single_word", "lstrip", "rstrip", "normalized")}
            core.add_special_tokens([AddedToken(token.content, special=True, **flags)])


def _is_byte_level(core: tokenizers.Tokenizer) -> bool:
    """Whether the vocabulary represents bytes as GPT-2's does, judged by the components that split and join text."""
    parts = (core.normalizer, core.pre_tokenizer, core.decoder)
    return any(b'"ByteLevel"' in part.__getstate__() for part in parts if part is not None)


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of control tokens by their names in a config, which gives them as text or as objects."""
    more = [name for name, value in config.items() if name.endswith("_token") and not isinstance(value, bool)]
    found = {name: _text(config.get(name)) for name in dict.fromkeys((*SPECIAL_NAMES, *more))}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _text(token: object) -> object:
    return token.get("content") if isinstance(token, Mapping) else token


def _templates(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the chat templates of a config by their names; a single one is "default".

    Raises `UserError` for anything else.
    """
    source = config.get("chat_template")
    if isinstance(source, str):
        return {"default": source}
    if isinstance(source, list) and all(isinstance(one, Mapping) for one in source):
        source = {one.get("name"): one.get("template") for one in source}
    found = {} if source is None else source
    if not isinstance(found, Mapping) or not all(isinstance(part, str) for pair in found.items() for part in pair):
        raise UserError(
            "A chat_template must be a string, or a list of objects with the strings 'name' and 'template'; got "
            f"{config['chat_template']!r:.100}. Correct tokenizer_config.json."
        )
    return dict(found)


def _continued(template: Template, messages: Messages, tools: Messages) -> str:
    """Return the text of a conversation up to the last word of its last message, which the model continues."""
    [mark] = unused_letters([*messages, *tools], template.source, 1)
    last = messages[-1]
    text = template.text([*messages[:-1], {**last, "content": f"{last['content']}{mark} "}], tools=tools)
    before, found, after = text.rpartition(mark)
    if not found:
        raise UserError("This model's chat template does not allow a message to be continued; start a new one.")
    return before if after.startswith(" ") else before.rstrip()


def _mask(offsets: Iterable[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Return which tokens, at these characters of a text, overlap one of the spans, which are in order."""
    mask, place = [], 0
    for first, last in offsets:
        while place < len(spans) and spans[place][1] <= first:
            place += 1
        mask.append(place < len(spans) and spans[place][0] < last)
    return mask
