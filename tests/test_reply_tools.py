"""Tools: what reaches the prompt, what a reply may be, and what is read from it, piece by piece."""

import json
from itertools import count, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.reply.calls import ToolCalls
from sayso.reply.parser import ReplyParser
from sayso.reply.schema import closed
from sayso.reply.text import Text
from sayso.reply.tools import Toolbox, toolbox
from sayso.sample.guide import Guide
from sayso.token.chat import render
from sayso.token.tools import CALL, CALL_END, CLOSING, opening
from sayso.token.train import train

pytest.importorskip("llguidance")

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'Tells # the weather // of a "city".',
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": ["Rome", "Köln"]}},
        },
        "strict": True,
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "properties": {"of": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2, "uniqueItems": True}},
            "required": ["of"],
            "additionalProperties": False,
        },
    },
}
TOKENIZER = train("bpe", [json.dumps([WEATHER, ADD]) + CALL + CALL_END] * 9, 340)
STOP = TOKENIZER.stop_ids


@pytest.fixture(scope="module")
def guide() -> Guide:
    """The guide of the tokenizer."""
    return Guide(TOKENIZER)


def said(guide: Guide, box: Toolbox, seed: int, likely: str = "") -> str:
    """A random reply that the grammar allows; it says `likely` where it may, and soon ends."""
    constraint = guide.constraint(box.grammar(), STOP)
    generator, ids = torch.Generator().manual_seed(seed), []
    for token in TOKENIZER.encode(likely):
        if constraint.allowed()[token]:
            constraint.accept(token)
            ids.append(token)
    for _ in range(600):
        weights = constraint.allowed().float()
        weights[list(STOP)] *= 30
        token = int(torch.multinomial(weights, 1, generator=generator))
        constraint.accept(token)
        if token in STOP:
            return TOKENIZER.decode(ids)
        ids.append(token)
    raise AssertionError(f"no end: {TOKENIZER.decode(ids)!r}")


def allows(guide: Guide, box: Toolbox, text: str) -> bool:
    """Whether a reply may be this text."""
    constraint = guide.constraint(box.grammar(), STOP)
    for token in TOKENIZER.encode(text):
        constraint.accept(token)
    return constraint.complete


def read(text: str, cuts: list[int] | None = None) -> ToolCalls:
    """What is read from a text cut at these places; the deltas put together are the same."""
    numbers = count()
    calls, deltas, start = ToolCalls(lambda: f"call_{next(numbers)}"), [], 0
    for end in [*sorted(cuts or []), len(text)]:
        deltas += calls.push(text[start:end])
        start = end
    deltas += calls.close()
    assert "".join(delta.content for delta in deltas) == calls.content
    for number, call in enumerate(calls.calls):
        mine = [delta for delta in deltas if delta.call == number]
        assert (mine[0].id, mine[0].name) == (call.id, call.name)
        assert not any(delta.id or delta.name for delta in mine[1:])
        assert "".join(delta.arguments for delta in mine) == call.arguments
    return calls


def check(call) -> None:
    """A call's arguments are what its schema allows."""
    arguments = json.loads(call.arguments)
    assert "\n" not in call.arguments
    if call.name == "get_weather":
        assert arguments.pop("city") in ("Rome", "Köln")
        assert arguments == {} or (list(arguments) == ["days"] and 1 <= arguments["days"] <= 9)
    else:
        assert call.name == "add"
        assert list(arguments) == ["of"]
        assert all(isinstance(value, bool) for value in arguments["of"])


@pytest.mark.parametrize("seed", range(4))
def test_required_calls_are_calls(guide: Guide, seed: int) -> None:
    """One or more, of any tool, with arguments that validate, by reference too; no text."""
    calls = read(said(guide, toolbox([WEATHER, ADD], "required"), seed))
    assert calls.calls
    assert calls.content == ""
    for call in calls.calls:
        check(call)
    alone = read(said(guide, toolbox([WEATHER, ADD], "required", parallel=False), seed))
    assert len(alone.calls) == 1


def test_a_named_tool_is_the_only_one(guide: Guide) -> None:
    """Of two tools the named one is called."""
    box = toolbox([WEATHER, ADD], {"type": "function", "function": {"name": "add"}})
    for seed in range(4):
        assert {call.name for call in read(said(guide, box, seed)).calls} == {"add"}
    assert [tool["function"]["name"] for tool in box.shown] == ["get_weather", "add"]


def test_a_model_that_may_choose_says_text_or_calls(guide: Guide) -> None:
    """Text goes anywhere but past a mark, behind which a call must follow, whatever stood before."""
    box = toolbox([WEATHER, ADD])
    for seed in range(3):
        free = read(said(guide, box, seed, "Some <tool text.\n"))
        assert free.content.startswith("Some <tool text.")
        called = read(said(guide, box, seed, f"Let me see.\n{CALL}"))
        assert called.content == "Let me see."
        assert called.calls
        for call in [*free.calls, *called.calls]:
            check(call)
    assert not allows(guide, box, f"{CALL}no call")
    assert allows(guide, box, f'x{CALL}{opening("add")}{{"of": []}}{CLOSING}')


def test_a_strict_schema_is_followed_in_full_or_refused(guide: Guide) -> None:
    """What cannot be followed is an error for a strict tool, and left out for another."""
    strict = json.loads(json.dumps(ADD))
    strict["function"]["strict"] = True
    assert guide.constraint(toolbox([ADD]).grammar(), STOP)
    with pytest.raises(UserError, match=r"set of tools cannot be followed.*uniqueItems"):
        guide.constraint(toolbox([strict]).grammar(), STOP)


def test_no_tools_no_grammar() -> None:
    """Without tools, or where none may be called, nothing is shown and nothing held."""
    for box in (toolbox(None), toolbox([]), toolbox([ADD], "none"), toolbox(None, "auto")):
        assert (box.calls, box.shown, box.grammar()) == (False, [], None)


NO_ARGUMENTS = f"{CALL}{opening('g')}{{}}{CLOSING}"
REPLIES = [
    "", " \n", "plain", "a < b <tool_ <tool_cal", f"Look:\n\n{CALL}{opening('f')}{{}}{CLOSING}",
    f'{CALL}{opening("f")}{{"a": [1, {{"b": "}} {CALL_END} \\" {CALL}"}}]}}{CLOSING}\n{NO_ARGUMENTS}',
    f'{CALL}{{"arguments": {{"x": 1}}, "name": "late"}}{CALL_END} and text ',
    f'{CALL}{{"name": "s", "arguments": "{{\\"x\\": 1}}"}}{CALL_END}', f'{CALL}{{"name": "bare"}}{CALL_END}\n',
    f"{CALL}no json{CALL_END} {CALL}[1]{CALL_END}{CALL}]", f'{CALL}{{"x": 1}}{CALL_END}', f'{CALL}\n{{"na',
    f'{CALL}{opening("f")}{{"cut": "he', f"{CALL}{opening('f')}{{}}}}", f'{CALL}{opening("f")}{{}}}} text',
    f'{CALL}{{"name": "f", "arguments": {{"é😀": "\\u00e9"}}, "more": {{}}}}\n\n{CALL_END}{CALL}', "x" + CALL, CALL_END,
]  # fmt: skip


@pytest.mark.parametrize("text", REPLIES)
def test_every_cut_reads_the_same(text: str) -> None:
    """Letter by letter, and cut in two at every place: text, names and arguments are those of the whole."""
    whole = read(text)
    for cuts in [list(range(len(text))), *([place] for place in range(len(text)))]:
        parts = read(text, cuts)
        assert (parts.content, parts.calls) == (whole.content, whole.calls)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([CALL, CALL_END, "{", "}", "[", '"', "\\", '"name": ', '"f", ', '"arguments": ', " \n", "é"])
    ),
    st.lists(st.integers(0, 60)),
)
def test_hostile_replies_read_the_same_in_every_cut(parts: list[str], cuts: list[int]) -> None:
    """Broken blocks, marks inside marks: never an exception, never another result; without calls nothing is lost."""
    text = "".join(parts)
    whole, cut = read(text), read(text, [place for place in cuts if place <= len(text)])
    assert (cut.content, cut.calls) == (whole.content, whole.calls)
    if not whole.calls:
        assert whole.content == text


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (REPLIES[4], "Look:", [("f", "{}")]),
        (REPLIES[5], "", [("f", f'{{"a": [1, {{"b": "}} {CALL_END} \\" {CALL}"}}]}}'), ("g", "{}")]),
        (REPLIES[6], " and text ", [("late", '{"x": 1}')]),
        (REPLIES[7], "", [("s", '{"x": 1}')]),
        (REPLIES[8], "", [("bare", "{}")]),
        (REPLIES[9], REPLIES[9], []),
        (REPLIES[11], REPLIES[11], []),
        (REPLIES[12], "", [("f", '{"cut": "he')]),
        (REPLIES[14], "text", [("f", "{}")]),
    ],
)
def test_calls_are_read(text: str, content: str, calls: list[tuple[str, str]]) -> None:
    """Each kind of block: its name and arguments, or text where it is no call."""
    found = read(text)
    assert (found.content, [(call.name, call.arguments) for call in found.calls]) == (content, calls)


def test_arguments_stream_before_they_end() -> None:
    """The name comes as soon as it is whole, then each piece; the deltas have OpenAI's shape."""
    calls = ToolCalls(lambda: "call_x")
    assert [delta.openai() for delta in calls.push(f"Hm. {CALL}" + opening("f"))] == [{"content": "Hm."}]
    assert [delta.openai() for delta in calls.push('{"a": "b')] == [
        {"tool_calls": [{"index": 0, "id": "call_x", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": "b'}}]},
    ]
    assert [delta.arguments for delta in calls.push('c"}' + CLOSING)] == ['c"}']
    assert calls.message() == {
        "role": "assistant",
        "content": "Hm.",
        "tool_calls": [{"id": "call_x", "type": "function", "function": {"name": "f", "arguments": '{"a": "bc"}'}}],
    }


def test_what_was_called_is_read_again(guide: Guide) -> None:
    """A reply, told as OpenAI's message and laid out in a prompt, is the same reply: round trip."""
    for seed in range(4):
        text = said(guide, toolbox([WEATHER, ADD], "required"), seed)
        message = read(text).message()
        ids, trained = render(TOKENIZER, [{"role": "user", "content": "Go"}, message])
        again = read(TOKENIZER.decode([index for index, learned in zip(ids, trained, strict=True) if learned]))
        assert [(call.name, json.loads(call.arguments)) for call in again.calls] == [
            (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"]
        ]


def tool(**fields: object) -> dict[str, object]:
    """A tool with a function of these fields."""
    return {"type": "function", "function": {"name": "f"} | fields}


@pytest.mark.parametrize(
    ("tools", "choice", "rule"),
    [
        ("x", None, 'array of tools; got "x"'),
        ([3], None, r"'tools\[0\]' must be an object; got 3"),
        ([{"type": "retrieval"}], None, 'must be "function" or "custom"; got "retrieval"'),
        ([tool(), {"type": "function"}], None, r"'tools\[1\].function' must be an object"),
        ([tool(name="a b")], None, "letters, digits"),
        ([tool(name="x" * 65)], None, "from 1 to 64"),
        ([tool(), tool()], None, '"f" occurs more than once'),
        ([tool(description=3)], None, "description' must be a string; got 3"),
        ([tool(strict="yes")], None, "strict' must be true or false"),
        ([tool(parameters=[1])], None, "function.parameters' must be a JSON object; got an array"),
        ([tool(parameters={"type": "string"})], None, "schema of an object"),
        ([tool(params={})], None, "Did you mean 'parameters'"),
        ([tool(name=f"f{number}") for number in range(129)], None, "at most 128 items; got 129"),
        ([tool()], "always", '"none", "auto" or "required", or name a tool'),
        ([], "required", "requires a call, but there are no 'tools'"),
        ([tool(name="look")], {"type": "function", "function": {"name": "lok"}}, "Did you mean 'look'"),
        ([tool()], {"type": "allowed_tools"}, "must be an object; got null"),
        ([tool()], {"type": "mcp"}, "must name one of the tools"),
        (
            [{"type": "custom", "custom": {"name": "x", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}}}],
            None,
            'syntax "regex"',
        ),
        (
            [{"type": "custom", "custom": {"name": "x", "parameters": {}}}],
            None,
            "custom.parameters' is not a field of a custom",
        ),
        ([tool()], 3, '"none", "auto" or "required", or name a tool'),
    ],
)
def test_bad_tools_are_refused(tools: object, choice: object, rule: str) -> None:
    """One sentence names the tool and the rule."""
    with pytest.raises(UserError, match=rule):
        toolbox(tools, choice)


def test_too_much_schema_is_refused() -> None:
    """All schemas together have a limit too."""
    parameters = {"type": "object", "properties": {"a": {"enum": ["x" * 40_000]}}}
    box = toolbox([tool(name=name, parameters=parameters) for name in ("f", "g")])
    with pytest.raises(UserError, match="A set of tools may have at most"):
        box.grammar()


STRING = {"type": "string"}
OBJECT = {"type": "object", "properties": {"a": STRING}}
CLOSED = OBJECT | {"additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
CLOSED_ONLY = {"additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object"}, NOTHING),
        ({"type": "object", "properties": {}}, NOTHING),
        (OBJECT, CLOSED),
        ({"properties": {"if": {"items": OBJECT}}}, {"properties": {"if": {"items": CLOSED}}, **CLOSED_ONLY}),
        ({"properties": {"x": {"anyOf": [OBJECT, STRING]}}},
         {"properties": {"x": {"anyOf": [CLOSED, STRING]}}, **CLOSED_ONLY}),
        ({"properties": {"x": {"$ref": "#/$defs/O"}}, "$defs": {"O": OBJECT}},
         {"properties": {"x": {"$ref": "#/$defs/O"}}, "$defs": {"O": CLOSED}, **CLOSED_ONLY}),
        ({"properties": {"any": {"type": "object"}}}, {"properties": {"any": {"type": "object"}}, **CLOSED_ONLY}),
        ({"type": "object", "anyOf": [OBJECT]}, {"type": "object", "anyOf": [CLOSED]}),
    ],
)  # fmt: skip
def test_objects_are_closed(schema: dict[str, object], expected: dict[str, object]) -> None:
    """No object allows properties that its schema does not declare."""
    assert closed(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT | {"additionalProperties": True},
        {"type": "object", "additionalProperties": STRING, "properties": {}},
        OBJECT | {"patternProperties": {"^x": STRING}},
        OBJECT | {"required": ["b"]},
        OBJECT | {"minProperties": 2},
        OBJECT | {"anyOf": [{"properties": {"b": STRING}}]},
        {"properties": {"x": {"allOf": [OBJECT, {"properties": {"b": STRING}}]}}},
        OBJECT | {"if": {"properties": {"b": STRING}}},
    ],
)
def test_objects_that_a_schema_opens_stay_open(schema: dict[str, object]) -> None:
    """Closing them would contradict the schema."""
    assert closed(schema) == schema


def test_a_tool_without_parameters_has_no_arguments(guide: Guide) -> None:
    """Nothing can be invented; the prompt shows the schema as it was given."""
    for parameters in (None, {}, {"type": "object"}, {"type": "object", "properties": {}}):
        box = toolbox([tool(parameters=parameters)], "required", parallel=False)
        assert allows(guide, box, f"{CALL}{opening('f')}{{}}{CLOSING}")
        assert not allows(guide, box, f'{CALL}{opening("f")}{{"a": 1}}{CLOSING}')
    assert box.shown[0]["function"]["parameters"] == {"type": "object", "properties": {}}
    opened = toolbox([tool(parameters={"type": "object", "additionalProperties": True})], "required")
    assert allows(guide, opened, f'{CALL}{opening("f")}{{"a": 1}}{CLOSING}')


THOUGHT = "\n<think>\nHm <tool_call> </thin \n\nno. \n</think>\n\n"
THINKING = [
    (THOUGHT + "So <think>.", "Hm <tool_call> </thin \n\nno.", "So <think>.", 0),
    (f"{THOUGHT}So.\n{NO_ARGUMENTS}", "Hm <tool_call> </thin \n\nno.", "So.", 1),
    ("<think>cut </thi", "cut", "", 0), ("<think></think>\n", "", "", 0), ("  <thin", "", "  ", 0),
    ("<thin>", "", "<thin>", 0), ("So\n<tool_c", "", "So", 0), (f"So\n{CALL}\n{{", "", "So", 0),
    ("So \n", "", "So \n", 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reasoning", "content", "calls"), THINKING)
@pytest.mark.parametrize("opened", [False, True])
def test_the_parts_of_a_cut_reply(text: str, reasoning: str, content: str, calls: int, opened: bool) -> None:
    """However it comes in pieces; nothing incomplete remains of markers. The prompt may have the first marker."""
    if opened:
        if "<think>" not in text[:8]:
            return
        text = text.split("<think>", 1)[1]
    for cuts in [[], list(range(len(text))), *([place] for place in range(len(text)))]:
        parser = ReplyParser(calls=True, reasoning="open" if opened else "possible")
        places = [0, *cuts, len(text)]
        deltas = [delta for start, end in pairwise(places) for delta in parser.push(text[start:end])]
        deltas += parser.close(cut=True)
        assert "".join(delta.reasoning for delta in deltas) == reasoning
        assert "".join(delta.content for delta in deltas) == parser.content == content
        assert len(parser.calls) == calls
        assert parser.message()["reasoning_content"] == (reasoning or None)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{THOUGHT}So. It is.", f"{THOUGHT}So"),
        (f"{THOUGHT}So{NO_ARGUMENTS}\n{NO_ARGUMENTS}", f"{THOUGHT}So{NO_ARGUMENTS}\n{NO_ARGUMENTS}"),
        ("So <tool_call>.", "So <tool_call>."),
        ("So <tool_cal.", "So "),
        ("So <tool", "So "),
        ("<think>never. ended", "<think>never. ended"),
    ],
)
def test_stop_texts_do_not_apply_to_reasoning_and_calls(text: str, kept: str) -> None:
    """However the text is split into tokens."""
    for cuts in [[], list(range(1, len(text))), *([place] for place in range(1, len(text)))]:
        pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
        reply = Text(
            TOKENIZER, [".", "<", "\n\n", "tool"], spelled=dict(enumerate(pieces)), calls=True, reasoning="possible"
        )
        found = "".join(reply.push(token) for token in range(len(pieces))) + reply.close()
        assert (found, reply.stopped) == (kept, kept != text)
        if len(pieces) == len(text):
            thought = text.find("</think>") + len("</think>") if "</think>" in text else len(text)
            assert reply.reasoning_tokens == (thought if "<think>" in text else 0)
