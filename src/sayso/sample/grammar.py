"""The form of a reply: a JSON schema, a regular expression, a choice of texts, or a grammar.

A `Grammar` is validated data, small enough to compile and comparable by value; `guide.py` makes token
masks from it. JSON whitespace is one space, or a line break and its indentation: a model cannot pad endlessly.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sayso.base.errors import UserError
from sayso.base.json_words import json_kind, json_shown
from sayso.sample.chain import rule_chain, schema_chain
from sayso.token.tokenizer import is_text

MOST_BYTES, MOST_DEPTH = 65_536, 64  # bytes of a schema, regular expression, choice or grammar; nesting of JSON schemas
MOST_CHAIN = 256  # successive references or rules; the compile time of some is quadratic in it
INLINE_JSON = re.compile(r"%json\s*(?=\{)")
GRAMMAR_SPACE = r" |\r?\n[ \t]{0,64}"

GrammarKind = Literal["json", "regex", "lark", "rules", "either"]


@dataclass(frozen=True)
class Grammar:
    """A formal language of replies. Created by the functions below, which validate their arguments."""

    kind: GrammarKind
    source: str
    """A JSON schema as JSON, a regular expression, or rules."""
    name: str
    """Its name in errors, such as "JSON schema"."""
    lenient: bool = False
    """Whether unsupported keywords of a JSON schema are ignored instead of being an error."""
    parts: tuple["Grammar", ...] = ()
    """For the kind "either": the alternative grammars."""
    reasoning: Literal["", "possible", "begun"] = ""
    """Whether reasoning precedes the text."""


def json_schema(schema: Mapping[str, Any], *, lenient: bool = False) -> Grammar:
    """Return the grammar of JSON values that a schema (Draft 2020-12) allows; properties are in the schema's order.

    Raises `UserError` if it is not a JSON object, too large, nested too deeply or has too long a chain of `$ref`.
    An unsupported keyword (`uniqueItems`, `not`, `if`, ...) is an error when the grammar is compiled, unless
    `lenient`.
    """
    return Grammar("json", schema_text(schema, "A JSON schema"), "JSON schema", lenient)


def json_object() -> Grammar:
    """Return the grammar of all JSON objects."""
    return json_schema({"type": "object"})


def regex(pattern: str) -> Grammar:
    r"""Return the grammar of texts that a regular expression matches from end to end.

    The syntax is that of Rust's `regex` without look-around and backreferences. \d, \w and \s are ASCII-only, so that
    the result matches in Python and JavaScript too. Errors as above.
    """
    return Grammar("regex", _sized(pattern, "A regular expression"), "regular expression")


def choice(texts: Sequence[str]) -> Grammar:
    """Return the grammar of a few texts, one of which is the reply. Raises `UserError` for none or invalid ones."""
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(
            f'A choice must be a list of one or more texts, such as ["yes", "no"]; got {json_shown(texts)}.'
        )
    if not all(map(is_text, texts)):
        raise UserError("The texts of a choice must be valid UTF-8; one contains a lone surrogate: remove it.")
    return lark("start: " + " | ".join(map(quoted, texts)), "choice")


def rules(source: str) -> Grammar:
    """Return the grammar defined by rules, in Lark's syntax or in GBNF (llama.cpp's). Errors as in `regex`.

    The start rule is `start` in Lark, `root` in GBNF; `%json {...}` stands for what a schema allows (Lark).
    """
    source = _sized(source, "A grammar")
    if (length := rule_chain(source)) > MOST_CHAIN:
        raise UserError(
            f"A grammar may have chains of at most {MOST_CHAIN} successive rules; this one has a chain of "
            f"{length}. Merge some of them."
        )
    for start in INLINE_JSON.finditer(source):
        _check_inlined(source, start.end())
    return Grammar("rules", source, "grammar")


def either(*grammars: Grammar) -> Grammar:
    """Return the grammar of the texts that any of several grammars allows."""
    reasoning = grammars[0].reasoning
    assert all(grammar.reasoning == reasoning for grammar in grammars), "reasoning precedes all of them or none"
    parts = tuple(replace(grammar, reasoning="") for grammar in grammars)
    return Grammar("either", "", " or ".join(grammar.name for grammar in grammars), parts=parts, reasoning=reasoning)


def after_reasoning(grammar: Grammar, *, begun: bool) -> Grammar:
    """Return the grammar of replies that reason first, freely, and then follow a grammar.

    `begun`: the prompt ends with `<think>`, so that the reply must end its reasoning with `</think>`; else it may begin
    with `<think>`.
    """
    return replace(grammar, reasoning="begun" if begun else "possible")


def lark(source: str, name: str) -> Grammar:
    """Return the grammar of generated rules, which errors call `name`. Errors as in `regex`."""
    return Grammar("lark", _sized(source, f"A {name}"), name)


def quoted(text: str) -> str:
    """Return a text as a literal of a Lark grammar."""
    return json.dumps(text)


def inlined(schema: Mapping[str, Any], what: str, *, lenient: bool = False) -> str:
    """Return a JSON schema on one line as a part of a Lark grammar; errors as in `json_schema`."""
    options = {"x-guidance": {"whitespace_pattern": " ", "lenient": lenient}}
    return f"%json {json.dumps(options | json.loads(schema_text(schema, what)))}"


def schema_text(schema: Mapping[str, Any], what: str) -> str:
    """Return a JSON schema as JSON. Raises `UserError` naming `what` if it is not an object, too deep or too large."""
    if not isinstance(schema, Mapping):
        raise UserError(f"{what} must be a JSON object; got {json_kind(schema)}.")
    if "x-guidance" in schema:
        raise UserError(f"{what} must not have 'x-guidance', because the compiler's settings are fixed. Omit it.")
    if depth(schema) > MOST_DEPTH:
        raise UserError(f"{what} may nest at most {MOST_DEPTH} levels deep; this one is deeper: flatten it with $ref.")
    try:
        text = _sized(json.dumps(schema, allow_nan=False), what)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} must contain only JSON values; this one does not ({error}).") from error
    if (length := schema_chain(schema)) > MOST_CHAIN:
        raise UserError(
            f"{what} may have chains of at most {MOST_CHAIN} $ref, one leading to the next; this one has a chain of "
            f"{length}. Inline some of the definitions."
        )
    return text


def depth(value: Any) -> int:
    """Return the nesting depth of objects and lists; stops counting past `MOST_DEPTH`."""
    level, deep = [value], 0
    while deep <= MOST_DEPTH:
        nested = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not nested:
            break
        deep += 1
        level = [part for item in nested for part in (item.values() if isinstance(item, Mapping) else item)]
    return deep


def _check_inlined(source: str, start: int) -> None:
    """Check the schema that begins at a position in a grammar; invalid JSON is left to the compiler."""
    try:
        schema, _ = json.JSONDecoder().raw_decode(source, start)
    except ValueError:
        return
    except RecursionError as error:
        raise UserError(f"A JSON schema may nest at most {MOST_DEPTH} levels; one here is deeper.") from error
    schema_text({name: value for name, value in schema.items() if name != "x-guidance"}, "A JSON schema")


def _sized(text: str, what: str) -> str:
    if not isinstance(text, str) or not is_text(text):
        raise UserError(
            f"{what} must be text; got {json_kind(text) if not isinstance(text, str) else 'invalid UTF-8'}."
        )
    if len(text.encode()) > MOST_BYTES:
        raise UserError(f"{what} may have at most {MOST_BYTES} bytes; this one has {len(text.encode())}: shorten it.")
    return text
