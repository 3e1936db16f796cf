"""The chat layout: the same as transformers renders it, and only the assistant's text is trained."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.token.chat import ROLES, encode_documents, render
from sayso.token.tokenizer import SPECIALS
from sayso.token.train import TOKENIZER_KINDS, train

TEXTS = ["Hello there, how are you today? I'm fine, thank you, and you?", "Once there was an old fox.\nIt ran."] * 5
TOKENIZER = train("bpe", TEXTS, 330)
BOS, SYSTEM, USER, ASSISTANT, END = range(5)

messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": st.text() | st.sampled_from(SPECIALS)}),
    min_size=1,
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The same tokenizer as `transformers` opens it."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZER.save(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


@settings(deadline=None)
@given(text=st.text().filter(lambda text: "<|" not in text))
def test_transformers_reads_the_same_ids(reference, text: str) -> None:
    """A folder of ours, opened by `transformers`, encodes ordinary text to the same ids and decodes it."""
    ids = TOKENIZER.encode(text)
    assert reference(text)["input_ids"] == ids
    assert reference.decode(ids, clean_up_tokenization_spaces=False) == text


@settings(deadline=None)
@given(talk=messages.filter(lambda talk: all("<|" not in turn["content"] for turn in talk)), reply=st.booleans())
def test_the_layout_equals_the_template(reference, talk, reply: bool) -> None:
    """`render` gives the ids and the trained mask that `transformers` gets from the chat template."""
    expected = reference.apply_chat_template(
        talk, add_generation_prompt=reply, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, trained = render(TOKENIZER, talk, reply=reply)
    assert ids == expected["input_ids"]
    if any(turn["role"] == "assistant" for turn in talk):
        assert trained == list(map(bool, expected["assistant_masks"]))


def test_transformers_finds_the_token_that_ends_a_turn(reference) -> None:
    """The ids of start and end are where a server looks for them."""
    assert (reference.bos_token_id, reference.eos_token_id, len(reference)) == (BOS, END, TOKENIZER.vocab_size)


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
def test_a_conversation_is_rendered_turn_by_turn(kind: str) -> None:
    """Start, then role, content and end of each turn; the assistant's content and end are trained."""
    tokenizer = train(kind, TEXTS, 330)
    hello, fine = tokenizer.encode("Hello"), tokenizer.encode("I'm fine")
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "I'm fine"}]
    ids, trained = render(tokenizer, talk)
    assert ids == [BOS, USER, *hello, END, ASSISTANT, *fine, END]
    assert trained == [False] * (4 + len(hello)) + [True] * (len(fine) + 1)


@settings(deadline=None)
@given(talk=messages)
def test_a_typed_control_token_is_text(talk) -> None:
    """Whatever its text, a turn has one role and one end, so that nobody can write another's turn."""
    ids, trained = render(TOKENIZER, talk)
    assert [number for number in ids if number < len(SPECIALS)] == [
        BOS,
        *(number for turn in talk for number in (TOKENIZER.specials[f"<|{turn['role']}|>"], END)),
    ]
    assert len(ids) == len(trained)


def test_an_open_reply_comes_after_the_conversation() -> None:
    """With `reply`, the same ids are followed by the assistant's token, which is not trained."""
    talk = [{"role": "user", "content": "Hello"}]
    ids, trained = render(TOKENIZER, talk)
    assert render(TOKENIZER, talk, reply=True) == ([*ids, ASSISTANT], [*trained, False])


@pytest.mark.parametrize(
    ("talk", "rule"),
    [
        ([], "at least one message"),
        ([{"role": "assistent", "content": "so"}], "Did you mean 'assistant'"),
        ([{"content": "so"}], "role must be one of"),
        ([{"role": "user"}], "content must be text; got null from the user"),
        ([{"role": "user", "content": [{"type": "text"}]}], "got an array"),
    ],
)
def test_a_malformed_message_is_named(talk, rule: str) -> None:
    """A malformed message is one sentence with the rule."""
    with pytest.raises(UserError, match=rule):
        render(TOKENIZER, talk)


def test_documents_have_a_start_and_an_end() -> None:
    """A text for pre-training is between start and end; any number is streamed, in order."""
    texts = [f"text {number}" for number in range(7)]
    for at_once in (1, 3, 100):
        documents = list(encode_documents(TOKENIZER, iter(texts), at_once=at_once))
        assert documents == [[BOS, *TOKENIZER.encode(text), END] for text in texts]
