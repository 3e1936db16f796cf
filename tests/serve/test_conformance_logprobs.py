"""Log-probabilities, text offsets, echo, token ids and usage, as OpenAI's clients read them.

Each rule holds for chat, completions and responses, streamed and whole, with every kind of tokenizer. The models are
random, so their replies are full of characters that span several tokens, and of bytes that are not UTF-8.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import openai
import pytest
import torch
from fastapi.testclient import TestClient
from openai.types import Completion, CompletionUsage
from openai.types.chat import ChatCompletionTokenLogprob
from tokenizers import AddedToken, decoders, models, normalizers, trainers
from tokenizers import Tokenizer as Core

from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.reply.text import Characters, Text
from sayso.reply.tools import toolbox
from sayso.sample.engine import Engine
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling
from sayso.serve.app import make_app
from sayso.serve.choice import Choice, ChoicePiece
from sayso.serve.echo import echoed_prompt
from sayso.serve.logprobs import ReportedLogprobs
from sayso.serve.output import Output, new_response
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train

TEXTS = ["the cat sat on the mat, na\u00efve caf\u00e9s \u2615 and the dog said hello. " * 20]
HELLO = [{"role": "user", "content": "hello"}]
HARD = "na\u00efve \u2615 \U0001f44d\U0001f3fd!"  # characters of one to four bytes
KINDS = {"bpe": 0, "speculating-bpe": 4, "word": 0, "character": 0, "piece": 0}  # and tokens proposed per step
TEMPLATE = "{% for one in messages %}[{{ one.role }}] {{ one.content }}</s>{% endfor %}[assistant]"


def piece_tokenizer() -> Tokenizer:
    """A tokenizer like SentencePiece's: a blank precedes every text, and unknown characters are spelled in bytes."""
    control = ["<unk>", "<s>", "</s>"]
    prepend = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core = Core(models.BPE(byte_fallback=True, unk_token="<unk>"))
    core.normalizer = prepend
    fixed = [*control, *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [text.replace("\u2615", "") for text in TEXTS]
    core.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=330, special_tokens=fixed, show_progress=False))
    vocabulary = {name: core.token_to_id(name) for name in core.get_vocab(with_added_tokens=True)}
    merges = [
        (first, second) for first in vocabulary for second in vocabulary if first + second in vocabulary
    ]  # any order will do
    core = Core(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    core.normalizer = prepend
    core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in control])
    facts = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "chat_template": TEMPLATE}
    return ForeignTokenizer(core, facts)


@pytest.fixture(scope="module", params=[kind for kind in KINDS if not KINDS[kind]])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of tokenizer."""
    return str(request.param)


@pytest.fixture(scope="module")
def replier(kind: str) -> Replier:
    """A random model for each kind of tokenizer; its head is wider than the vocabulary, as padded ones are."""
    kind = kind.rpartition("-")[2]
    tokenizer = piece_tokenizer() if kind == "piece" else train(kind, TEXTS, 300)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size + 3, layers=1, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=64,
        context=1024,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
        model.unembed.weight[[*tokenizer.control, *range(tokenizer.vocab_size, config.vocab_size)]] = 0
    return Replier(model.eval(), tokenizer)


@pytest.fixture(scope="module")
def client(kind: str, replier: Replier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application; the speculating one appends several tokens per step."""
    store = Store(tmp_path_factory.mktemp("store") / "store.sqlite")
    engine = Engine(replier.model, speculate=KINDS[kind])
    with TestClient(make_app(replier, store, "tuned", engine=engine), base_url="http://127.0.0.1") as client:
        yield client
    store.close()


@pytest.fixture(scope="module")
def official(client: TestClient) -> openai.OpenAI:
    """OpenAI's own client."""
    return openai.OpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=client, max_retries=0)


def complete(official: openai.OpenAI, *, stream: bool = False, **body: Any) -> dict[str, Any]:
    """Return a greedy completion's choice, streamed or whole, in one shape: text, finish, ids and log-probabilities."""
    known = {name: body.pop(name) for name in ("prompt", "echo", "logprobs", "max_tokens", "stop", "n") if name in body}
    known = {"prompt": "the cat", "max_tokens": 12, "temperature": 0} | known
    made = official.completions.create(
        model="tuned", stream=stream, extra_body={"return_token_ids": True} | body, **known
    )
    choices = [choice for chunk in (made if stream else [made]) for choice in chunk.choices]
    logprobs = [choice.logprobs for choice in choices if choice.logprobs]
    found = {
        name: [one for part in logprobs for one in getattr(part, name)]
        for name in ("tokens", "text_offset", "token_logprobs", "top_logprobs")
    }
    return found | {
        "text": "".join(choice.text for choice in choices),
        "finish": choices[-1].finish_reason,
        "ids": [token for choice in choices for token in choice.token_ids],
        "prompt": [choice.prompt_token_ids for choice in choices if getattr(choice, "prompt_token_ids", None)],
    }


def offsets(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> list[int]:
    """Return the index of the character that contains the first byte of each token, at most the text's length."""
    data = [tokenizer.decode_bytes([token]) if token < tokenizer.vocab_size else b"" for token in ids]
    starts = [b"".join(data[:place]) for place in range(len(data))]
    found = [
        len((start + more[:1]).decode("utf-8", "replace")) - bool(more)
        for start, more in zip(starts, data, strict=True)
    ]
    return [min(one, len(text)) for one in found]


def named(tokenizer: Tokenizer, token: int) -> str:
    """Return the expected name of a token."""
    data = tokenizer.decode_bytes([token]) if token < tokenizer.vocab_size else b""
    if not data:
        return tokenizer.control.get(token, f"token_id:{token}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def prepends_blank(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer puts a blank before each text."""
    return tokenizer.decode(tokenizer.encode("a")) == " a"


def same(streamed: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether two completions are equal; numbers may differ by rounding, as rows of another shape do."""
    exact = ("text", "finish", "ids", "prompt", "tokens", "text_offset")
    return (
        [streamed[name] for name in exact] == [whole[name] for name in exact]
        and streamed["token_logprobs"] == pytest.approx(whole["token_logprobs"], abs=1e-4)
        and [set(one or {}) for one in streamed["top_logprobs"]] == [set(one or {}) for one in whole["top_logprobs"]]
    )


HARD_BODIES: dict[str, dict[str, Any]] = {
    "random": {"max_tokens": 30},
    "hard": {"structured_outputs": {"choice": [HARD]}, "max_tokens": 60},
    "cut": {"structured_outputs": {"choice": [HARD]}, "max_tokens": 5},
    "stopped": {"structured_outputs": {"choice": [HARD]}, "max_tokens": 60, "stop": ["\u2615 \U0001f44d"]},
    "held": {"structured_outputs": {"choice": [HARD]}, "max_tokens": 60, "stop": ["ve \u2615 no"]},
}


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("body", HARD_BODIES.values(), ids=HARD_BODIES)
@pytest.mark.parametrize("echo", [False, True], ids=["reply", "echo"])
def test_text_offset_is_the_character_where_a_token_begins(
    official: openai.OpenAI, replier: Replier, body: dict[str, Any], echo: bool
) -> None:
    """A character of several tokens is the place of each of them; streamed and whole agree; none is past the text."""
    tokenizer, prompt = replier.tokenizer, "a na\u00efve \u2615 \U0001f44d"
    whole = complete(official, prompt=prompt, echo=echo, logprobs=2, **body)
    ids = [*(whole["prompt"][0] if echo else []), *whole["ids"]]
    assert whole["tokens"] == [named(tokenizer, token) for token in ids]
    blank = echo and prepends_blank(tokenizer)
    expected = offsets(tokenizer, ids, whole["text"] + " " * blank)
    assert whole["text_offset"] == [max(one - blank, 0) for one in expected]
    assert same(complete(official, prompt=prompt, echo=echo, logprobs=2, stream=True, **body), whole)


def test_offsets_are_right_for_any_bytes() -> None:
    """Every way in which UTF-8 can break, token by token."""
    tokenizer, draw = train("character", TEXTS, 300), Random(0)
    odd = [0x41, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5]
    for _ in range(2000):
        ids = tokenizer.encode(bytes(draw.choices(odd, k=9)))
        characters = Characters(tokenizer)
        found = [characters.push(token) for token in ids]
        assert [offset for offset, _ in found] == offsets(tokenizer, ids, " " * 9)


def test_offsets_cut_the_text_into_its_tokens(official: openai.OpenAI) -> None:
    """The text from a token's offset begins with the token, if that is whole characters."""
    whole = complete(official, logprobs=0, **HARD_BODIES["hard"])
    assert whole["text"] == HARD
    for token, offset in zip(whole["tokens"], whole["text_offset"], strict=True):
        assert token.startswith("bytes:") or HARD[offset:].startswith(token)


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_is_the_prompt_as_sent_and_then_the_reply(
    official: openai.OpenAI, replier: Replier, stream: bool
) -> None:
    """A text comes back as it is, and so do its ids: no tokenizer adds a blank."""
    for prompt in ("the cat", " the cat", HARD, "\ttwo\n lines "):
        plain = complete(official, prompt=prompt, stream=stream, max_tokens=4)
        echoed = complete(official, prompt=prompt, stream=stream, max_tokens=4, echo=True)
        assert echoed["text"] == prompt + plain["text"]
        assert echoed["ids"] == plain["ids"]
    ids = replier.text_ids("the cat")
    plain = complete(official, prompt=[ids], stream=stream)
    assert complete(official, prompt=[ids], stream=stream, echo=True)["text"] == "the cat" + plain["text"]
    kept = complete(official, prompt="the cat", stream=stream, echo=True, truncate_prompt_tokens=1)
    text = replier.tokenizer.decode(kept["prompt"][0])
    assert kept["text"].startswith(text.removeprefix(" ") if prepends_blank(replier.tokenizer) else text)


def test_an_echo_of_half_a_surrogate_pair_is_text(replier: Replier) -> None:
    """JSON can hold one, UTF-8 cannot: its bytes come back as U+FFFD."""
    made = echoed_prompt(replier.tokenizer, replier.text_ids("a\ud800"), "a\ud800")
    assert made.text == "a\ufffd\ufffd\ufffd"
    assert made.offsets[-1] == 3


def test_a_scored_prompt_is_its_echo_alone(official: openai.OpenAI, replier: Replier) -> None:
    """With `max_tokens` 0 the text is the prompt, with one number per token."""
    whole = complete(official, prompt=HARD, echo=True, logprobs=1, max_tokens=0)
    ids = whole["prompt"][0]
    assert (whole["text"], whole["ids"], whole["token_logprobs"][0]) == (HARD, [], None)
    assert whole["tokens"] == [named(replier.tokenizer, token) for token in ids]
    for token, top in zip(whole["tokens"][1:], whole["top_logprobs"][1:], strict=True):
        assert token in top
    assert max(whole["text_offset"]) < len(HARD)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [False, True], ids=["reply", "echo"])
def test_a_reply_completes_the_character_that_its_prompt_ends_in(
    official: openai.OpenAI, replier: Replier, stream: bool, echo: bool
) -> None:
    """Ids may end within a character: its last bytes come from the reply, and the character is the reply's."""
    tokenizer = replier.tokenizer
    begun = [*replier.text_ids("caf"), *tokenizer.encode(b"\xc3")]
    [last] = tokenizer.encode(b"\xa9")
    body = {"prompt": [begun], "echo": echo, "logprobs": 1, "stream": stream, "allowed_token_ids": [last]}
    made = complete(official, **body, max_tokens=1)
    assert made["text"] == ("caf\u00e9" if echo else "\u00e9")
    assert made["text_offset"][-1] == len(made["text"]) - 1
    assert made["tokens"][-1] == "bytes:\\xa9"
    broken = complete(official, **body | {"allowed_token_ids": tokenizer.encode("!")[-1:]}, max_tokens=1)
    assert broken["text"] == ("caf\ufffd!" if echo else "\ufffd!")
    assert broken["text_offset"][-1] == len(broken["text"]) - 1


def test_ids_beyond_the_vocabulary_have_a_name_and_no_text(official: openai.OpenAI, replier: Replier) -> None:
    """A head may be wider than the vocabulary: such ids can be sent, echoed and sampled."""
    size = replier.tokenizer.vocab_size
    prompt = [*replier.text_ids("the"), size + 1]
    made = complete(official, prompt=[prompt], echo=True, logprobs=3, allowed_token_ids=[size, size + 1], max_tokens=3)
    assert made["text"] == "the"
    assert made["tokens"][len(prompt) - 1 :] == [f"token_id:{token}" for token in (size + 1, *made["ids"])]
    assert set(made["text_offset"][len(prompt) - 1 :]) == {3}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_completions_likeliest_tokens_include_the_sampled_one(
    official: openai.OpenAI, replier: Replier, count: int, stream: bool
) -> None:
    """As many as requested, and the sampled one if it is none of them; no two share a name."""
    body: dict[str, Any] = {"logprobs": count, "stream": stream, "echo": True}
    for more in ({}, {"allowed_token_ids": replier.tokenizer.encode(b"\xc3\xa9\xff")}):
        made = complete(official, **body, **more)
        assert made["top_logprobs"][0] is None
        entries = zip(made["tokens"], made["token_logprobs"], made["top_logprobs"], strict=True)
        for token, logprob, top in list(entries)[1:]:
            assert top[token] == logprob
            likeliest = sorted(top.values(), reverse=True)
            assert list(top.values()) == likeliest
            assert len(top) == count + (logprob not in likeliest[:count])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_chats_likeliest_tokens_include_the_sampled_one(
    official: openai.OpenAI, replier: Replier, count: int, stream: bool
) -> None:
    """At most as many as requested, so none with 0; the sampled token takes the last place if it is none of them."""
    tokenizer = replier.tokenizer
    for more in ({}, {"allowed_token_ids": tokenizer.encode(b"\xc3\xa9\xff")}):
        ids, content, text = chat(official, stream=stream, top_logprobs=count, **more)
        assert [one.token for one in content] == [named(tokenizer, token) for token in ids]
        data = b"".join(bytes(one.bytes or []) for one in content)
        assert data == tokenizer.decode_bytes(ids)
        assert data.decode("utf-8", "replace").startswith(text)
        for one in content:
            tops = [(top.token, top.logprob) for top in one.top_logprobs]
            assert len(tops) == count
            assert [logprob for _, logprob in tops] == sorted((logprob for _, logprob in tops), reverse=True)
            assert not count or (one.token, one.logprob) in tops
            assert all(bytes(top.bytes or []) or top.token for top in one.top_logprobs)


def chat(
    official: openai.OpenAI, *, stream: bool, top_logprobs: int | None = None, **body: Any
) -> tuple[list[int], list[ChatCompletionTokenLogprob], str]:
    """Return a greedy chat's ids, log-probabilities and text."""
    asked: dict[str, Any] = {"model": "tuned", "messages": HELLO, "temperature": 0, "logprobs": True}
    asked |= {"max_tokens": body.pop("max_tokens", 12), "extra_body": {"return_token_ids": True} | body}
    asked |= {} if top_logprobs is None else {"top_logprobs": top_logprobs}
    if not stream:
        [choice] = official.chat.completions.create(**asked).choices
        assert choice.logprobs
        return choice.token_ids, choice.logprobs.content or [], choice.message.content or ""  # type: ignore[attr-defined]
    choices = [choice for chunk in official.chat.completions.create(**asked, stream=True) for choice in chunk.choices]
    return (
        [token for choice in choices for token in getattr(choice, "token_ids", None) or []],
        [one for choice in choices if choice.logprobs for one in choice.logprobs.content or []],
        "".join(choice.delta.content or "" for choice in choices),
    )


def test_a_token_is_named_by_its_text_or_its_bytes(official: openai.OpenAI, replier: Replier) -> None:
    """OpenAI's name of part of a character; two ids with the same text keep both their entries."""
    ids = replier.tokenizer.encode(b"\xe2\x98")
    for stream in (False, True):
        _, content, _ = chat(official, stream=stream, allowed_token_ids=ids, max_tokens=6, top_logprobs=2)
        assert {(one.token, *(one.bytes or [])) for one in content} <= {("bytes:\\xe2", 0xE2), ("bytes:\\x98", 0x98)}
    made = complete(official, logprobs=20, echo=True)
    for top in made["top_logprobs"][1:]:
        assert all(name and "\ufffd" not in name for name in top)


def test_ids_with_the_same_text_have_two_names() -> None:
    """Byte fallback has a second id for each ASCII letter; the sampled one keeps the name that `tokens` has."""
    tokenizer = piece_tokenizer()
    piece, byte = tokenizer.encode("xa")[-1], tokenizer.encode(b"\xff")[-1] - 0xFF + ord("a")
    assert piece != byte
    assert tokenizer.decode([piece]) == tokenizer.decode([byte]) == "a"
    reported = ReportedLogprobs(tokenizer, tops=2)
    top = {piece: -1.0, byte: -2.0}
    for sampled, names in ((piece, ["a", "bytes:\\x61"]), (byte, ["bytes:\\x61", "a"])):
        made = reported.completion([sampled], [0], [top[sampled]], [top])
        assert made
        assert (made["tokens"], list(made["top_logprobs"][0])) == (["a"], names)


def test_a_token_comes_with_the_character_in_which_it_begins() -> None:
    """A step may append several tokens; one whose text is held back waits for it, and at the end all come."""
    tokenizer = train("character", TEXTS, 300)
    request = Request([1], Sampling(max_tokens=8, stop=("!!",)))
    choice = Choice(0, request, Text(tokenizer, ("!!",)))
    found = []
    for step in (b"x\xc3", b"\xa9!", b"\xe2"):
        for token in tokenizer.encode(step):
            request.ids.append(token)
            request.logprobs.append(0.0)
            request.tops.append({})
            assert request.watch
            request.watch(token)
        request.finish = "length" if step == b"\xe2" else ""
        piece = choice.take()
        assert piece
        found.append((piece.text, tokenizer.decode_bytes(piece.ids), piece.offsets, piece.tokens))
    assert found == [
        ("x", b"x", [0], 1),
        ("\u00e9", b"\xc3\xa9", [1, 1], 3),
        ("!", b"!\xe2", [2, 3], 5),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_spelled_control_tokens_are_text(official: openai.OpenAI, replier: Replier, stream: bool) -> None:
    """With `skip_special_tokens` false they have bytes and a place; by default they have neither."""
    token, spelled = next(iter(replier.tokenizer.control.items()))
    body = {"allowed_token_ids": [token, *replier.tokenizer.encode(b"\xc3!")], "ignore_eos": True, "max_tokens": 8}
    body["logit_bias"] = {str(token): 1}
    for shown in (True, False):
        _, content, text = chat(official, stream=stream, skip_special_tokens=not shown, **body)
        data = b"".join(bytes(one.bytes or []) for one in content)
        assert data.decode("utf-8", "replace").startswith(text)
        made = complete(official, stream=stream, logprobs=0, skip_special_tokens=not shown, **body)
        assert (spelled in made["text"]) == (shown and spelled in made["tokens"])
        for name, offset in zip(made["tokens"], made["text_offset"], strict=True):
            assert name != spelled or not shown or made["text"][offset:].startswith(spelled)


@pytest.mark.parametrize("hard", [False, True], ids=["random", "hard"])
def test_a_response_has_the_log_probabilities_of_a_chat(official: openai.OpenAI, hard: bool) -> None:
    """Every token of the text once, whole and in the deltas, with the likeliest in its place."""
    tokens = 60 if hard else 12
    form = {"type": "json_schema", "name": "hard", "schema": {"const": HARD}} if hard else {"type": "text"}
    asked: dict[str, Any] = {
        "model": "tuned", "input": "hello", "temperature": 0, "max_output_tokens": tokens, "top_logprobs": 3,
        "include": ["message.output_text.logprobs"], "text": {"format": form},
    }  # fmt: skip
    part = official.responses.create(**asked).output[0].content[0]  # type: ignore[union-attr, index]
    same_form = {"response_format": {"type": "json_schema", "json_schema": form}} if hard else {}
    if hard:
        same_form["response_format"]["json_schema"] = {"name": "hard", "schema": form["schema"]}
    _, content, text = chat(official, stream=False, top_logprobs=3, max_tokens=tokens, **same_form)
    assert part.text == text
    assert [one.token for one in part.logprobs] == [one.token for one in content]
    assert [[top.token for top in one.top_logprobs] for one in part.logprobs] == [
        [top.token for top in one.top_logprobs] for one in content
    ]
    events = list(official.responses.create(**asked, stream=True))
    deltas = [one for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    [opened] = [event for event in events if event.type == "response.content_part.added"]
    [done] = [event for event in events if event.type == "response.output_text.done"]
    assert [one.token for one in deltas] == [one.token for one in done.logprobs] == [one.token for one in content]
    assert opened.part.logprobs == []  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("allowed", [b" a<", b"\xe2\x98", b""], ids=["held", "incomplete", "none"])
def test_a_response_keeps_the_log_probabilities_of_text_that_is_held_or_missing(
    official: openai.OpenAI, replier: Replier, allowed: bytes, stream: bool
) -> None:
    """Text that might begin a call is held back; its tokens come with it, and those without text at the end."""
    single = [replier.tokenizer.encode(bytes([byte]))[-1] for byte in allowed]
    ids = single or [replier.tokenizer.vocab_size]
    asked: dict[str, Any] = {
        "model": "tuned", "input": "hello", "temperature": 5.0, "max_output_tokens": 6,
        "include": ["message.output_text.logprobs"],
    }  # fmt: skip
    if b"<" in allowed:
        asked["tools"] = [{"type": "function", "name": "look", "parameters": {}}]
    for seed in range(5):
        asked["extra_body"] = {"allowed_token_ids": ids, "seed": seed}
        if stream:
            events = list(official.responses.create(**asked, stream=True))
            found = [one for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
        else:
            made = official.responses.create(**asked)
            found = made.output[0].content[0].logprobs  # type: ignore[union-attr, index]
        assert len(found) == 6


@pytest.mark.parametrize("after", ["", " bye"])
def test_a_call_in_a_response_has_no_log_probabilities(after: str) -> None:
    """OpenAI has no place for them; they do not move into a message, nor make one."""
    tokenizer = train("character", TEXTS, 300)
    reported, choice = ReportedLogprobs(tokenizer, 0), Choice(0, Request([1], Sampling()), Text(tokenizer))
    tools = toolbox([{"type": "function", "function": {"name": "look"}}])
    output = Output(new_response("tuned", Sampling(), {}), reported, choice, tools)
    text = 'hi <tool_call>{"name": "look", "arguments": {}}</tool_call>' + after
    for number, letter in enumerate(text, 1):
        [token] = tokenizer.encode(letter)
        finish = "stop" if number == len(text) else ""
        output.push(ChoicePiece(0, letter, [token], [number - 1], [-1.0], [{}], number, finish))
    made = output.response["output"]
    assert [one["type"] for one in made] == ["message", "function_call", *(["message"] if after else [])]
    tokens = ["".join(one["token"] for one in item["content"][0]["logprobs"]) for item in made[::2]]
    assert tokens[0] == "hi"
    assert all(one.endswith(after) and "look" not in one for one in tokens[1:])


@pytest.mark.parametrize("kind", ["bpe"], indirect=True)
@pytest.mark.parametrize("n", [1, 2])
def test_the_first_chunk_of_a_chat_has_the_prompts_ids(official: openai.OpenAI, replier: Replier, n: int) -> None:
    """`return_token_ids` gives them once per stream, as vLLM does, and nothing without it."""
    asked: dict[str, Any] = {"model": "tuned", "messages": HELLO, "max_tokens": 4, "n": n}
    chunks = list(official.chat.completions.create(**asked, stream=True, extra_body={"return_token_ids": True}))
    assert chunks[0].prompt_token_ids == replier.prompt_ids(HELLO)  # type: ignore[attr-defined]
    assert not any("prompt_token_ids" in chunk.model_dump() for chunk in chunks[1:])
    plain = list(official.chat.completions.create(**asked, stream=True))
    assert not any("token_ids" in str(chunk.model_dump()) for chunk in plain)


@pytest.mark.parametrize("kind", ["bpe"], indirect=True)
@pytest.mark.parametrize("echo", [False, True])
def test_the_first_chunk_of_each_completion_has_its_prompts_ids(
    official: openai.OpenAI, replier: Replier, echo: bool
) -> None:
    """Several prompts have several choices; the whole answer has the same ids."""
    prompts = ["the cat", "the dog said"]
    asked: dict[str, Any] = {"model": "tuned", "prompt": prompts, "max_tokens": 4, "n": 2, "echo": echo}
    asked["extra_body"] = {"return_token_ids": True}
    found: dict[int, list[Any]] = {}
    for chunk in official.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            found.setdefault(choice.index, []).append(choice.model_dump().get("prompt_token_ids"))
    whole: Completion = official.completions.create(**asked)
    for choice in whole.choices:
        ids = replier.text_ids(prompts[choice.index // 2])
        assert choice.prompt_token_ids == ids  # type: ignore[attr-defined]
        assert found[choice.index][0] == ids
        assert not any(found[choice.index][1:])


OPTIONS = [
    (None, False, False),
    ({"include_usage": False}, False, False),
    ({"continuous_usage_stats": True}, False, False),
    ({"include_usage": True}, True, False),
    ({"include_usage": True, "continuous_usage_stats": True}, True, True),
]


@pytest.mark.parametrize("kind", ["bpe", "speculating-bpe"], indirect=True)
@pytest.mark.parametrize(("options", "last", "each"), OPTIONS)
@pytest.mark.parametrize("route", ["chat", "text"])
def test_usage_is_sent_where_requested(
    official: openai.OpenAI, route: str, options: dict[str, bool] | None, last: bool, each: bool
) -> None:
    """Without `include_usage` no chunk has it; with it the last one has, after all others said null or the counts."""
    asked: dict[str, Any] = {"model": "tuned", "max_tokens": 6, "temperature": 0, "n": 2}
    extra = {"return_token_ids": True}
    create: Any = official.chat.completions.create if route == "chat" else official.completions.create
    asked |= {"messages": HELLO} if route == "chat" else {"prompt": "the cat"}
    own: CompletionUsage = create(**asked).usage
    more = {} if options is None else {"stream_options": options}
    chunks = list(create(**asked, stream=True, extra_body=extra, **more))
    if last:
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], own.total_tokens)
        assert chunks[-1].usage.completion_tokens == own.completion_tokens == 12
    seen = 0
    for chunk in chunks[: len(chunks) - last]:
        assert ("usage" in chunk.model_fields_set) == last
        [choice] = chunk.choices
        seen += len(getattr(choice, "token_ids", None) or [])
        if not each:
            assert chunk.usage is None
            continue
        assert chunk.usage.prompt_tokens == own.prompt_tokens
        assert chunk.usage.completion_tokens == seen
        assert chunk.usage.total_tokens == own.prompt_tokens + seen


@pytest.mark.parametrize("kind", ["bpe"], indirect=True)
def test_a_responses_usage_comes_with_its_end(official: openai.OpenAI) -> None:
    """Null in the first events, and the counts of the whole in the last."""
    asked: dict[str, Any] = {"model": "tuned", "input": "hello", "temperature": 0, "max_output_tokens": 6}
    whole = official.responses.create(**asked)
    events = list(official.responses.create(**asked, stream=True))
    assert [event.response.usage for event in events[:2]] == [None, None]  # type: ignore[union-attr]
    used, own = events[-1].response.usage, whole.usage  # type: ignore[union-attr]
    assert own
    assert (used.input_tokens, used.output_tokens, used.total_tokens) == (
        own.input_tokens, 6, own.input_tokens + 6,
    )  # fmt: skip


def test_a_token_named_by_its_id_keeps_its_place(official: openai.OpenAI) -> None:
    """`return_tokens_as_token_ids` changes names only, of the likeliest tokens too."""
    plain = complete(official, logprobs=2, echo=True)
    named_by_id = complete(official, logprobs=2, echo=True, return_tokens_as_token_ids=True)
    assert named_by_id["tokens"] == [f"token_id:{token}" for token in (*plain["prompt"][0], *plain["ids"])]
    assert named_by_id["text_offset"] == plain["text_offset"]
    assert all(name.startswith("token_id:") for top in named_by_id["top_logprobs"][1:] for name in top)
