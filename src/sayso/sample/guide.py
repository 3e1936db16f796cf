"""Constrained decoding: takes a tokenizer and a grammar, returns a mask of the allowed next ids, token by token.

Uses llguidance (an Earley parser over lexers made of regular expression derivatives, applied to a trie of
all tokens). Control tokens are in no mask; a stop id is allowed exactly where the grammar may end.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sayso.base.errors import UserError, require
from sayso.sample.deep import on_deep_stack
from sayso.sample.grammar import GRAMMAR_SPACE, Grammar
from sayso.token.reasoning import marker_names
from sayso.token.template import THINK
from sayso.token.tokenizer import END, Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher

_EXCERPT = re.compile(r"\d+ \| ")  # a line of the source
COMPILED = 32  # compiled grammars kept: a copy shares its grammar's caches, and takes a microsecond
BEFORE = {"": "", "possible": "(reasoning SPACE?)?", "begun": "reasoning SPACE?"}
REASONING = {  # lazy: it ends at the first end marker
    "": [],
    "possible": [rf"reasoning[lazy]: /[ \n]*{THINK}(?s:.*)<\/think>/", r"SPACE: /[ \n]{1,4}/"],
    "begun": [r"reasoning[lazy]: /(?s:.*)<\/think>/", r"SPACE: /[ \n]{1,4}/"],
}
LEXER_STATES = 50_000  # 1 to 2 kB each
LEXER_FUEL = 50_000  # per step, and five times as much at the start: a quarter of llguidance's default, with
# which /(a{1000}){1000}/ takes seconds


class Guide:
    """A tokenizer, prepared for grammars. Built once; `constraint` is cheap and thread-safe."""

    def __init__(self, tokenizer: Tokenizer, width: int | None = None) -> None:
        """`width` is that of the model's head, if it is wider than the vocabulary.

        Raises `UserError` with the install command when llguidance is missing.
        """
        self._library = require("llguidance", "serve")
        words = Words(tokenizer)
        self.width = max(width or 0, len(words.tokens))
        self._text = torch.zeros(self.width, dtype=torch.bool)  # [V], True for the ids that have bytes
        self._text[: len(words.tokens)] = torch.tensor([bool(token) for token in words.tokens])
        self._tokenizer = self._library.LLTokenizer(self._library.TokenizerWrapper(words))
        self._limits = self._library.LLParserLimits(
            verbose_errors=False,
            max_lexer_states=LEXER_STATES,
            initial_lexer_fuel=5 * LEXER_FUEL,
            step_lexer_fuel=LEXER_FUEL,
        )
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def constraint(self, grammar: Grammar, stop_ids: frozenset[int]) -> GrammarConstraint:
        """Return the constraint of one reply, at its start.

        Raises `UserError` for an unsupported grammar, and without stop ids, because nothing could end the reply.
        """
        if not stop_ids:
            raise UserError("A constrained reply ends with a stop id; got none: enable one.")
        matcher = self._compiled.pop(grammar, None) or on_deep_stack(lambda: self._compile(grammar))
        self._compiled[grammar] = matcher
        while len(self._compiled) > COMPILED:
            self._compiled.popitem(last=False)
        return GrammarConstraint(self, grammar, matcher.deep_copy(), stop_ids)

    def forget(self, grammar: Grammar) -> None:
        """Recompile a grammar when it is next requested: the limits that its copies share may be exhausted."""
        self._compiled.pop(grammar, None)

    def has_bytes(self, token: int) -> bool:
        """Whether an id is in the vocabulary and not a control token."""
        return 0 <= token < self.width and bool(self._text[token])

    def _compile(self, grammar: Grammar) -> LLMatcher:
        """Compile a grammar and compute its first mask. Raises `UserError` if either fails."""
        try:
            source = self._source(grammar)
        except ValueError as error:
            raise _refusal(grammar, str(error)) from error
        matcher = self._library.LLMatcher
        compiled: LLMatcher = matcher(self._tokenizer, source, log_level=0, limits=self._limits)
        if not compiled.is_error():
            mask = self.mask(compiled)  # the first mask also shows what was too large to compile ahead
            if not (compiled.is_error() or compiled.is_accepting() or mask.any()):
                raise _refusal(grammar, "no token of this vocabulary can begin it")
        if compiled.is_error():
            raise _refusal(grammar, compiled.get_error())
        return compiled

    def _source(self, grammar: Grammar) -> str:
        """Return a grammar in the compiler's format. Raises `ValueError` if it cannot be parsed."""
        source: str
        if grammar.kind == "either" or grammar.reasoning:
            parts = [
                _grammar_of(self._source(replace(part, reasoning=""))) | {"name": f"part{number}"}
                for number, part in enumerate(grammar.parts or [grammar])
            ]
            names = " | ".join(f"@{part['name']}" for part in parts)
            lines = [f"start: {BEFORE[grammar.reasoning]} ({names})", *REASONING[grammar.reasoning]]
            return json.dumps({"grammars": [{"lark_grammar": "\n".join(lines)}, *parts]})
        if grammar.kind == "json":
            options = {"whitespace_pattern": GRAMMAR_SPACE, "lenient": grammar.lenient}
            source = self._library.LLMatcher.grammar_from_json_schema(grammar.source, overrides=options)
        elif grammar.kind == "regex":
            source = f"start: /{self._library.regex_to_lark(grammar.source, 'dws')}/"
        else:  # "rules" may be GBNF
            source = self._library.grammar_from("lark" if grammar.kind == "lark" else "grammar", grammar.source)
        return source

    def mask(self, matcher: LLMatcher) -> Tensor:
        """Return bool [V], True for the allowed next ids that have bytes."""
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        mask = torch.zeros(self.width, dtype=torch.bool)
        known = np.unpackbits(bits, count=min(self.width, 8 * len(bits)), bitorder="little")
        mask[: len(known)] = torch.from_numpy(known.view(np.bool_))
        return mask.logical_and_(self._text)


class GrammarConstraint:
    """The state of one reply in its grammar: the `Constraint` of a request."""

    def __init__(self, guide: Guide, grammar: Grammar, matcher: LLMatcher, stop_ids: frozenset[int]) -> None:
        self._guide, self._grammar, self._matcher, self._stop_ids = guide, grammar, matcher, stop_ids
        self._stops = torch.tensor(sorted(stop_ids))
        self._dead_end = ""  # why only a stop id can follow here
        self._rejected: list[str] = []  # the reason for each id that the matcher did not take; "" for a valid stop id

    @property
    def failed(self) -> str:
        """Why the reply left the grammar before its end; then only stop ids are allowed. Empty if there is no problem.

        Reasons: the matcher exceeded its limits, no token of the vocabulary could continue, or a disallowed id was
        accepted.
        """
        return self._rejected[-1] if self._rejected else self._dead_end

    @property
    def complete(self) -> bool:
        """Whether the reply so far is a complete text of the grammar."""
        return not self.failed and self._matcher.is_accepting()

    def allowed(self) -> Tensor:
        """Return bool [V] on the CPU, True for each allowed next id; the stop ids if the reply may end."""
        if self._rejected or self._matcher.is_error():
            mask = torch.zeros(self._guide.width, dtype=torch.bool)
        else:
            mask = self._guide.mask(self._matcher)
        mask[self._stops] = bool(self._rejected) or self._matcher.is_accepting()
        if not mask.any():
            self._dead_end = self._reason("no token of this vocabulary can continue")
            mask[self._stops] = True
        return mask

    def accept(self, token: int) -> None:
        """Advance by the picked token."""
        if not self._rejected and token not in self._stop_ids and self._is_valid(token):
            self._matcher.consume_token(token)
        elif token in self._stop_ids and not self.failed and self._matcher.is_accepting():
            self._rejected.append("")
        else:
            self._rejected.append(self.failed or self._reason(f"the id {token} is not allowed"))

    def _is_valid(self, token: int) -> bool:
        known = self._guide.has_bytes(token) and not self._matcher.is_error()
        return known and bool(self._matcher.validate_tokens([token]))

    def _reason(self, otherwise: str) -> str:
        """Return why the matcher failed, and forget its compiled grammar; `otherwise` if it did not fail."""
        if not self._matcher.is_error():
            return otherwise
        self._guide.forget(self._grammar)
        return _plain(self._matcher.get_error())


class Words:
    """A tokenizer in llguidance's form: the bytes of each id, and text to ids for forced text.

    Markers of reasoning have bytes even if they are control tokens, because grammars contain them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        marks = marker_names(tokenizer)
        self.tokens = [
            marks.get(index, "").encode() or tokenizer.decode_bytes([index]) for index in range(tokenizer.vocab_size)
        ]
        self.special_token_ids = [index for index, token in enumerate(self.tokens) if not token]
        self.eos_token_id, self.bos_token_id = tokenizer.specials[END], None
        self._tokenizer = tokenizer
        self._ids = {token: index for index, token in enumerate(self.tokens) if token}
        self._longest = max(map(len, self.tokens))
        self._anchor = tokenizer.encode("\n")

    def __call__(self, data: bytes) -> list[int]:
        """Return ids whose bytes are exactly `data`.

        Some tokenizers (SentencePiece) put a space before a text: the workaround is a line break before it.
        """
        for anchor in (b"", b"\n"):
            try:
                ids = self._tokenizer.encode(anchor + data)
            except UserError:  # no tokens for single bytes: use the longest known tokens
                break
            head = self._anchor if anchor else []
            if ids[: len(head)] == head and self._tokenizer.decode_bytes(ids[len(head) :]) == data:
                return ids[len(head) :]
        return self._longest_first(data)

    def _longest_first(self, data: bytes) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(data):
            sizes = range(min(self._longest, len(data) - start), 0, -1)
            size = next((size for size in sizes if data[start : start + size] in self._ids), 0)
            if not size:
                return ids  # the rest has no tokens and is not forced
            ids.append(self._ids[data[start : start + size]])
            start += size
        return ids


def _grammar_of(source: str) -> dict[str, Any]:
    """Return the compiler's JSON of one grammar, which is Lark unless it is already JSON."""
    if not source.startswith("{"):
        return {"lark_grammar": source}
    grammar: dict[str, Any] = json.loads(source)["grammars"][0]
    return grammar


def _refusal(grammar: Grammar, reason: str) -> UserError:
    position = r"line \1, column \2: " if grammar.kind == "rules" else ""  # other sources are generated
    reason = re.sub(r"^at (\d+)\((\d+)\): ", position, reason)
    return UserError(f"The {grammar.name} cannot be followed: {_plain(reason)}. Fix or simplify it.")


def _plain(reason: str) -> str:
    """Return the compiler's reason as one line, without source excerpts."""
    if "panic" in reason:
        return "it names something that cannot be compiled"
    reason = reason.replace("<non-verbose/>", "").replace("Unimplemented keys", "unsupported keywords")
    lines = [line.strip() for line in reason.splitlines()]
    kept = [line for line in lines if line and not set(line) <= set("^~ ") and not _EXCERPT.match(line)]
    return " ".join(kept)[:200].rstrip(". ")
