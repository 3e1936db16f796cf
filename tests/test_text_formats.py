"""Conversations in any common format become the same messages; a bad row is reported with its position."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, read_jsonl
from sayso.base.life import Life
from sayso.run.prepare import Prepare, prepare
from sayso.text import files
from sayso.text.document import Document, Place
from sayso.text.formats import document_of
from sayso.text.sources import file_source, read_part
from sayso.token.tools import tool_text

PLAIN = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Here."}]
SYSTEM = {"role": "system", "content": "Be kind."}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
CALLED = [
    {"role": "user", "content": "Add!"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "2", "tool_call_id": "call_0", "name": "add"},
    {"role": "assistant", "content": "2."},
]
OPENAI_CALL = {**CALL, "function": {"name": "add", "arguments": '{"a": 1}'}}


def said(*turns: str) -> list[dict[str, str]]:
    """Return ShareGPT's turns from "who: what"."""
    return [dict(zip(("from", "value"), turn.split(": ", 1), strict=True)) for turn in turns]


def documents(path: Path, rows: list[Any]) -> list[Document]:
    """Return the documents of a file of rows in the format of its name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_all(path)


def read_all(path: Path) -> list[Document]:
    """Return the documents of a file, all of whose rows must be good."""
    bad = BadRows()
    found = [document for part in file_source(str(path), 0).parts for document in read_part(part, bad)]
    bad.check()
    return found


FORMATS: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = {
    "our own": ({"messages": PLAIN, "source": "mine"}, PLAIN, []),
    "openai": ({"messages": [{**PLAIN[0], "name": "ann"}, {**PLAIN[1], "weight": 1}]}, PLAIN, []),
    "openai, weight 0": ({"messages": [*PLAIN, {**PLAIN[1], "weight": 0}]}, [*PLAIN, {**PLAIN[1], "weight": 0}], []),
    "openai, parts": (
        {"messages": [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in PLAIN]},
        PLAIN,
        [],
    ),
    "openai, tools": (
        {
            "messages": [
                CALLED[0],
                {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
                {"role": "tool", "content": "2", "tool_call_id": "call_0"},
                CALLED[3],
            ],
            "tools": [TOOL],
            "parallel_tool_calls": False,
        },
        CALLED,
        [TOOL],
    ),
    "alpaca": (
        {"instruction": "Hello?", "input": "", "output": "Here.", "text": "Below is an instruction: Hello?"},
        PLAIN,
        [],
    ),
    "alpaca, input": (
        {"instruction": "Say", "input": "it", "output": "Here."},
        [{"role": "user", "content": "Say\n\nit"}, PLAIN[1]],
        [],
    ),
    "sharegpt": ({"id": "x", "conversations": said("human: Hello?", "gpt: Here.")}, PLAIN, []),
    "sharegpt, system": (
        {"system": "Be kind.", "conversations": said("human: Hello?", "gpt: Here.")},
        [SYSTEM, *PLAIN],
        [],
    ),
    "sharegpt, role and content": ({"conversations": [SYSTEM, *PLAIN]}, [SYSTEM, *PLAIN], []),
    "sharegpt, tools": (
        {
            "conversations": said(
                "human: Add!",
                'function_call: {"name": "add", "arguments": {"a": 1}}',
                "observation: 2",
                "gpt: 2.",
            ),
            "tools": json.dumps([TOOL["function"]]),
        },
        CALLED,
        [TOOL],
    ),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_conversation_is_recognized_by_its_columns(name: str, suffix: str, tmp_path: Path) -> None:
    """In any format and kind of file, the messages and tools are the same."""
    row, messages, tools = FORMATS[name]
    if suffix == ".parquet" and "tools" in name and "openai" in name:
        row = row | {"tools": json.dumps(row["tools"])}  # a column of schemas is spelled as JSON there
    [first, second] = documents(tmp_path / f"rows{suffix}", [row, row])
    assert list(first.messages) == messages
    assert list(first.tools) == tools
    assert second == first
    path = tmp_path / f"rows{suffix}"
    assert str(second.at) == (f"{path}:2" if suffix == ".jsonl" else f"{path}, row 2")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "role": ({"messages": [{"role": "asistant", "content": "a"}]}, "Did you mean 'assistant'?"),
    "sharegpt role": ({"conversations": said("humann: Hello?")}, "Did you mean 'human'?"),
    "turn": ({"messages": ["Hello"]}, "with role and content, or from and value; got 'Hello'"),
    "content": ({"messages": [{"role": "user", "content": {"image": "x"}}]}, "content must be text; got"),
    "picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content must be text; got"),
    "weight": ({"messages": [PLAIN[0], {**PLAIN[1], "weight": 0.5}]}, "weight must be 0"),
    "call": (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        "A call must have an id and a function",
    ),
    "result": ({"messages": [{"role": "tool", "content": "2", "tool_call_id": "9"}]}, "must answer a call"),
    "spelled call": (
        {"conversations": said("human: Add!", "function_call: add(1)")},
        "must be JSON with name and arguments",
    ),
    "tools": ({"messages": PLAIN, "tools": "add"}, "Tools must be a list of functions"),
    "answer": ({"instruction": "Say", "reply": "it"}, "There is no column 'text', 'messages'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_one_sentence_with_file_and_row(name: str, tmp_path: Path) -> None:
    """The message gives the rule, the value and the position."""
    row, rule = WRONG[name]
    with pytest.raises(UserError) as caught:
        documents(tmp_path / "rows.jsonl", [{"messages": PLAIN}, row])
    assert rule in str(caught.value)
    assert str(caught.value).startswith(f"1 of 2 rows cannot be used: {tmp_path / 'rows.jsonl'}:2: ")


def test_a_row_is_counted_from_the_files_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a worker starts in the middle of the file."""
    monkeypatch.setattr(files, "PART_BYTES", 40)
    rows = [{"text": f"Text {number}."} for number in range(50)]
    assert [str(document.at).rpartition(":")[2] for document in documents(tmp_path / "rows.jsonl", rows)] == [
        str(number) for number in range(1, 51)
    ]
    assert str(Place("nowhere", 7)) == "nowhere:7"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', "Rename it to .jsonl"),
        ('{"text": "a"}', "holds an object"),
        ('["a"]', "rows.json, row 1: A row must be a JSON object; this is a string"),
    ],
)
def test_a_json_file_is_one_list_of_rows(content: str, rule: str, tmp_path: Path) -> None:
    """Anything else is an error that says what to do."""
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UserError, match=rule):
        read_all(tmp_path / "rows.json")


def test_prepared_conversations_keep_calls_results_tools_and_weights(tmp_path: Path) -> None:
    """Everything that training needs is kept, cleaned, with calls and their results in one window."""
    talk = [SYSTEM, *CALLED, {"role": "user", "content": " Thanks!\u200b "}, {**PLAIN[1], "weight": 0}, *PLAIN]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": talk, "tools": [TOOL]}))
    life = Life(tmp_path / "life")
    prepare(Prepare(life=life.root, sources=(str(tmp_path / "rows.jsonl"),), quality=False, chat_turns=7))
    rows = [row for split in ("train", "val", "test") for row in read_jsonl(life.data("chat") / f"{split}.jsonl")]
    thanks = [{"role": "user", "content": "Thanks!"}, {**PLAIN[1], "weight": 0}]
    assert [row["messages"] for row in rows] == [[SYSTEM, *CALLED, *thanks], [SYSTEM, *PLAIN]]
    assert [row["tools"] for row in rows] == [[TOOL]] * 2


def test_a_short_conversation_is_kept(tmp_path: Path) -> None:
    """A question and its answer in one line are complete; a text as short is dropped."""
    rows = [{"instruction": "What is the capital of France?", "output": "Paris."}, {"text": "It is Paris. It is so."}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    life = Life(tmp_path / "life")
    told = prepare(Prepare(life=life.root, sources=(str(tmp_path / "rows.json"),)))
    assert sum(told["totals"]["conversations"].values()) == 1
    assert told["totals"]["dropped"] == {"too_short": 1}


def calls_of(*names: str, **more: Any) -> dict[str, Any]:
    """Return one turn that calls tools with these names, without ids."""
    return {
        "role": "assistant",
        "tool_calls": [{"function": {"name": name, "arguments": "{}"}} for name in names],
    } | more


def result(content: str, **more: str) -> dict[str, str]:
    """Return a tool's result."""
    return {"role": "tool", "content": content, **more}


ASK, DONE = {"role": "user", "content": "Add!"}, {"role": "assistant", "content": "Done."}
TWO = [{"id": "x", "function": {"name": "first"}}, {"id": "y", "function": {"name": "second"}}]
MATCHED: dict[str, list[Any]] = {
    "by order": [ASK, calls_of("first", "second"), result("1"), result("2"), DONE],
    "by name": [ASK, calls_of("first", "second"), result("2", name="second"), result("1", name="first"), DONE],
    "by one name": [ASK, calls_of("first", "second"), result("2", name="second"), result("1"), DONE],
    "by id": [
        *(ASK, {"role": "assistant", "tool_calls": TWO}),
        *(result("2", tool_call_id="y"), result("1", tool_call_id="x"), DONE),
    ],
    "in two turns": [ASK, calls_of("first"), calls_of("second"), result("1"), result("2"), DONE],
    "one after another": [ASK, calls_of("first"), result("1"), calls_of("second"), result("2"), DONE],
    "the older form": [
        *(ASK, {"role": "assistant", "content": None, "function_call": {"name": "first", "arguments": "{}"}}),
        *({"role": "function", "name": "first", "content": "1"}, calls_of("second"), result("2"), DONE),
    ],
}
UNCLEAR: dict[str, tuple[list[Any], str]] = {
    "one result of two": (
        [ASK, calls_of("first", "second"), result("1"), DONE],
        "result: 2, .*name: 1",
    ),
    "two results of one": (
        [ASK, calls_of("first"), result("1"), result("2"), DONE],
        "result: 1, .*name: 2",
    ),
    "no call": ([ASK, result("1"), DONE], "result: 0, .*name: 1"),
    "another name": (
        [ASK, calls_of("first"), result("1", name="third"), DONE],
        'no call directly before it calls "third"',
    ),
    "twice": (
        [ASK, {"role": "assistant", "tool_calls": TWO}, *[result("1", tool_call_id="x")] * 2, DONE],
        'without a result; got "x"',
    ),
    "one id": (
        [ASK, {"role": "assistant", "tool_calls": [TWO[0], TWO[0]]}, result("1"), result("2"), DONE],
        "must be unique",
    ),
    "not right before": ([ASK, calls_of("first"), DONE, ASK, result("1"), DONE], "result: 0, results without"),
}


@pytest.mark.parametrize("name", MATCHED)
def test_each_result_goes_to_its_call(name: str, tmp_path: Path) -> None:
    """By id, name or order; it then has the call's name, and repeating this changes nothing."""
    [document] = documents(tmp_path / "rows.jsonl", [{"messages": MATCHED[name]}])
    names = {call["id"]: call["function"]["name"] for turn in document.messages for call in turn.get("tool_calls", [])}
    found = [turn for turn in document.messages if turn["role"] == "tool"]
    assert {(turn["content"], turn["name"], names[turn["tool_call_id"]]) for turn in found} == {
        ("1", "first", "first"),
        ("2", "second", "second"),
    }
    [again] = documents(tmp_path / "again.jsonl", [{"messages": document.messages}])
    assert again.messages == document.messages
    assert str(tool_text(document.messages)).count('"name": "second"') == 2  # the call, and what it gave


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_result_with_an_ambiguous_call_is_refused(name: str, tmp_path: Path) -> None:
    """One sentence, and never a guess."""
    messages, rule = UNCLEAR[name]
    with pytest.raises(UserError, match=rule):
        documents(tmp_path / "rows.jsonl", [{"messages": messages}])


def test_consecutive_sharegpt_calls_are_one_turn(tmp_path: Path) -> None:
    """Two calls and then two results are rendered as templates expect parallel calls."""
    call = 'function_call: {"name": "add", "arguments": {"a": %d}}'
    turns = said("human: Add!", call % 1, call % 2, "observation: 1", "observation: 2", "gpt: 3.")
    [document] = documents(tmp_path / "rows.jsonl", [{"conversations": turns}])
    assert [turn["role"] for turn in document.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [call["function"]["arguments"] for call in document.messages[1]["tool_calls"]] == [{"a": 1}, {"a": 2}]
    assert [turn["tool_call_id"] for turn in document.messages[2:4]] == ["call_0", "call_1"]
    with pytest.raises(UserError, match=r"result: 2, .*name: 1"):
        documents(tmp_path / "rows.jsonl", [{"conversations": [*turns[:4], turns[5]]}])


KEYS = st.sampled_from(
    [
        *("messages", "conversations", "text", "instruction", "output", "system", "tools", "role", "from", "value"),
        *("content", "tool_calls", "function_call", "function", "name", "arguments", "id", "tool_call_id", "weight"),
    ]
)
VALUES = st.recursive(
    st.sampled_from(["user", "assistant", "tool", "human", "function_call", "{}", "[1]", "x", None, 0, 1, True, 2.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=16,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_row_is_a_document_or_one_sentence(row: dict[str, Any]) -> None:
    """Whatever the row, no other error is raised, and the document can be rendered as text."""
    with suppress(UserError):
        document = document_of(row, None, Place("rows.jsonl", 1))
        assert isinstance(document.text, str)
        if document.messages:
            tool_text(document.messages, document.tools)
