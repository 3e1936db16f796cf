"""Every field of a body does what it says: how tokens are picked, when a reply ends, what is told of it."""

import json
from typing import Any

import openai
import pytest
import torch
from fastapi.testclient import TestClient

from sayso.reply import Replier

HELLO = [{"role": "user", "content": "hello"}]
GREEDY = {"messages": HELLO, "temperature": 0, "max_tokens": 12}
SCHEMA = {
    "type": "object",
    "properties": {"pet": {"enum": ["cat", "dog"]}, "age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["pet", "age"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "feed", "parameters": SCHEMA}}


def chat(client: TestClient, **change: Any) -> dict[str, Any]:
    """A greedy chat's one choice."""
    reply = client.post("/v1/chat/completions", json=GREEDY | change)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def complete(client: TestClient, **body: Any) -> dict[str, Any]:
    """A greedy completion's one choice."""
    reply = client.post("/v1/completions", json={"prompt": "the cat", "temperature": 0, "max_tokens": 8} | body)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def test_log_probabilities_of_a_chat_are_the_models_own(official: openai.OpenAI, replier: Replier) -> None:
    """Whole and streamed, each token has the number that the model gives it, and the likeliest, itself included."""
    asked: dict[str, Any] = {"model": "tuned", **GREEDY, "logprobs": True, "top_logprobs": 3}
    asked["extra_body"] = {"allowed_token_ids": letters(replier)}
    whole = official.chat.completions.create(**asked).choices[0]
    assert whole.logprobs is not None
    assert whole.logprobs.content is not None
    told = whole.logprobs.content
    prompt = replier.prompt_ids(HELLO)
    ids = client_ids(official, asked)
    own, best = scores(replier, [*prompt, *ids])
    told_so = torch.tensor([one.logprob for one in told])
    torch.testing.assert_close(told_so, own[len(prompt) - 1 :], rtol=1e-4, atol=1e-4)
    tops = torch.tensor([[top.logprob for top in one.top_logprobs] for one in told])
    expected = best[len(prompt) - 1 :, :3].clone()
    # A sampled token that is none of the three takes the last place.
    expected[:, 2] = torch.minimum(expected[:, 2], own[len(prompt) - 1 :])
    torch.testing.assert_close(tops, expected, rtol=1e-4, atol=1e-4)
    assert bytes(byte for one in told for byte in one.bytes or []).decode(errors="replace") == whole.message.content
    streamed = [
        one
        for chunk in official.chat.completions.create(**asked, stream=True)
        for one in (chunk.choices[0].logprobs.content or [] if chunk.choices[0].logprobs else [])
    ]
    assert [one.token for one in streamed] == [one.token for one in told]
    assert [one.logprob for one in streamed] == pytest.approx([one.logprob for one in told], abs=1e-4)


def scores(replier: Replier, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each token but the first its log-probability under the model [T - 1], and all of its place, best first."""
    with torch.inference_mode():
        logprobs = replier.model(torch.tensor([ids]))[0, :-1].log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0], logprobs.sort(descending=True).values


def letters(replier: Replier) -> list[int]:
    """The ids of single ASCII letters: text whose tokens are whole characters."""
    return replier.tokenizer.encode("abcdefghijklmnopqrstuvwxyz".upper())


def client_ids(official: openai.OpenAI, asked: dict[str, Any]) -> list[int]:
    """The ids of a chat's reply, by vLLM's `return_token_ids`."""
    made = official.chat.completions.create(
        **asked | {"extra_body": {**asked["extra_body"], "return_token_ids": True}}
    ).choices[0]
    return made.token_ids  # type: ignore[attr-defined]


def test_log_probabilities_of_a_completion_have_the_places_of_their_tokens(
    client: TestClient, replier: Replier
) -> None:
    """Each token begins where its offset says; streamed, all chunks together say the same."""
    some = letters(replier)
    found = complete(client, logprobs=2, allowed_token_ids=some)
    told = found["logprobs"]
    for token, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert found["text"][offset : offset + len(token)] == token
    for token, top in zip(told["tokens"], told["top_logprobs"], strict=True):
        assert token in top
        assert len(top) == (2 if token in list(top)[:2] else 3)
    body = {
        "prompt": "the cat",
        "temperature": 0,
        "max_tokens": 8,
        "logprobs": 2,
        "stream": True,
        "allowed_token_ids": some,
    }
    text = client.post("/v1/completions", json=body).text
    chunks = [json.loads(line[6:])["choices"][0] for line in text.splitlines() if line.startswith("data: {")]
    for name in ("tokens", "text_offset"):
        assert [one for chunk in chunks for one in chunk["logprobs"][name]] == told[name]
    streamed = [one for chunk in chunks for one in chunk["logprobs"]["token_logprobs"]]
    assert streamed == pytest.approx(told["token_logprobs"], abs=1e-4)


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_says_the_prompt_first(client: TestClient, replier: Replier, stream: bool) -> None:
    """Without and with log-probabilities; those of the prompt are its score."""
    some = letters(replier)
    plain = complete(client, allowed_token_ids=some)["text"]
    assert complete(client, echo=True, allowed_token_ids=some)["text"] == "the cat" + plain
    assert complete(client, echo=True, max_tokens=0)["text"] == "the cat"
    told = complete(client, echo=True, logprobs=1, allowed_token_ids=some)["logprobs"]
    assert told["token_logprobs"][0] is None
    assert "".join(told["tokens"]).removeprefix("<|bos|>") == "the cat" + plain
    if stream:
        body = {"prompt": "the cat", "temperature": 0, "max_tokens": 8, "echo": True, "stream": True} | {
            "allowed_token_ids": some
        }
        text = client.post("/v1/completions", json=body).text
        chunks = [json.loads(line[6:])["choices"][0]["text"] for line in text.splitlines() if line[:7] == "data: {"]
        assert "".join(chunks) == "the cat" + plain


def test_an_echo_says_what_truncation_left_of_the_prompt(client: TestClient, replier: Replier) -> None:
    """Text, tokens and their places are those of the prompt that the model reads."""
    kept = replier.tokenizer.encode("the cat sat on")[-2:]
    text = replier.tokenizer.decode(kept)
    found = complete(client, prompt="the cat sat on", truncate_prompt_tokens=2, echo=True, max_tokens=0, logprobs=0)
    assert (found["text"], "".join(found["logprobs"]["tokens"])) == (text, text)
    assert len(found["logprobs"]["text_offset"]) == 2
    same = complete(client, prompt="the cat sat on", truncate_prompt_tokens=500, echo=True, max_tokens=0)
    assert same["text"] == "the cat sat on"


def test_the_best_of_some_is_the_likeliest(client: TestClient) -> None:
    """Of four replies the two with the highest mean log-probability a token, best first; all four are counted."""
    body = {"prompt": "the cat", "seed": 3, "temperature": 1.0, "max_tokens": 6, "logprobs": 0}
    four = client.post("/v1/completions", json=body | {"n": 4}).json()["choices"]
    best = client.post("/v1/completions", json=body | {"n": 2, "best_of": 4}).json()

    def mean(choice: dict[str, Any]) -> float:
        return sum(choice["logprobs"]["token_logprobs"]) / len(choice["logprobs"]["token_logprobs"])

    expected = sorted(four, key=mean, reverse=True)[:2]
    assert [choice["text"] for choice in best["choices"]] == [choice["text"] for choice in expected]
    assert best["usage"]["completion_tokens"] == 24


def test_prompts_are_scored_at_both_routes(client: TestClient, replier: Replier) -> None:
    """`prompt_logprobs` gives of each place its own id, its rank and the likeliest."""
    ids = replier.prompt_ids(HELLO)
    own, best = scores(replier, ids)
    reply = client.post("/v1/chat/completions", json=GREEDY | {"prompt_logprobs": 1, "return_token_ids": True}).json()
    assert reply["prompt_token_ids"] == ids
    assert reply["prompt_logprobs"][0] is None
    for place in range(1, len(ids)):
        told = reply["prompt_logprobs"][place]
        assert told[str(ids[place])]["logprob"] == pytest.approx(float(own[place - 1]), abs=1e-4)
        assert told[str(ids[place])]["rank"] == 1 + int((best[place - 1] > own[place - 1] + 1e-5).sum())
        [likeliest] = [one for one in told.values() if one["rank"] == 1]
        assert likeliest["logprob"] == pytest.approx(float(best[place - 1, 0]), abs=1e-4)
    found = complete(client, prompt=[ids], prompt_logprobs=1)["prompt_logprobs"]
    assert [set(one or {}) for one in found] == [set(one or {}) for one in reply["prompt_logprobs"]]


def test_ids_can_be_forced_forbidden_and_pushed(client: TestClient, replier: Replier) -> None:
    """`allowed_token_ids`, `logit_bias` and `bad_words` change what a greedy reply says, and only so."""
    [cat] = replier.tokenizer.encode(" cat")
    assert chat(client, allowed_token_ids=[cat])["message"]["content"] == " cat" * 12
    assert chat(client, logit_bias={str(cat): 100})["message"]["content"] == " cat" * 12
    plain = chat(client, return_token_ids=True)["token_ids"]
    banned = chat(client, return_token_ids=True, logit_bias={str(plain[0]): -100})["token_ids"]
    assert plain[0] not in banned
    without = chat(client, logit_bias={str(cat): 100}, bad_words=["cat"])["message"]["content"]
    assert "cat" not in without


def test_what_a_field_does_to_the_distribution_is_the_samplings(client: TestClient, replier: Replier) -> None:
    """Each setting reaches the sampling under its own name: the reply is the replier's with the same."""
    from sayso.sample.dry import breaker_ids
    from sayso.sample.sampling import Sampling

    shared: dict[str, Any] = {"seed": 5, "max_tokens": 20, "temperature": 1.5}
    for field, value in {
        "top_k": 5, "top_p": 0.5, "min_p": 0.2, "typical_p": 0.4, "repetition_penalty": 1.5, "presence_penalty": 2.0,
        "frequency_penalty": 1.5, "xtc_probability": 1.0,
    }.items():  # fmt: skip
        [own] = replier.replies([HELLO], Sampling(**shared, **{field: value}))
        assert chat(client, **shared, **{field: value})["message"]["content"] == own.text, field
    asked = {"dry_multiplier": 2.0, "dry_base": 1.5, "dry_allowed_length": 1, "dry_penalty_last_n": 64}
    breakers = breaker_ids(replier.tokenizer, [b"x"])
    [own] = replier.replies([HELLO], Sampling(**shared, **asked, dry_breakers=breakers))
    assert chat(client, **shared, **asked, dry_sequence_breakers=["x"])["message"]["content"] == own.text


def test_a_reply_ends_as_its_fields_say(client: TestClient, replier: Replier) -> None:
    """Stop ids, a stop text that stays, a stop that comes too early, and the end that is not to be one."""
    plain = chat(client, return_token_ids=True)
    text, ids = plain["message"]["content"], plain["token_ids"]
    ended = chat(client, stop_token_ids=[ids[3]], return_token_ids=True)
    assert (ended["token_ids"], ended["finish_reason"]) == (ids[: ids.index(ids[3])], "stop")
    stop = text[4:6]
    kept = chat(client, stop=stop, include_stop_str_in_output=True)["message"]["content"]
    assert kept == text[: text.index(stop) + len(stop)]
    assert chat(client, stop=text[0], min_tokens=12)["message"]["content"] == text
    end = replier.tokenizer.specials["<|end|>"]
    pushed = {"logit_bias": {str(end): 100}}
    assert chat(client, **pushed)["message"]["content"] == ""
    assert chat(client, **pushed, ignore_eos=True)["finish_reason"] == "length"
    spelled = chat(client, **pushed, ignore_eos=True, skip_special_tokens=False)["message"]["content"]
    assert spelled == "<|end|>" * 12
    assert chat(client, **pushed, min_tokens=4, return_token_ids=True)["token_ids"].__len__() == 4


def test_a_prompt_is_cut_begun_and_continued_as_asked(client: TestClient, replier: Replier) -> None:
    """The ids that the model sees are told, so that they can be compared."""
    ids = replier.tokenizer.encode("the cat sat")
    bos = replier.tokenizer.specials["<|bos|>"]

    def seen(**body: Any) -> list[int]:
        return complete(client, prompt="the cat sat", return_token_ids=True, **body)["prompt_token_ids"]

    assert seen() == [bos, *ids]
    assert seen(add_special_tokens=False) == ids
    assert seen(truncate_prompt_tokens=2) == ids[-2:]
    assert seen(truncate_prompt_tokens=-1) == [bos, *ids]
    talk = [*HELLO, {"role": "assistant", "content": "the cat"}]
    body = {"messages": talk, "continue_final_message": True, "return_token_ids": True, "max_tokens": 2}
    prompt = client.post("/v1/chat/completions", json=body).json()["prompt_token_ids"]
    assert prompt == [*replier.prompt_ids(HELLO), *replier.tokenizer.encode("the cat")]
    body = GREEDY | {"add_generation_prompt": False, "return_token_ids": True}
    assert client.post("/v1/chat/completions", json=body).json()["prompt_token_ids"] == replier.prompt_ids(HELLO)[:-1]


def test_a_token_may_be_called_by_its_id(client: TestClient) -> None:
    """`return_tokens_as_token_ids` names tokens that have no text of their own."""
    found = chat(client, logprobs=True, return_tokens_as_token_ids=True, return_token_ids=True)
    assert [one["token"] for one in found["logprobs"]["content"]] == [f"token_id:{one}" for one in found["token_ids"]]


def test_a_salt_keeps_what_was_computed_apart(client: TestClient, app: Any) -> None:
    """The same prompt is used again under its own salt only; the reply is the same."""
    counts = app.state.models.main.worker.engine.counts
    long = [{"role": "user", "content": "the cat sat on the mat " * 20}]
    first = chat(client, messages=long, cache_salt="a")["message"]["content"]
    before = counts.reused_tokens
    assert chat(client, messages=long, cache_salt="b")["message"]["content"] == first
    assert counts.reused_tokens == before
    assert chat(client, messages=long, cache_salt="a")["message"]["content"] == first
    assert counts.reused_tokens > before


@pytest.mark.parametrize("strict", [True, False])
def test_a_schema_holds_the_reply(official: openai.OpenAI, strict: bool) -> None:
    """OpenAI's client asks for JSON of a schema, hot and seeded; what comes is of it, whole and streamed."""
    form: Any = {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": strict}}
    asked: dict[str, Any] = {"model": "tuned", "messages": HELLO, "response_format": form, "seed": 1, "max_tokens": 60}
    whole = official.chat.completions.create(**asked, temperature=2).choices[0]
    assert whole.finish_reason == "stop"
    value = json.loads(whole.message.content or "")
    assert value["pet"] in ("cat", "dog")
    assert 0 <= value["age"] <= 9
    chunks = official.chat.completions.create(**asked, temperature=2, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.message.content


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"choice": ["yes", "no"]}, {"yes", "no"}),
        ({"regex": "ca[tr]"}, {"cat", "car"}),
        ({"grammar": 'root ::= "x" | "y"'}, {"x", "y"}),
        ({"json": {"const": "z"}}, {'"z"'}),
        ({"json": '{"const": "z"}'}, {'"z"'}),
    ],
)
def test_each_kind_of_structured_output_holds(client: TestClient, outputs: dict[str, Any], expected: set[str]) -> None:
    """At both routes."""
    assert chat(client, structured_outputs=outputs)["message"]["content"] in expected
    assert complete(client, structured_outputs=outputs)["text"] in expected


def test_a_tool_is_called(official: openai.OpenAI) -> None:
    """A required call comes as OpenAI's `tool_calls`, whole and streamed; its result can be given back."""
    asked: dict[str, Any] = {"model": "tuned", "messages": HELLO, "tools": [TOOL], "tool_choice": "required"}
    asked |= {"seed": 1, "max_tokens": 200, "parallel_tool_calls": False}
    whole = official.chat.completions.create(**asked).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls is not None
    [call] = whole.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "feed"
    assert json.loads(call.function.arguments)["pet"] in ("cat", "dog")
    name, arguments, finish = "", "", None
    for chunk in official.chat.completions.create(**asked, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            name += part.function.name or ""
            arguments += part.function.arguments or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (name, arguments, finish) == ("feed", call.function.arguments, "tool_calls")
    talk: Any = [*HELLO, whole.message.model_dump(exclude_none=True)]
    talk += [{"role": "tool", "tool_call_id": call.id, "content": "done"}]
    after = official.chat.completions.create(
        model="tuned", messages=talk, tools=[TOOL], tool_choice="none", max_tokens=3
    )
    assert after.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "pet", "schema": SCHEMA, "strict": True}}},
        {"structured_outputs": {"json": SCHEMA}},
    ],
)
def test_a_reply_with_a_form_and_tools_is_a_call_or_of_that_form(
    client: TestClient, replier: Replier, form: dict[str, Any]
) -> None:
    """Left to choose, it begins as one of both and stays it; required or named, it is a call."""
    body = {"tools": [TOOL], "temperature": 2.0, "max_tokens": 200, **form}
    for begin, called in (("<", True), ("{", False)):
        [token] = replier.tokenizer.encode(begin)
        found = chat(client, **body, seed=3, logit_bias={str(token): 20})["message"]
        assert bool(found.get("tool_calls")) == called
    for seed in range(3):
        found = chat(client, **body, seed=seed)
        calls = found["message"].get("tool_calls", [])
        for value in [call["function"]["arguments"] for call in calls] or [found["message"]["content"]]:
            assert json.loads(value)["pet"] in ("cat", "dog")
    assert chat(client, **body, seed=1, tool_choice="required")["message"]["tool_calls"]
    plain = chat(client, **body, seed=1, tool_choice="none")
    assert json.loads(plain["message"]["content"])["pet"] in ("cat", "dog")


def test_a_grammar_that_cannot_be_followed_is_named_beside_tools(client: TestClient) -> None:
    """Of a format and tools together the one that is wrong is named."""
    wrong = {"type": "object", "properties": {"a": {"not": {}}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wrong, "strict": True}}
    tool = {"type": "function", "function": {"name": "x", "parameters": wrong, "strict": True}}
    for body, param in [
        ({"tools": [TOOL], "response_format": form}, "response_format"),
        ({"tools": [tool], "response_format": {"type": "json_object"}}, "tools[0].function.parameters"),
    ]:
        reply = client.post("/v1/chat/completions", json=GREEDY | body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize("tools", [None, [TOOL]])
def test_a_stream_tells_of_every_token(client: TestClient, tools: list[Any] | None) -> None:
    """Ids and log-probabilities come whole also where the text is held back, as at the beginning of a call."""
    body = {"messages": HELLO, "seed": 4, "max_tokens": 80, "logprobs": True, "return_token_ids": True}
    body |= {"tools": tools, "tool_choice": "required"} if tools else {}
    whole = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    text = client.post("/v1/chat/completions", json=body | {"stream": True}).text
    chunks = [json.loads(line[6:])["choices"][0] for line in text.splitlines() if line.startswith("data: {")]
    assert [token for chunk in chunks for token in chunk.get("token_ids", [])] == whole["token_ids"]
    told = [one for chunk in chunks for one in (chunk["logprobs"] or {"content": []})["content"]]
    numbers = [one["logprob"] for one in whole["logprobs"]["content"]]
    assert [one["token"] for one in told] == [one["token"] for one in whole["logprobs"]["content"]]
    assert [one["logprob"] for one in told] == pytest.approx(numbers, abs=1e-4)  # a product rounds by its size


def test_a_reply_that_can_go_on_with_nothing_holds_up_nobody(client: TestClient) -> None:
    """A choice that must be longer than it can be ends; the next request is answered."""
    body = GREEDY | {"structured_outputs": {"choice": ["a"]}, "min_tokens": 5}
    stuck = client.post("/v1/chat/completions", json=body)
    assert stuck.status_code == 400
    error = stuck.json()["error"]
    told = "'structured_outputs' and 'min_tokens' together exclude all tokens at position 1 of the reply"
    assert (error["param"], told in error["message"]) == ("structured_outputs", True)
    streamed = client.post("/v1/chat/completions", json=body | {"stream": True}).text
    assert json.loads(streamed.strip().split("data: ")[-1])["error"] == error
    assert chat(client)["finish_reason"] == "length"
