"""What a reply may look like: a JSON schema, a regular expression, a choice of texts, or a grammar.

A `Grammar` is checked data, small enough to compile and equal to another that says the same; `guide.py` makes token
masks of it. JSON has no white space but one space, or a line break and its indentation: a model cannot dawdle there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sayso.base.errors import UserError
from sayso.sample.chain import rule_chain, schema_chain
from sayso.token.tokenizer import is_text

MOST_BYTES, MOST_DEPTH = 65_536, 64  # of a schema, regular expression, choice or grammar; what JSON schemas nest
MOST_CHAIN = 256  # references or rules that follow one another; some take a time that grows with the square of it
INLINE_JSON = re.compile(r"%json\s*(?=\{)")
SPACE = r" |\r?\n[ \t]{0,64}"

Kind = Literal["json", "regex", "lark", "rules", "either"]


@dataclass(frozen=True)
class Grammar:
    """A language of replies. Made by the functions below, which check what they take."""

    kind: Kind
    source: str
    """A JSON schema as JSON, a regular expression, or rules."""
    name: str
    """What errors call it, such as "JSON schema"."""
    lenient: bool = False
    """Whether keywords of a JSON schema that cannot be followed are left out, where they would be an error."""
    parts: tuple["Grammar", ...] = ()
    """Of the kind "either": the grammars of which the reply follows one."""


def json_schema(schema: Mapping[str, Any], *, lenient: bool = False) -> Grammar:
    """Return the grammar of JSON values that a schema (Draft 2020-12) allows; properties come in the schema's order.

    Raises `UserError` for one that is no JSON object, too large, nested too deep or with too long a chain of `$ref`.
    A keyword that cannot be followed (`uniqueItems`, `not`, `if`, ...) is an error when the grammar is compiled, unless
    `lenient`.
    """
    return Grammar("json", schema_text(schema, "A JSON schema"), "JSON schema", lenient)


def json_object() -> Grammar:
    """Return the grammar of all JSON objects."""
    return json_schema({"type": "object"})


def regex(pattern: str) -> Grammar:
    r"""Return the grammar of texts that a regular expression matches from end to end.

    The syntax is that of Rust's `regex` without look-around and references back. \d, \w and \s are ASCII's, so that
    what comes matches in Python and JavaScript too. Errors as above.
    """
    return Grammar("regex", _sized(pattern, "A regular expression"), "regular expression")


def choice(texts: Sequence[str]) -> Grammar:
    """Return the grammar of a few texts, of which one is the reply. Raises `UserError` for none, or no texts."""
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(f'A choice is a list of one text or more, such as ["yes", "no"]; got {texts!r:.100}.')
    if not all(map(is_text, texts)):
        raise UserError("A choice is of texts that UTF-8 can hold; one has half of a surrogate pair: mend it.")
    return lark("start: " + " | ".join(map(quoted, texts)), "choice")


def rules(source: str) -> Grammar:
    """Return the grammar that rules tell, in Lark's syntax or in GBNF (llama.cpp's). Errors as in `regex`.

    In Lark the reply is the rule `start`, in GBNF `root`; `%json {...}` stands for what a schema allows (Lark).
    """
    source = _sized(source, "A grammar")
    if (length := rule_chain(source)) > MOST_CHAIN:
        raise UserError(
            f"A grammar has chains of at most {MOST_CHAIN} rules that refer to one another; this one has a chain of "
            f"{length}. Join some of them."
        )
    for start in INLINE_JSON.finditer(source):
        _check_inlined(source, start.end())
    return Grammar("rules", source, "grammar")


def either(*grammars: Grammar) -> Grammar:
    """Return the grammar of the texts that one of some grammars allows."""
    return Grammar("either", "", " or ".join(grammar.name for grammar in grammars), parts=grammars)


def lark(source: str, name: str) -> Grammar:
    """Return the grammar of rules of our own making, which errors call `name`. Errors as in `regex`."""
    return Grammar("lark", _sized(source, f"A {name}"), name)


def quoted(text: str) -> str:
    """Return a text as a literal of a Lark grammar."""
    return json.dumps(text)


def inlined(schema: Mapping[str, Any], what: str, *, lenient: bool = False) -> str:
    """Return one line of JSON of a schema as a part of a Lark grammar; errors as in `json_schema`."""
    options = {"x-guidance": {"whitespace_pattern": " ", "lenient": lenient}}
    return f"%json {json.dumps(options | json.loads(schema_text(schema, what)))}"


def schema_text(schema: Mapping[str, Any], what: str) -> str:
    """Return a JSON schema as JSON. Raises `UserError` naming `what` where it is no object, too deep or too large."""
    if not isinstance(schema, Mapping):
        raise UserError(f"{what} is a JSON object; got {type(schema).__name__}.")
    if "x-guidance" in schema:
        raise UserError(f"{what} has no 'x-guidance' here: the compiler's settings are fixed. Leave it away.")
    if depth(schema) > MOST_DEPTH:
        raise UserError(f"{what} nests at most {MOST_DEPTH} deep; this one nests deeper: make it flatter with $ref.")
    try:
        text = _sized(json.dumps(schema, allow_nan=False), what)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} is made of JSON's own values; this one is not ({error}): mend it.") from error
    if (length := schema_chain(schema)) > MOST_CHAIN:
        raise UserError(
            f"{what} has chains of at most {MOST_CHAIN} $ref, one leading to the next; this one has a chain of "
            f"{length}. Put some of the definitions where they are referred to."
        )
    return text


def depth(value: Any) -> int:
    """Return how deep objects and lists nest, and stop counting past `MOST_DEPTH`."""
    level, deep = [value], 0
    while deep <= MOST_DEPTH:
        nested = [item for item in level if isinstance(item, Mapping | list | tuple)]
        if not nested:
            break
        deep += 1
        level = [part for item in nested for part in (item.values() if isinstance(item, Mapping) else item)]
    return deep


def _check_inlined(source: str, start: int) -> None:
    """Check the schema that begins at a place in a grammar; what is no JSON is left to the compiler."""
    try:
        schema, _ = json.JSONDecoder().raw_decode(source, start)
    except ValueError:
        return
    except RecursionError as error:
        raise UserError(f"A JSON schema nests at most {MOST_DEPTH} deep; one in this grammar nests deeper.") from error
    schema_text({name: value for name, value in schema.items() if name != "x-guidance"}, "A JSON schema")


def _sized(text: str, what: str) -> str:
    if not isinstance(text, str) or not is_text(text):
        raise UserError(f"{what} is text; got {type(text).__name__ if not isinstance(text, str) else 'no UTF-8'}.")
    if len(text.encode()) > MOST_BYTES:
        raise UserError(f"{what} has at most {MOST_BYTES} bytes; this one has {len(text.encode())}: make it shorter.")
    return text
