"""Tools, reasoning and the template's variables over HTTP, with a model that replies what a test scripts."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.sample.runner import Chunk, Runner
from sayso.token.foreign import ForeignTokenizer

pytest.importorskip("llguidance")

# After the layout of Qwen 3; `opened` begins the reasoning in the prompt, as DeepSeek R1's template does.
TEMPLATE = """{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content %}{{ '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}{% endif -%}
{{ message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}
{%- elif opened %}{{ '<think>\\n' }}{% endif -%}
{%- endif -%}"""
MARKERS = ["<think>", "</think>"]
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    },
}
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": "b. c"}}\n</tool_call>'
THOUGHT = "<think>\nA <tool_call> would do. Hm\n\nno.\n</think>\n\n"
REASONED = "A <tool_call> would do. Hm\n\nno."


every_tokenizer = pytest.mark.parametrize("replier", ["text", "token", "control"], indirect=True, scope="module")


class Scripted:
    """A runner whose replies are given ids, and then the end."""

    def __init__(self, runner: Runner, ids: Sequence[int], end: int, width: int) -> None:
        self.runner, self.left, self.end, self.width = runner, list(ids), end, width

    def hidden(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """As the runner."""
        return self.runner.hidden(chunks)

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [N, V] that allow only the next id."""
        logits = torch.zeros(len(hidden), self.width)
        logits[:, self.left.pop(0) if self.left else self.end] = 100
        return logits


def tokenizer_of(markers: str) -> ForeignTokenizer:
    """Return a tokenizer of bytes whose markers of reasoning are plain text, tokens or control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    if markers != "text":
        core.add_tokens([AddedToken(mark, special=markers == "control", normalized=False) for mark in MARKERS])
    return ForeignTokenizer(core, {"eos_token": "<|im_end|>", "chat_template": TEMPLATE})


@pytest.fixture(scope="module")
def replier(request: pytest.FixtureRequest) -> Replier:
    """A small model with a template that thinks."""
    tokenizer = tokenizer_of(getattr(request, "param", "token"))
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, layers=1, width=16, heads=1, kv_heads=1, head_size=16, mlp_width=16,
        context=4096,
    )  # fmt: skip
    return Replier(Transformer(config).eval(), tokenizer)


@pytest.fixture
def script(app: FastAPI, replier: Replier) -> Callable[[str], list[int]]:
    """Set the text of the next reply; gives its ids."""
    tokenizer, engine = replier.tokenizer, app.state.models.main.worker.engine
    real = engine.runners[""]

    def script(text: str) -> list[int]:
        ids = tokenizer._spellings._parsing.encode(text, add_special_tokens=False).ids
        engine.runners[""] = Scripted(real, ids, tokenizer.turn_end, tokenizer.vocab_size)
        return ids

    return script


@pytest.fixture
def chat(client: TestClient, script: Callable[[str], list[int]]) -> Callable[..., dict[str, Any]]:
    """Reply with a scripted text, whole and streamed; gives the choice with the usage, the same for both."""

    def chat(text: str, **fields: Any) -> dict[str, Any]:
        body = {"messages": HELLO, "temperature": 0, "max_tokens": 200} | fields
        script(text)
        answer = client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        whole = answer.json()
        script(text)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        streamed = joined(client.post("/v1/chat/completions", json=body | options).text)
        message = whole["choices"][0]["message"]
        for call in message.get("tool_calls", []):
            del call["id"]
        said = {name: message.get(name) or None for name in ("content", "reasoning_content", "tool_calls")}
        found = said | {"finish": whole["choices"][0]["finish_reason"], "usage": whole["usage"]}
        assert streamed == found | {"usage": streamed["usage"]}
        for name in ("completion_tokens", "completion_tokens_details"):
            assert streamed["usage"][name] == found["usage"][name]
        return found

    return chat


def joined(events: str) -> dict[str, Any]:
    """Return what the deltas of a stream say together."""
    found: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for line in events.split("\n\n"):
        if line in ("", "data: [DONE]"):
            continue
        chunk = json.loads(line.removeprefix("data: "))
        found["usage"] = chunk.get("usage") or found.get("usage")
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                found[name] += delta.get(name) or ""
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    found["tool_calls"].append({"type": "function", "function": {**call["function"], "arguments": ""}})
                found["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
            found["finish"] = choice["finish_reason"] or found.get("finish")
    return {name: value or None for name, value in found.items()}


def count(client: TestClient, **fields: Any) -> int:
    """Return the number of tokens by /tokenize."""
    answer = client.post("/tokenize", json={"messages": HELLO} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["count"]


@every_tokenizer
@pytest.mark.parametrize("opened", [False, True])
def test_reasoning_is_separate_from_the_text(
    chat: Callable[..., dict[str, Any]], script: Callable[[str], list[int]], opened: bool
) -> None:
    """Reasoning goes to `reasoning_content`, without its markers, and its tokens are counted with them."""
    thought = THOUGHT.removeprefix("<think>\n") if opened else THOUGHT
    found = chat(f"{thought}Hi <b>there</b>.", chat_template_kwargs={"opened": opened})
    assert (found["reasoning_content"], found["content"]) == (REASONED, "Hi <b>there</b>.")
    assert found["finish"] == "stop"
    details = found["usage"]["completion_tokens_details"]
    assert details["reasoning_tokens"] == len(script(thought.rstrip("\n")))


def test_a_reply_without_reasoning_is_text(chat: Callable[..., dict[str, Any]]) -> None:
    """Markers elsewhere are text, and an empty thought is none."""
    for text in ("Hi", "Say <think>x</think>.", "<thin", " <b>"):
        found = chat(text)
        assert (found["reasoning_content"], found["content"]) == (None, text)
        assert found["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}
    found = chat("<think>\n\n</think>\n\nHi")
    assert (found["reasoning_content"], found["content"]) == (None, "Hi")


@every_tokenizer
@pytest.mark.parametrize(
    ("text", "left", "reasoning", "content"),
    [
        ("<think>\nHm, so", 12, "Hm, s", None),
        ("<think>\nHm </think>\n\nHi", 0, "Hm", "Hi"),
        ("<think>Hm</thin", 0, "Hm", None),
        ("<thi", 0, None, None),
    ],
)
def test_a_reply_that_is_cut_has_no_part_of_a_marker(
    chat: Callable[..., dict[str, Any]],
    script: Callable[[str], list[int]],
    text: str,
    left: int,
    reasoning: str | None,
    content: str | None,
) -> None:
    """What is cut in its reasoning has no text."""
    length = len(script(text)) if not left else len(script(text[: left + 1]))
    found = chat(text, max_tokens=length)
    assert (found["reasoning_content"], found["content"]) == (reasoning, content)
    assert found["finish"] == "length"


def test_stop_texts_apply_to_the_text_alone(chat: Callable[..., dict[str, Any]]) -> None:
    """Neither reasoning nor a call is cut by a stop text, nor is a marker; text is."""
    found = chat(f"{THOUGHT}One. Two.", stop=["\n\n", ".", "<"])
    assert (found["reasoning_content"], found["content"], found["finish"]) == (REASONED, "One", "stop")
    for stop in ([". "], ["<"], ["call"], ['"']):
        found = chat(f"{THOUGHT}{CALL}", stop=stop, tools=[TOOL])
        assert found["content"] is None
        assert json.loads(found["tool_calls"][0]["function"]["arguments"]) == {"a": "b. c"}
        assert found["finish"] == "tool_calls"
    found = chat(f"So. So {CALL}", stop=". ", tools=[TOOL])
    assert (found["content"], found["tool_calls"], found["finish"]) == ("So", None, "stop")
    found = chat("So <tool", stop="<", tools=[TOOL])
    assert (found["content"], found["finish"]) == ("So ", "stop")


@pytest.mark.parametrize(
    ("cut", "content", "arguments"),
    [
        ("Hm.\n<tool_c", "Hm.", None),
        ("Hm.\n<tool_call>", "Hm.", None),
        ('Hm.\n<tool_call>\n{"name": "ad', "Hm.", None),
        ('Hm.\n<tool_call>\n{"name": "add", "arguments": {"a": "b', "Hm.", '{"a": "b'),
        ('<tool_call>\n{"name": "add", "arguments": {"a": "b"}}\n</tool_c', None, '{"a": "b"}'),
        ("Hm. <b", "Hm. <b", None),
    ],
)
def test_a_call_that_is_cut_leaves_no_part_of_a_marker(
    chat: Callable[..., dict[str, Any]], cut: str, content: str | None, arguments: str | None
) -> None:
    """As with OpenAI, a call whose arguments have begun has those up to the cut."""
    found = chat(cut, max_tokens=len(cut), tools=[TOOL])
    calls = [call["function"]["arguments"] for call in found["tool_calls"] or []]
    assert (found["content"], calls, found["finish"]) == (content, [arguments] if arguments else [], "length")


@every_tokenizer
@pytest.mark.parametrize("opened", [False, True])
def test_a_form_follows_the_reasoning(chat: Callable[..., dict[str, Any]], opened: bool) -> None:
    """A schema and tools constrain what comes after the reasoning, which is free."""
    thought = THOUGHT.removeprefix("<think>\n") if opened else THOUGHT
    variables = {"chat_template_kwargs": {"opened": opened}}
    found = chat(f'{thought}{{"a": "x"}}', response_format={"type": "json_object"}, **variables)
    assert (found["reasoning_content"], found["content"]) == (REASONED, '{"a": "x"}')
    for choice in ("auto", "required"):
        found = chat(f"{thought}{CALL}", tools=[TOOL], tool_choice=choice, **variables)
        assert (found["reasoning_content"], found["content"]) == (REASONED, None)
        assert found["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": "b. c"}'}
    found = chat(f"{thought}Hi.", tools=[TOOL], **variables)
    assert (found["content"], found["tool_calls"]) == ("Hi.", None)
    found = chat(f'{thought}{{"a": "x"}}', tools=[TOOL], response_format={"type": "json_object"}, **variables)
    assert (found["reasoning_content"], found["content"]) == (REASONED, '{"a": "x"}')


def test_the_reasoning_of_earlier_turns_reaches_the_template(
    client: TestClient, script: Callable[[str], list[int]]
) -> None:
    """A message goes back as it came, also one that was cut in its reasoning."""
    turn: dict[str, Any] = {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}
    reasoning = len(script("<think>\nHm\n</think>\n\n"))
    without = count(client, messages=[*HELLO, {**turn, "reasoning_content": None}])
    assert count(client, messages=[*HELLO, turn]) == without + reasoning
    assert count(client, messages=[*HELLO, {**turn, "content": None}]) == count(client, messages=[*HELLO, turn]) - 2
    wrong = client.post("/v1/chat/completions", json={"messages": [{**HELLO[0], "reasoning_content": "x"}]})
    assert (wrong.status_code, "reasoning_content" in wrong.json()["error"]["message"]) == (400, True)


def test_a_prompt_is_counted_as_it_is_read(client: TestClient, chat: Callable[..., dict[str, Any]]) -> None:
    """/tokenize takes what decides the prompt of a chat: tools, variables, a message to be continued."""
    plain = count(client)
    last = {"role": "assistant", "content": "So"}
    bodies: list[dict[str, Any]] = [
        {}, {"tools": [TOOL]}, {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": {"opened": True}, "tools": [TOOL]},
        {"messages": [*HELLO, last], "continue_final_message": True}, {"add_generation_prompt": False},
        {"tools": [TOOL], "tool_choice": "none"},
    ]  # fmt: skip
    counts = [count(client, **body) for body in bodies]
    assert counts == [chat("Hi", **body)["usage"]["prompt_tokens"] for body in bodies]
    assert counts[0] == counts[-1] == plain
    assert len(set(counts[:-1])) == len(counts) - 1


@pytest.mark.parametrize("thinks", [False, True, None])
def test_every_route_turns_reasoning_off_and_on(client: TestClient, replier: Replier, thinks: bool | None) -> None:
    """By its own field, as `enable_thinking` does; an explicit variable takes precedence, null is none."""
    variables = {} if thinks is None else {"enable_thinking": thinks}
    expected = len(replier.tokenizer.ids(HELLO, reply=True, variables=variables))  # type: ignore[attr-defined]
    effort = {False: "none", True: "low", None: None}[thinks]
    kinds = {False: {"type": "disabled"}, True: {"type": "enabled", "budget_tokens": 1024}, None: {"type": "adaptive"}}
    same: dict[str, Any] = {"chat_template_kwargs": variables}
    other: dict[str, Any] = {"reasoning_effort": "none" if thinks else "high", **same}
    assert count(client, reasoning_effort=effort) == count(client, **same) == expected
    assert thinks is None or count(client, **other) == expected
    ask = {"/v1/chat/completions": {"messages": HELLO, "max_tokens": 1},
           "/v1/responses": {"input": "Hello", "max_output_tokens": 1},
           "/v1/messages": {"model": "tuned", "messages": HELLO, "max_tokens": 1}}  # fmt: skip
    own = {"/v1/chat/completions": {"reasoning_effort": effort}, "/v1/responses": {"reasoning": {"effort": effort}},
           "/v1/messages": {"thinking": kinds[thinks]}}  # fmt: skip
    for path, body in ask.items():
        for fields in (own[path], same):
            used = client.post(path, json=body | fields).json()["usage"]
            read = used.get("prompt_tokens") or used["input_tokens"] + used.get("cache_read_input_tokens", 0)
            assert read == expected, (path, fields)
    for path in ("/v1/responses/input_tokens", "/v1/messages/count_tokens"):
        generating = path.rsplit("/", 1)[0]
        body = {name: value for name, value in ask[generating].items() if not name.startswith("max")}
        assert client.post(path, json=body | own[generating]).json()["input_tokens"] == expected


def test_an_effort_needs_no_template_that_thinks(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a hint then; an unknown one is an error."""
    monkeypatch.setattr(ForeignTokenizer, "variables", frozenset())
    for effort in ("none", "high"):
        assert count(client, reasoning_effort=effort)
    wrong = client.post("/tokenize", json={"messages": HELLO, "reasoning_effort": "much"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "reasoning_effort")


def test_a_thought_before_a_call_is_read_again(official: openai.OpenAI, client: TestClient) -> None:
    """A client sends back reasoning, call and result; a summary, which only other servers make, is not read."""
    thought = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Short."}],
               "content": [{"type": "reasoning_text", "text": "Hm"}], "encrypted_content": "xyz"}  # fmt: skip
    call = {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": "b"}'}
    result = {"type": "function_call_output", "call_id": "c", "output": "3"}
    items: list[Any] = [{"role": "user", "content": "Hello"}, thought, call, result]
    turn = {"role": "assistant", "content": "", "reasoning_content": "Hm"}
    calls = [{"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": "b"}'}}]
    talk = [*HELLO, turn | {"tool_calls": calls}, {"role": "tool", "tool_call_id": "c", "content": "3"}]

    def read(items: list[Any]) -> int:
        return official.responses.input_tokens.count(model="tuned", input=items).input_tokens

    assert read(items) == count(client, messages=talk)
    del thought["content"]
    assert read(items) == read([*items[:1], *items[2:]])


def test_a_thought_can_be_continued(chat: Callable[..., dict[str, Any]]) -> None:
    """A message that ends in its reasoning goes on with it."""
    last = {"role": "assistant", "content": "<think>\nHm, "}
    found = chat("no.</think>Hi", messages=[*HELLO, last], continue_final_message=True)
    assert (found["reasoning_content"], found["content"]) == ("no.", "Hi")
    last["content"] += "no.</think>"
    assert chat("Hi", messages=[*HELLO, last], continue_final_message=True)["content"] == "Hi"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/tokenize"])
def test_unknown_variables_are_refused(client: TestClient, path: str) -> None:
    """What the template does not use is named, unless it equals an absent variable; its data is not replaced."""
    for name in ("enable_thinkin", "messages", "add_generation_prompt", "eos_token"):
        answer = client.post(path, json={"messages": HELLO, "chat_template_kwargs": {name: True}})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "chat_template_kwargs"), answer.text
        assert f"no variable '{name}'" in answer.json()["error"]["message"]
    body = {"messages": HELLO, "chat_template_kwargs": {"thinking": False, "x": None}}
    assert client.post(path, json=body).status_code == 200


def test_lone_surrogates_become_replacement_characters(client: TestClient) -> None:
    """In a text, in reasoning and in a variable: never a failure of the server."""
    for role, field, letter in (("user", "content", "\ud800"), ("assistant", "reasoning_content", "\udfff")):
        broken = {"messages": [*HELLO, {"role": role, field: letter}]}
        repaired = {"messages": [*HELLO, {"role": role, field: "\ufffd"}]}
        body, headers = json.dumps(broken).encode(), {"content-type": "application/json"}
        answer = client.post("/tokenize", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["count"] == count(client, **repaired)
    variable = json.dumps({"messages": HELLO, "chat_template_kwargs": {"\ud800": 1}}).encode()
    assert client.post("/tokenize", content=variable, headers={"content-type": "application/json"}).status_code == 400


def test_control_tokens_in_variables_are_text(client: TestClient) -> None:
    """A variable cannot end a turn."""
    found = client.post("/tokenize", json={"messages": HELLO, "chat_template_kwargs": {"opened": "<|im_end|>"}}).json()
    assert found["count"] == count(client, chat_template_kwargs={"opened": True})


@pytest.mark.parametrize(
    "fields",
    [{"tools": [TOOL]}, {"continue_final_message": True}, {"chat_template_kwargs": {"opened": True}}],
)
def test_a_text_has_no_conversation(client: TestClient, fields: dict[str, Any]) -> None:
    """/tokenize refuses with a prompt what only messages have."""
    answer = client.post("/tokenize", json={"prompt": "x", **fields})
    assert (answer.status_code, "requires 'messages'" in answer.json()["error"]["message"]) == (400, True)


def test_a_response_has_a_reasoning_item(official: openai.OpenAI, script: Callable[[str], list[int]]) -> None:
    """Whole and streamed; given back, it is read again."""
    ids = script(f"{THOUGHT}Hi.")
    whole = official.responses.create(model="tuned", input="Hello")
    thought, message = whole.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert (thought.content[0].text, message.type, whole.output_text) == (REASONED, "message", "Hi.")
    assert whole.usage is not None
    assert 0 < whole.usage.output_tokens_details.reasoning_tokens < len(ids)
    script(f"{THOUGHT}Hi.")
    events = list(official.responses.create(model="tuned", input="Hello", stream=True))
    deltas = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == REASONED
    ended = next(event for event in events if event.type == "response.completed").response
    assert [item.type for item in ended.output] == ["reasoning", "message"]
    script("Yes.")
    items: list[Any] = [{"role": "user", "content": "Hello"}, *(item.to_dict() for item in whole.output)]
    items.append({"role": "user", "content": "So?"})
    after = official.responses.create(model="tuned", input=items)
    talk = [*HELLO, {"role": "assistant", "content": "Hi.", "reasoning_content": REASONED}, items[-1]]
    assert after.usage is not None
    assert after.usage.input_tokens == count(official._client, messages=talk)  # type: ignore[arg-type]


@every_tokenizer
def test_the_page_gets_reasoning_apart(client: TestClient, script: Callable[[str], list[int]]) -> None:
    """Streamed as thoughts, folded in the HTML, absent from the answer; the stored reply has it with its markers."""
    talk = client.post("/api/conversations").json()["id"]
    asked = client.post("/api/messages", json={"conversation_id": talk, "content": "Hello"}).json()["id"]
    script(f"{THOUGHT}*Hi*.")
    text = client.post("/api/replies", json={"message_id": asked, "max_tokens": 100}).text
    found = {"thought": "", "piece": ""}
    for block in text.split("\n\n"):
        name, _, data = block.partition("\n")
        if (kind := name.removeprefix("event: ")) in found:
            found[kind] += json.loads(data.removeprefix("data: "))["text"]
    assert found == {"thought": REASONED, "piece": "*Hi*."}
    turn = client.get(f"/api/conversations/{talk}").json()["turns"][-1]
    assert (turn["content"], turn["answer"]) == (f"{THOUGHT}*Hi*.", "*Hi*.")
    folded, _, rest = turn["html"].partition("</details>")
    assert folded.startswith('<details class="thought"><summary>Reasoning</summary><p>A &lt;tool_call&gt; would')
    assert rest.strip() == "<p><em>Hi</em>.</p>"
    edit = {"kind": "edit", "message_id": turn["id"], "text": "<think>\nWell.\n</think>\n\nBye.", "comment": ""}
    rated = client.post("/api/ratings", json=edit).json()["turn"]
    assert (rated["answer"], rated["edit_html"].count("<details")) == ("Bye.", 1)


def test_reasoning_that_the_prompt_begins_is_stored_with_its_marker(
    client: TestClient, replier: Replier, script: Callable[[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a stored reply can be read by itself."""
    opening = ForeignTokenizer(
        replier.tokenizer.core,  # type: ignore[attr-defined]
        {"eos_token": "<|im_end|>", "chat_template": TEMPLATE.replace("elif opened", "else")},
    )
    monkeypatch.setattr(replier, "tokenizer", opening)
    talk = client.post("/api/conversations").json()["id"]
    asked = client.post("/api/messages", json={"conversation_id": talk, "content": "Hello"}).json()["id"]
    script("Hm\n</think>\n\nHi.")
    assert "event: thought" in client.post("/api/replies", json={"message_id": asked, "max_tokens": 100}).text
    turn = client.get(f"/api/conversations/{talk}").json()["turns"][-1]
    assert (turn["content"], turn["answer"]) == ("<think>\nHm\n</think>\n\nHi.", "Hi.")


def test_anthropics_messages_have_a_thinking_block(client: TestClient, script: Callable[[str], list[int]]) -> None:
    """Whole and streamed; given back, it is read again."""
    body: dict[str, Any] = {"model": "tuned", "max_tokens": 200, "messages": HELLO}
    script(f"{THOUGHT}Hi.")
    message = client.post("/v1/messages", json=body).json()
    thought = {"type": "thinking", "thinking": REASONED, "signature": ""}
    assert message["content"] == [thought, {"type": "text", "text": "Hi.", "citations": None}]
    script(f"{THOUGHT}Hi.")
    lines = client.post("/v1/messages", json=body | {"stream": True}).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == REASONED
    talk = [*HELLO, {"role": "assistant", "content": message["content"]}, *HELLO]
    counted = client.post("/v1/messages/count_tokens", json={"model": "tuned", "messages": talk}).json()
    turn = {"role": "assistant", "content": "Hi.", "reasoning_content": REASONED}
    assert counted["input_tokens"] == count(client, messages=[*HELLO, turn, *HELLO])
