"""Constrained replies: whatever a model would say, what it may say is in the grammar."""

import json
import re
import subprocess
import sys
from enum import Enum
from typing import Annotated, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.sample.grammar import (
    MOST_BYTES,
    MOST_CHAIN,
    MOST_DEPTH,
    Grammar,
    choice,
    json_object,
    json_schema,
    regex,
    rules,
)
from sayso.sample.guide import GrammarConstraint, Guide
from sayso.sample.pick import pick
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import Tokenizer as AnyTokenizer
from sayso.token.train import train

pytest.importorskip("llguidance")

TEXTS = ['Hello there, how are you? {"name": "red hat", "age": 12}', "Once there was an old fox.\nIt ran."] * 9
WIDER = 40  # more columns of the head than ids of the vocabulary


def byte_level() -> ForeignTokenizer:
    """A tokenizer of another maker over bytes, with a control token that is text and ids that are left out."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=310, initial_alphabet=alphabet, show_progress=False))
    core.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    core.add_tokens(["<tool_call>"])
    return ForeignTokenizer(core, {"eos_token": "<|im_end|>"})


def sentence_piece() -> ForeignTokenizer:
    """A tokenizer that puts a space before a text, such as Llama 2's."""
    letters = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {name: index for index, name in enumerate([*letters, "\u2581", *"abcdeh", "\u2581a", "\u2581he"])}
    merges = [("\u2581", "a"), ("h", "e"), ("\u2581", "he")]
    core = Tokenizer(models.BPE(vocabulary | {"he": len(vocabulary)}, merges, byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.add_special_tokens(letters[:3])
    return ForeignTokenizer(core, {"eos_token": "</s>"})


TOKENIZERS = {
    "bpe": lambda: train("bpe", TEXTS, 330),
    "character": lambda: train("character", [*TEXTS, "äöü€αβγ" * 3], 300),
    "byte-level": byte_level,
    "sentence-piece": sentence_piece,
}


class Speaker:
    """A small random model that speaks under a constraint."""

    def __init__(self, tokenizer: AnyTokenizer) -> None:
        self.tokenizer, self.guide = tokenizer, Guide(tokenizer, tokenizer.vocab_size + WIDER)
        config = ModelConfig(
            vocab_size=self.guide.width, layers=1, width=16, heads=1, kv_heads=1, head_size=16, mlp_width=32, context=16
        )
        self.model = Transformer(config).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.normal_(std=0.3, generator=generator)

    @torch.inference_mode()
    def say(self, grammar: Grammar, seed: int, temperature: float = 1.5, most: int = 1500) -> str:
        """Return a reply that ended by itself."""
        stop_ids = self.tokenizer.stop_ids
        constraint = self.guide.constraint(grammar, stop_ids)
        request = Request([1], Sampling(temperature=temperature, seed=seed), stop_ids=stop_ids, constraint=constraint)
        for _ in range(most):
            logits = self.model(torch.tensor([[*request.prompt, *request.ids][-16:]]))[:, -1]
            logits[:, list(stop_ids)] += 3  # so that replies without a bound end
            token = pick(logits.masked_fill(~constraint.allowed(), float("-inf")), [request]).ids[0]
            constraint.accept(token)
            if token in stop_ids:
                assert constraint.complete
                return self.tokenizer.decode_bytes(request.ids).decode()  # whole characters only
            assert self.tokenizer.decode_bytes([token])  # no control token
            request.ids.append(token)
        raise AssertionError(f"no end: {self.tokenizer.decode(request.ids)!r}")


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def speaker(request: pytest.FixtureRequest) -> Speaker:
    """A speaker for each kind of tokenizer."""
    return Speaker(TOKENIZERS[request.param]())


@pytest.fixture(scope="module")
def guide() -> Guide:
    """A guide where the kind of tokenizer does not matter."""
    return Guide(train("bpe", TEXTS, 330))


Short = Annotated[str, Field(max_length=8)]


class Colour(Enum):
    """Texts of other scripts, quotes and escapes."""

    RED = 'röd "1"\n'
    BLUE = "青 😀"


class Strict(BaseModel):
    """No fields but its own."""

    model_config = ConfigDict(extra="forbid")


class Pet(Strict):
    """What a person has."""

    kind: Literal["cat", "dog"]
    legs: Annotated[int, Field(ge=0, le=120)]


class Person(Strict):
    """Nested objects by $ref, lists with bounds, enums, numbers, a pattern, null."""

    name: Annotated[str, Field(pattern=r"^[α-ωa-z]{1,5}$")]
    pets: Annotated[list[Pet], Field(max_length=2)]
    colour: Colour
    height: Annotated[float, Field(gt=-2, lt=2.5)]
    best: Pet | None
    note: Short = ""


class Node(Strict):
    """A tree, which its schema tells with a $ref to itself."""

    value: bool
    next: "Node | None"


@pytest.mark.parametrize("model", [Person, Node, list[Pet], dict[str, Short], Short], ids=str)
def test_replies_validate_against_their_schema(speaker: Speaker, model: type) -> None:
    """Nested objects, lists, enums, numbers, other scripts and references: each reply is valid JSON of the schema."""
    kind = TypeAdapter(model)
    schema = kind.json_schema()
    if model == dict[str, Short]:
        schema |= {"maxProperties": 2}
    for temperature in (1, 2):
        kind.validate_json(speaker.say(json_schema(schema), 0, temperature), strict=True)


@pytest.mark.parametrize(
    "pattern",
    [r"[a-c]{2,5}/", r"(ab|é+)\d{0,3}", r"^x=\d{1,9}\.\d\d$", r"[^a-z]{4}", r"(\w{1,9}\s){3}end", r"", r"😀|🐈{1,3}"],
)
def test_replies_match_their_regular_expression(speaker: Speaker, pattern: str) -> None:
    """Python's own module finds the whole reply to match."""
    for seed in range(2):
        assert re.fullmatch(pattern, speaker.say(regex(pattern), seed), re.ASCII)


CHOICES = ["yes", "no", "no, never", 'say "so"\n', "\\", "für 😀", " a", "\u2581a", "a ::= b"]


def test_a_reply_is_one_of_the_choices(speaker: Speaker) -> None:
    """Also where one is the beginning of another, or holds quotes and other scripts; not always the same."""
    said = [speaker.say(choice(CHOICES), seed) for seed in range(8)]
    assert set(said) <= set(CHOICES)
    assert len(set(said)) > 1
    for text in CHOICES:
        assert speaker.say(choice([text]), 0) == text


def test_rules_are_followed(speaker: Speaker) -> None:
    """Lark and GBNF, with recursion that no regular expression could tell, and a schema inside."""
    for seed in range(2):
        said = speaker.say(rules('start: "(" start ")" | "x"'), seed)
        depth = said.count("(")
        assert said == "(" * depth + "x" + ")" * depth
        assert re.fullmatch(r"[ab]+!", speaker.say(rules('root ::= [ab]+ "!"'), seed))
        said = speaker.say(rules('start: "call " %json {"type": "object", "maxProperties": 1}'), seed)
        assert isinstance(json.loads(said.removeprefix("call ")), dict)


def test_a_json_object_is_any_json_object(speaker: Speaker) -> None:
    """Whatever it holds, it parses."""
    assert isinstance(json.loads(speaker.say(json_object(), 0)), dict)


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.text(max_size=6), min_size=1, max_size=5))
def test_every_choice_can_be_said_and_nothing_else(guide: Guide, tokenizer: AnyTokenizer, texts: list[str]) -> None:
    """The ids of each choice are allowed in turn; the end is allowed just after a whole choice: brute force."""
    pieces = {index: tokenizer.decode_bytes([index]) for index in range(tokenizer.vocab_size)}
    for text in texts:
        constraint = guide.constraint(choice(texts), tokenizer.stop_ids)
        said = b""
        for token in tokenizer.encode(text):
            allowed = constraint.allowed()
            left = [other.encode()[len(said) :] for other in texts if other.encode().startswith(said)]
            may = {index for index, piece in pieces.items() if piece and any(rest.startswith(piece) for rest in left)}
            ends = tokenizer.stop_ids if b"" in left else frozenset()
            found = set(allowed.nonzero()[:, 0].tolist())
            assert found <= may | ends
            assert ends == found & tokenizer.stop_ids
            if token not in found:  # a text that is forced is spelled in the tokenizer's own way
                assert len(found) == 1
                token = found.pop()
            constraint.accept(token)
            said += tokenizer.decode_bytes([token])
            if said == text.encode():
                break
        assert said != text.encode() or constraint.complete


@pytest.fixture(scope="module")
def tokenizer() -> AnyTokenizer:
    """The tokenizer of `guide`."""
    return train("bpe", TEXTS, 330)


def spoken(constraint: GrammarConstraint, ids: list[int]) -> GrammarConstraint:
    """The constraint after ids that it allows."""
    for token in ids:
        assert constraint.allowed()[token]
        constraint.accept(token)
    return constraint


def test_only_stop_ids_follow_the_end(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """After the last text that a grammar has, each stop id is allowed and nothing else; before, none of them."""
    constraint = guide.constraint(regex("ab"), tokenizer.stop_ids)
    assert not constraint.allowed()[list(tokenizer.stop_ids)].any()
    spoken(constraint, tokenizer.encode("ab"))
    assert set(constraint.allowed().nonzero()[:, 0].tolist()) == tokenizer.stop_ids
    constraint.accept(min(tokenizer.stop_ids))
    assert set(constraint.allowed().nonzero()[:, 0].tolist()) == tokenizer.stop_ids
    assert constraint.complete


def test_an_id_that_was_not_allowed_ends_the_reply(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """It is told, and only stop ids follow."""
    constraint = guide.constraint(regex("abc"), tokenizer.stop_ids)
    wrong = tokenizer.encode("c")[0]
    constraint.accept(wrong)
    assert f"the id {wrong} is not allowed" in constraint.failed
    assert not constraint.complete
    assert set(constraint.allowed().nonzero()[:, 0].tolist()) == tokenizer.stop_ids


@pytest.mark.parametrize(("said", "wrong"), [("", ""), ("a", ""), ("ab", "c")], ids=["start", "middle", "end"])
def test_a_stop_before_the_end_and_a_text_after_it_are_told(
    guide: Guide, tokenizer: AnyTokenizer, said: str, wrong: str
) -> None:
    """A stop id ends a reply where a whole text stands, and nothing else does; either is a failure elsewhere."""
    constraint = spoken(guide.constraint(regex("ab"), tokenizer.stop_ids), tokenizer.encode(said))
    token = tokenizer.encode(wrong)[0] if wrong else min(tokenizer.stop_ids)
    constraint.accept(token)
    assert f"the id {token} is not allowed" in constraint.failed
    assert not constraint.complete


def test_a_stop_after_a_failure_changes_nothing(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """What was left before its end stays so, with the first reason."""
    constraint = guide.constraint(regex("ab"), tokenizer.stop_ids)
    constraint.accept(tokenizer.encode("c")[0])
    reason = constraint.failed
    constraint.accept(min(tokenizer.stop_ids))
    assert reason
    assert constraint.failed == reason
    assert not constraint.complete


def test_a_grammar_that_leads_nowhere_ends_the_reply(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """Where a control token alone could go on, the reply ends and says why; control tokens are never allowed."""
    grammar = rules(f'start: "a" <[{tokenizer.specials["<|user|>"]}]>')
    constraint = spoken(guide.constraint(grammar, tokenizer.stop_ids), tokenizer.encode("a"))
    assert set(constraint.allowed().nonzero()[:, 0].tolist()) == tokenizer.stop_ids
    assert "no token of this vocabulary" in constraint.failed


@pytest.mark.parametrize(
    ("grammar", "rule"),
    [
        (json_schema({"type": "objct"}), "JSON schema cannot be followed: Invalid type: objct"),
        (json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (json_schema({"$ref": "#/$defs/none"}), "'/\\$defs/none' does not exist"),
        (json_schema({"$ref": "http://example.org/x"}), "retriev"),
        (json_schema({"type": "string", "pattern": "("}), "unclosed group"),
        (json_schema({"type": "integer", "minimum": 3, "maximum": 1}), "minimum .3. is greater than maximum"),
        (regex("(ab"), "regular expression cannot be followed.*unclosed group"),
        (regex("(?=a)b"), "look-around"),
        (rules('start: "a" foo'), 'grammar cannot be followed.*unknown name: "foo"'),
        (rules("nonsense"), "Expected ::="),
        (rules("start: <|end|>"), "grammar cannot be followed"),
        (rules("start: <[0]>"), "no token of this vocabulary can begin it"),
    ],
    ids=lambda value: value.source if isinstance(value, Grammar) else "",
)
def test_a_grammar_that_cannot_be_followed_is_refused(guide: Guide, grammar: Grammar, rule: str) -> None:
    """One sentence on one line tells what is wrong, when the constraint is asked for."""
    with pytest.raises(UserError, match=rule) as refused:
        guide.constraint(grammar, frozenset({4}))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 450


def nested(levels: int) -> dict[str, object]:
    """A schema that nests so deep."""
    schema: dict[str, object] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: json_schema("x"), "A JSON schema must be a JSON object; got a string"),
        (lambda: json_schema(nested(MOST_DEPTH)), f"at most {MOST_DEPTH} levels"),
        (lambda: json_schema(nested(100_000)), "flatten it"),
        (lambda: json_schema({"enum": ["x" * MOST_BYTES]}), f"at most {MOST_BYTES} bytes"),
        (lambda: json_schema({"const": float("nan")}), "only JSON values"),
        (lambda: json_schema({"const": {1, 2}}), "only JSON values"),
        (lambda: json_schema({"x-guidance": {"lenient": True}}), "x-guidance"),
        (lambda: regex("x" * (MOST_BYTES + 1)), "A regular expression may have at most"),
        (lambda: regex(3), "must be text; got a number"),
        (lambda: rules("\ud800"), "invalid UTF-8"),
        (lambda: choice([]), "one or more texts"),
        (lambda: choice("yes"), "one or more texts"),
        (lambda: choice(["a", 3]), "one or more texts"),
        (lambda: choice(["\ud800"]), "surrogate"),
    ],
)
def test_what_is_no_grammar_is_refused_before_it_is_compiled(make, rule: str) -> None:
    """Size, depth and kind are checked first, in one sentence."""
    with pytest.raises(UserError, match=rule):
        make()
    assert json_schema(nested(MOST_DEPTH - 1))


def chained(kind: str, length: int) -> dict[str, object]:
    """A schema of definitions of which each refers to the next in one way."""
    definitions: dict[str, object] = {f"d{length}": {"type": "boolean"}}
    for place in range(length):
        to: dict[str, object] = {"$ref": f"#/$defs/d{place + 1}"}
        definitions[f"d{place}"] = {
            "$ref": to,
            "properties": {"type": "object", "properties": {"x": to}, "required": ["x"]},
            "additionalProperties": {"type": "object", "additionalProperties": to},
            "items": {"type": "array", "items": to, "minItems": 1},
            "prefixItems": {"type": "array", "prefixItems": [to]},
        }.get(kind, {kind: [to]})
    return {"$ref": "#/$defs/d0", "$defs": definitions}


def chained_rules(kind: str, length: int) -> str:
    """Rules of which each refers to the next in one way."""
    name, beginning, rule = {
        "rule": ("r", "start: r0", "{}: {}"),
        "rule with text": ("r", "start: r0", '?{}: "a" {} "b"'),
        "optional rule": ("r", "start: r0", "{} : {}?"),
        "terminal": ("T", "start: T0", "{}: {}"),
        "repeated terminal": ("T", "start: T0", "{}: {}*"),
        "rule with a setting": ("r", "start: r0", "{}[capture]: {}"),
        "GBNF": ("r", "root ::= r0", "{} ::= {}"),
        "GBNF with text": ("r-", "root ::= r-0", '{} ::= "a" {} | "b"'),
    }[kind]
    lines = [beginning, *(rule.format(f"{name}{place}", f"{name}{place + 1}") for place in range(length))]
    return "\n".join([*lines, rule.split("{}")[0] + f'{name}{length}{rule.split("{}")[1]}"c"'])


SCHEMA_KINDS = ("$ref", "properties", "additionalProperties", "items", "prefixItems", "allOf", "oneOf", "anyOf")
RULE_KINDS = (
    "rule", "rule with text", "optional rule", "terminal", "repeated terminal", "rule with a setting",
    "GBNF", "GBNF with text",
)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "kind"),
    [(lambda kind, length: json_schema(chained(kind, length)), kind) for kind in SCHEMA_KINDS]
    + [(lambda kind, length: rules(chained_rules(kind, length)), kind) for kind in RULE_KINDS]
    + [(lambda _, length: rules(f"start: %json {json.dumps(chained('items', length))}"), "a schema among rules")],
)
def test_a_long_chain_of_references_is_refused_and_a_shorter_one_followed(guide: Guide, make, kind: str) -> None:
    """A chain of thousands would overflow the compiler's stack, which ends the process."""
    with pytest.raises(UserError, match=f"at most {MOST_CHAIN} .* a chain of 60\\d"):
        make(kind, 600)
    assert guide.constraint(make(kind, 100), frozenset({4})).allowed().any()


@pytest.mark.parametrize(
    "grammar",
    [
        json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "array"}}}),
        json_schema({"type": "array", "items": {"$ref": "#"}}),
        json_schema({"type": "object", "properties": {f"p{place}": {"$ref": "#"} for place in range(500)}}),
        rules('start: "(" start ")" | "a"'),
        rules(
            "start: "
            + " | ".join(f"r{place}" for place in range(500))
            + "\n"
            + "".join(f'r{place}: "{place}"\n' for place in range(500))
        ),
    ],
    ids=["schema", "root", "many of one", "rule", "many rules"],
)
def test_recursion_and_many_references_are_no_chain(guide: Guide, grammar: Grammar) -> None:
    """What refers to itself, and what refers to many others side by side, is followed."""
    assert guide.constraint(grammar, frozenset({4})).allowed().any()


def test_a_ring_of_references_is_a_chain() -> None:
    """A chain that ends in its own beginning is as deep as one that ends."""
    ring = {f"a{place}": {"items": {"$ref": f"#/a{(place + 1) % 600}"}} for place in range(600)}
    with pytest.raises(UserError, match=r"a chain of 60\d"):
        json_schema({"$ref": "#/a0", **ring})


DEEP = """
import json, sys
from sayso.base.errors import UserError
from sayso.sample.grammar import Grammar
from sayso.sample.guide import Guide
from sayso.token.train import train

guide = Guide(train("character", ["abc"], 300))
for kind, source in json.load(sys.stdin):
    try:
        constraint = guide.constraint(Grammar(kind, source, "grammar"), frozenset({0}))
        for _ in range(20):
            constraint.accept(int(constraint.allowed().nonzero()[-1]))
    except UserError as error:
        assert "cannot be followed" in str(error)
print("alive")
"""


def test_the_deepest_chains_that_fit_do_not_end_the_process() -> None:
    """Even without the limit on chains, and with half a limit of bytes more, the compiler's stack is large enough."""
    grammars = [("json", json.dumps(chained(kind, 1800))) for kind in SCHEMA_KINDS]
    grammars += [("rules", chained_rules(kind, 3500)) for kind in ("rule", "optional rule", "terminal")]
    grammars += [
        ("rules", "start: " + "(" * 9000 + '"a"' + ")" * 9000),
        ("rules", "root ::= " + "(" * 9000 + '"a"' + ")" * 9000),
    ]
    grammars += [("regex", "(" * 9000 + "a" + ")" * 9000)]
    done = subprocess.run(
        [sys.executable, "-c", DEEP], input=json.dumps(grammars), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr[-2000:]


def test_a_lenient_schema_leaves_out_what_cannot_be_followed(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """What is left is followed."""
    schema = {"type": "array", "uniqueItems": True}
    constraint = guide.constraint(json_schema(schema, lenient=True), frozenset({4}))
    said = spoken(constraint, tokenizer.encode("[1,1]"))
    assert said.complete


def test_a_reply_without_an_end_is_refused(guide: Guide) -> None:
    """A grammar's end needs a stop id."""
    with pytest.raises(UserError, match="ends with a stop id"):
        guide.constraint(json_object(), frozenset())


def test_a_missing_library_is_told_with_its_install_command(
    tokenizer: AnyTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a constraint without the extra reads how to get it."""
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UserError, match=r"pip install 'sayso\[serve\]'"):
        Guide(tokenizer)


def test_a_guide_keeps_few_grammars_and_all_work(guide: Guide, tokenizer: AnyTokenizer) -> None:
    """More grammars than are kept compiled, asked for twice, each give their own masks."""
    for _ in range(2):
        for number in range(40):
            constraint = guide.constraint(regex(f"n{number}"), tokenizer.stop_ids)
            spoken(constraint, tokenizer.encode(b"n" + str(number).encode()))
            assert constraint.complete
