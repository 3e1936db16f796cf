"""Conversations in whatever format people keep them become the same messages; a wrong row is named with its place."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, read_jsonl
from sayso.base.life import Life
from sayso.run.prepare import Prepare, prepare
from sayso.text import files
from sayso.text.document import Document, Place
from sayso.text.sources import file_source, read

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
    """ShareGPT's turns from "who: what"."""
    return [dict(zip(("from", "value"), turn.split(": ", 1), strict=True)) for turn in turns]


def documents(path: Path, rows: list[Any]) -> list[Document]:
    """What a file of rows, in the form that its name says, is read as."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_all(path)


def read_all(path: Path) -> list[Document]:
    """The documents of a file, all of whose rows must be good."""
    bad = BadRows()
    found = [document for part in file_source(str(path), 0).parts for document in read(part, bad)]
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
def test_a_conversation_is_known_by_its_columns(name: str, suffix: str, tmp_path: Path) -> None:
    """Whoever's format and whatever kind of file, the messages and tools are the same."""
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
    "turn": ({"messages": ["Hello"]}, "with role and content, or with from and value; got 'Hello'"),
    "content": ({"messages": [{"role": "user", "content": {"image": "x"}}]}, "content is text; got"),
    "picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content is text; got"),
    "weight": ({"messages": [PLAIN[0], {**PLAIN[1], "weight": 0.5}]}, "weight is 0, which is read but not trained"),
    "call": ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "A call has an id and a function"),
    "result": ({"messages": [{"role": "tool", "content": "2", "tool_call_id": "9"}]}, "answers a call"),
    "spelled call": (
        {"conversations": said("human: Add!", "function_call: add(1)")},
        "is JSON with name and arguments",
    ),
    "tools": ({"messages": PLAIN, "tools": "add"}, "Tools are a list of functions"),
    "answer": ({"instruction": "Say", "reply": "it"}, "There is no column 'text', 'messages'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_one_sentence_with_file_and_row(name: str, tmp_path: Path) -> None:
    """The rule, what was got, and where."""
    row, rule = WRONG[name]
    with pytest.raises(UserError) as caught:
        documents(tmp_path / "rows.jsonl", [{"messages": PLAIN}, row])
    assert rule in str(caught.value)
    assert str(caught.value).startswith(f"1 of 2 rows cannot be used: {tmp_path / 'rows.jsonl'}:2: ")


def test_a_row_is_counted_from_the_files_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a worker began to read in the file's middle."""
    monkeypatch.setattr(files, "PART_BYTES", 40)
    rows = [{"text": f"Text {number}."} for number in range(50)]
    assert [str(document.at).rpartition(":")[2] for document in documents(tmp_path / "rows.jsonl", rows)] == [
        str(number) for number in range(1, 51)
    ]
    assert str(Place("nowhere", 7)) == "nowhere:7"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', "Name it .jsonl"),
        ('{"text": "a"}', "is an object"),
        ('["a"]', "rows.json, row 1: A row is one JSON object; this is a string"),
    ],
)
def test_a_json_file_is_one_list_of_rows(content: str, rule: str, tmp_path: Path) -> None:
    """Anything else is told, with what to do."""
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UserError, match=rule):
        read_all(tmp_path / "rows.json")


def test_prepared_conversations_keep_calls_results_tools_and_weights(tmp_path: Path) -> None:
    """What a trainer needs arrives in the life, cleaned, with calls and their results in one window."""
    talk = [SYSTEM, *CALLED, {"role": "user", "content": " Thanks!\u200b "}, {**PLAIN[1], "weight": 0}, *PLAIN]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": talk, "tools": [TOOL]}))
    life = Life(tmp_path / "life")
    prepare(Prepare(life=life.root, sources=(str(tmp_path / "rows.jsonl"),), quality=False, chat_turns=7))
    rows = [row for split in ("train", "val", "test") for row in read_jsonl(life.data("chat") / f"{split}.jsonl")]
    thanks = [{"role": "user", "content": "Thanks!"}, {**PLAIN[1], "weight": 0}]
    assert [row["messages"] for row in rows] == [[SYSTEM, *CALLED, *thanks], [SYSTEM, *PLAIN]]
    assert [row["tools"] for row in rows] == [[TOOL]] * 2


def test_a_short_conversation_is_kept(tmp_path: Path) -> None:
    """A question and its answer in a line are whole; a text as short is not, and goes as before."""
    rows = [{"instruction": "What is the capital of France?", "output": "Paris."}, {"text": "It is Paris. It is so."}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    life = Life(tmp_path / "life")
    told = prepare(Prepare(life=life.root, sources=(str(tmp_path / "rows.json"),)))
    assert sum(told["totals"]["conversations"].values()) == 1
    assert told["totals"]["dropped"] == {"too_short": 1}
