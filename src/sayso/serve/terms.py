"""The terms of a response: what a checked body requests of its replies, in the engine's form.

Texts become ids here, and ids are checked against the vocabulary before anything is queued.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sayso.base.errors import UserError
from sayso.base.json_words import json_shown
from sayso.reply.tools import Toolbox
from sayso.sample.dry import BREAKERS, breaker_ids
from sayso.sample.grammar import Grammar, after_reasoning
from sayso.sample.sampling import Sampling
from sayso.serve.errors import ApiError, naming
from sayso.serve.fields import GenerationFields
from sayso.serve.setting_fields import settings_of
from sayso.token.foreign import ForeignTokenizer
from sayso.token.reasoning import Reasoning
from sayso.token.tokenizer import Tokenizer

_STORED = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
"""Settings that a generation_config.json may set."""


@dataclass(frozen=True)
class ReplyTerms:
    """What is requested of the replies to each prompt."""

    sampling: Sampling
    stop_ids: frozenset[int]
    n: int = 1
    salt: str = ""
    adapter: str = ""
    """Name of the engine's adapter; none if empty."""
    forms: Mapping[str, Grammar] = field(default_factory=dict)
    """Allowed forms of the reply, by the field that requests them; empty: any text."""
    schemas: Mapping[str, Grammar] = field(default_factory=dict)
    """The form of each tool's arguments, by the field that sets it."""
    keep_stop: bool = False
    """Whether a stop text stays in the reply."""
    prompt_tops: int | None = None
    """Number of likeliest ids to return per position of the prompt; None: none."""
    spells_control: bool = False
    """Whether control tokens are spelled out in the text."""
    calls: bool = False
    """Whether the reply may contain tool calls."""
    reasoning: Reasoning = "none"
    """Whether the reply may begin with reasoning."""
    turns: Sequence[Mapping[str, Any]] = ()
    """The conversation to reply to, beginning with its tools if it has any; empty for raw prompts."""
    prompt_only: bool = False
    """Whether only the prompt is read (a length of 0): the reply is empty."""

    def renamed(self, path: Callable[[str], str]) -> "ReplyTerms":
        """Return the same terms with other names of the requesting fields."""
        forms = {path(name): form for name, form in self.forms.items()}
        return replace(self, forms=forms, schemas={path(name): form for name, form in self.schemas.items()})


def sampling_defaults(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the API's defaults: those of the imported model's generation_config.json over a temperature of 1.

    Raises `UserError` for a value that is no number or out of range.
    """
    stored = tokenizer.generation if isinstance(tokenizer, ForeignTokenizer) else {}
    found = {name: stored[name] for name in _STORED if stored.get(name) is not None}
    try:
        defaults = {"temperature": 1.0} | found | ({"top_k": max(found["top_k"], 0)} if "top_k" in found else {})
        Sampling(**defaults)
    except (TypeError, UserError) as error:
        raise UserError(
            f"The model's generation_config.json has invalid sampling settings, {found}: {error}"
        ) from error
    return defaults


class Reader:
    """Parses bodies for one model, given its tokenizer and the number of ids of its head."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.tokenizer, self.vocab_size = tokenizer, vocab_size
        self.defaults = sampling_defaults(tokenizer)
        self._breakers: Callable[[tuple[bytes, ...]], tuple[int, ...]] = lru_cache(8)(
            lambda texts: breaker_ids(tokenizer, texts)
        )

    def terms(
        self,
        asked: GenerationFields,
        default_tokens: int,
        tools: Toolbox | None = None,
        reasoning: Reasoning = "none",
    ) -> ReplyTerms:
        """Return the terms of a reply that may call some tools, and reason. Raises `ApiError` or `UserError`."""
        tools = tools or Toolbox()
        stops = self.known_ids(asked.stop_token_ids or [], "stop_token_ids")
        return ReplyTerms(
            self.sampling(asked, default_tokens),
            frozenset(stops) if asked.ignore_eos else self.tokenizer.stop_ids | frozenset(stops),
            asked.choices,
            asked.cache_salt or "",
            forms=_forms(asked, tools, reasoning),
            schemas=tools.schemas if tools.calls else {},
            keep_stop=bool(asked.include_stop_str_in_output),
            prompt_tops=asked.prompt_tops,
            spells_control=asked.skip_special_tokens is False,
            calls=tools.calls,
            reasoning=reasoning,
            prompt_only=asked.length == 0,
        )

    def sampling(self, asked: GenerationFields, default_tokens: int) -> Sampling:
        """Return the requested settings over the defaults; `default_tokens` if no length is set."""
        length = asked.length if asked.length is not None else default_tokens
        settings = self.defaults | settings_of(asked) | {"max_tokens": max(length, 1)}
        check_least(settings.get("min_tokens", 0), settings["max_tokens"])
        return Sampling(
            **settings,
            logit_bias=self._bias(asked),
            allowed_ids=tuple(self.known_ids(asked.allowed_token_ids or [], "allowed_token_ids")),
            banned=self._banned(asked.bad_words or []),
            dry_breakers=self.breakers(asked.dry_sequence_breakers) if settings.get("dry_multiplier") else (),
            stop=tuple(asked.stop or ()),
            logprobs=asked.tops,
        )

    def _bias(self, asked: GenerationFields) -> tuple[tuple[int, float], ...]:
        bias = asked.logit_bias or {}
        for name in bias:
            if not (name.isascii() and name.isdigit() and len(name) < 20):
                text = f"'logit_bias' must have token ids as keys; got {json_shown(name)}."
                raise ApiError(400, text, "invalid_value", "logit_bias")
        ids = self.known_ids(map(int, bias), "logit_bias")
        if len(set(ids)) < len(ids):
            text = "'logit_bias' must have each token id once; got two spellings of one id."
            raise ApiError(400, text, "invalid_value", "logit_bias")
        return tuple(zip(ids, bias.values(), strict=True))

    def known_ids(self, ids: Iterable[int], param: str) -> list[int]:
        """Return ids as a list. Raises `ApiError` for one that the model's head does not have."""
        known = list(ids)
        if any(token >= self.vocab_size for token in known):
            text = f"'{param}' must have token ids from 0 to {self.vocab_size - 1}; got {max(known)}."
            raise ApiError(400, text, "invalid_value", param)
        return known

    def _banned(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Return the ids of each word, at the beginning of a text and inside it, as in vLLM."""
        spelled = [self.tokenizer.encode(text) for word in words for text in (word, f" {word.lstrip()}")]
        return tuple(dict.fromkeys(tuple(ids) for ids in spelled if ids))

    def breakers(self, texts: Sequence[str] | None = None) -> tuple[int, ...]:
        """Return the ids of DRY's sequence breakers: those of the texts, or the default ones."""
        return self._breakers(BREAKERS if texts is None else tuple(text.encode() for text in texts))


def check_least(least: int, most: int) -> None:
    """Raise `ApiError` if a reply must be longer than it can be, in tokens."""
    if least > most:
        text = f"'min_tokens' must be at most the maximum length of this reply, {most} tokens; got {least}."
        raise ApiError(400, text, "invalid_value", "min_tokens")


def _forms(asked: GenerationFields, tools: Toolbox, reasoning: Reasoning) -> dict[str, Grammar]:
    """Return the allowed forms of the reply by the requesting field: a text format, or tool calls.

    The form is that of the text after the reasoning.
    """
    forms: dict[str, Grammar] = {}
    form = "structured_outputs" if asked.structured_outputs else "response_format"
    with naming(form):
        if (own := asked.grammar) is not None and tools.choice in ("none", "auto"):
            forms[form] = own
    with naming("tools"):
        if (calls := tools.grammar(text=not forms, reasons=reasoning != "none")) is not None:
            forms["tools"] = calls
    if reasoning == "none":
        return forms
    return {name: after_reasoning(form, begun=reasoning == "open") for name, form in forms.items()}
