"""Replies: text that streams in whole characters, stop texts that never show, conversations that fit."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.reply.text import Text
from sayso.reply.window import fit_window
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.token.foreign import ForeignTokenizer
from sayso.token.train import train

CONTEXT = 96
ASK = [{"role": "user", "content": "Who has the red hat?"}]


@pytest.fixture(scope="module")
def tokenizer():
    """A byte-pair tokenizer of a handful of words, so that other characters are several tokens."""
    return train("bpe", ["the red hat of the old cat, and the cat of the red hat. " * 20], 300)


@pytest.fixture(scope="module")
def replier(tokenizer) -> Replier:
    """A small random model; what it says is noise, whole and broken characters and control tokens alike."""
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        layers=2,
        width=32,
        heads=2,
        kv_heads=1,
        head_size=16,
        mlp_width=64,
        context=CONTEXT,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
    return Replier(model.eval(), tokenizer)


def fed(tokenizer, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    """The pieces of text that come out for ids, the last from closing."""
    text = Text(tokenizer, stop)
    pieces = [text.push(token) for token in ids]
    return [*pieces, text.close()]


@given(st.text(max_size=30))
def test_pieces_are_whole_characters(tokenizer, said: str) -> None:
    """However a text is cut into bytes, each piece is a part of it and all together are the text."""
    ids = tokenizer.encode(said)
    pieces = fed(tokenizer, ids)
    assert "".join(pieces) == tokenizer.decode(ids)
    single = [token for byte in said.encode(errors="replace") for token in tokenizer.encode(bytes([byte]))]
    assert "".join(fed(tokenizer, single)) == said.encode(errors="replace").decode()


def test_a_character_waits_for_its_last_byte(tokenizer) -> None:
    """Three of four bytes of an emoji give nothing, the fourth gives all; cut off at the end it is left out."""
    ids = [token for byte in "🐈".encode() for token in tokenizer.encode(bytes([byte]))]
    assert fed(tokenizer, ids) == ["", "", "", "🐈", ""]
    assert fed(tokenizer, ids[:3]) == ["", "", "", ""]


def test_bytes_that_are_no_text_are_marked(tokenizer) -> None:
    """A byte that can begin or continue nothing becomes U+FFFD at once and the text goes on."""
    ids = [*tokenizer.encode("cat"), *tokenizer.encode(b"\xff"), *tokenizer.encode(" hat")]
    assert "".join(fed(tokenizer, ids)) == "cat\ufffd hat"


def first_stop(said: str, stop: tuple[str, ...]) -> str:
    """The text before the stop text that is complete first, by trying every prefix: the definition."""
    for end in range(len(said) + 1):
        if marks := [mark for mark in stop if said[:end].endswith(mark)]:
            return said[: end - max(map(len, marks))]
    return said


@given(
    st.text("ab\n", max_size=25),
    st.lists(st.text("ab\n", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    st.integers(0, 2**32),
)
def test_stop_texts_never_show(tokenizer, said: str, stop: tuple[str, ...], seed: int) -> None:
    """However a text is cut into tokens, what shows is what stands before the first stop text, at every moment."""
    draw, ids, start = Random(seed), [], 0
    while start < len(said):
        end = start + draw.randint(1, 4)
        ids += tokenizer.encode(said[start:end])
        start = end
    expected, text, shown = first_stop(said, stop), Text(tokenizer, stop), ""
    for token in ids:
        shown += text.push(token)
        assert expected.startswith(shown)
    assert shown + text.close() == expected
    assert text.stopped == any(mark in said for mark in stop)


SAMPLINGS = [
    Sampling(temperature=0, max_tokens=30),
    Sampling(seed=4, max_tokens=30),
    Sampling(seed=4, max_tokens=30, stop=("e", "at", "\n")),
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "sampled", "stop texts"])
def test_streamed_equals_batched(replier: Replier, sampling: Sampling) -> None:
    """Pieces put together are the batched reply: text, counts and finish, as chat and as plain text."""
    words = ["", "a cat", "the old hat", "why?", "🐈" * 5, "red " * 9]
    chats = [[{"role": "user", "content": word}] for word in words]
    for row, reply in enumerate(replier.replies(chats, sampling, rows=3)):
        stream = replier.stream(chats[row], sampling, row=row)
        assert "".join(stream) == reply.text
        assert stream.reply() == reply
    for row, reply in enumerate(replier.complete(words, sampling, rows=3)):
        stream = replier.stream_text(words[row], sampling, row=row)
        assert "".join(stream) == reply.text
        assert stream.reply() == reply


def test_stop_texts_end_replies(replier: Replier) -> None:
    """With stop texts a reply is the same reply cut before the first of them, and says "stop"."""
    asks = [[{"role": "user", "content": str(number)}] for number in range(40)]
    free = Sampling(seed=4, max_tokens=30)
    stop = ("e", "at")
    cut = Sampling(seed=4, max_tokens=30, stop=stop)
    stopped = 0
    for whole, reply in zip(replier.replies(asks, free), replier.replies(asks, cut), strict=True):
        assert reply.text == first_stop(whole.text, stop)
        if any(mark in whole.text for mark in stop):
            stopped += 1
            assert reply.finish == "stop"
            assert reply.completion_tokens <= whole.completion_tokens
    assert stopped > 5


def test_control_tokens_end_a_reply_or_are_no_text(replier: Replier) -> None:
    """<|end|> and <|bos|> end a reply; no control token is ever in its text."""
    asks = [[{"role": "user", "content": str(number)}] for number in range(60)]
    replies = replier.replies(asks, Sampling(seed=1, temperature=1.5, max_tokens=60))
    assert {reply.finish for reply in replies} == {"stop", "length"}
    assert not any("<|" in reply.text and "|>" in reply.text for reply in replies)


def test_prompts_are_the_chat_layout_or_a_document(replier: Replier, tokenizer) -> None:
    """A conversation is asked as it was trained, with an open assistant's turn; a raw prompt begins a document."""
    assert replier.prompt_ids(ASK) == render(tokenizer, ASK, reply=True)[0]
    assert replier.text_ids("the cat") == [tokenizer.specials["<|bos|>"], *tokenizer.encode("the cat")]
    reply = replier.replies([ASK], SAMPLINGS[0])[0]
    assert reply.prompt_tokens == len(replier.prompt_ids(ASK))


@pytest.mark.parametrize("begins", [True, False])
def test_a_raw_prompt_begins_as_the_tokenizer_begins_texts(replier: Replier, tokenizer, begins: bool) -> None:
    """A third-party tokenizer may put no token before a text; then only an empty prompt gets one."""
    facts = {"bos_token": "<|bos|>", "eos_token": "<|end|>", "add_bos_token": begins}
    foreign = Replier(replier.model, ForeignTokenizer(tokenizer.core, facts))
    bos, text = foreign.tokenizer.specials["<|bos|>"], foreign.tokenizer.encode("the cat")
    assert foreign.text_ids("the cat") == ([bos, *text] if begins else text)
    assert foreign.start_ids == ([bos] if begins else [])
    assert foreign.text_ids("") == [bos]


def test_an_over_long_prompt_is_refused(replier: Replier) -> None:
    """The error has the context's size, the prompt's, and the mend, at the call also when streamed."""
    long = [{"role": "user", "content": "xyz " * CONTEXT}]
    message = rf"context of {CONTEXT} tokens; it has {len(replier.prompt_ids(long))}: shorten it"
    for call in (replier.stream, lambda messages, sampling: replier.replies([ASK, messages], sampling)):
        with pytest.raises(UserError, match=message):
            call(long, SAMPLINGS[0])
    with pytest.raises(UserError, match="shorten it"):
        replier.complete(["xyz " * CONTEXT], SAMPLINGS[0])


def test_max_tokens_is_cut_to_the_room(replier: Replier) -> None:
    """Prompt and reply together never outgrow the context."""
    asks = [[{"role": "user", "content": "red " * number}] for number in range(1, 60, 7)]
    replies = replier.replies(asks, Sampling(seed=0, max_tokens=10_000))
    assert max(reply.prompt_tokens + reply.completion_tokens for reply in replies) == CONTEXT


def test_a_stream_can_be_left(replier: Replier) -> None:
    """Who stops listening has the reply so far."""
    stream = replier.stream(ASK, Sampling(seed=4, max_tokens=30))
    said = next(stream) + next(stream)
    assert stream.reply().text == said
    assert stream.finish is None


def turn(role: str, content: str) -> dict[str, str]:
    """A message."""
    return {"role": role, "content": content}


TALK = [turn("system", "s" * 5), *(turn(role, role[0] * 10) for _ in range(4) for role in ("user", "assistant"))]


def letters(messages) -> int:
    """A conversation's size, counted in letters here."""
    return sum(len(message["content"]) for message in messages)


def test_window_keeps_what_fits() -> None:
    """The oldest turns go, whole, question with reply; the system message and the last question stay."""
    asked = [*TALK, turn("user", "last")]
    assert fit_window(asked, letters, 200, 10) == (asked, 0)
    assert fit_window(asked, letters, 60, 10) == ([asked[0], *asked[5:]], 4)
    assert fit_window(asked, letters, 20, 10) == ([asked[0], asked[-1]], 8)
    assert fit_window(asked, letters, 5, 2) == ([asked[0], asked[-1]], 8)
    assert fit_window(TALK[:1], letters, 1, 0) == (TALK[:1], 0)
