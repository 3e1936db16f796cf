"""Tokenizers: text round-trips, control tokens cannot be typed, and files equal the tokenizer in memory."""

import json
import random
import unicodedata

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.token.engine import SPACES
from sayso.token.load import load, tokenizer_fingerprint
from sayso.token.pre_tokenizer import PATTERN
from sayso.token.tokenizer import SMALLEST_VOCABULARY, SPECIALS, Tokenizer
from sayso.token.train import TOKENIZER_KINDS, train

WORDING = "the old fox ran over a hill and didn't stop; 'stone' soup, 12 345 cafés, naïve e\u0301té — “so,” she said…"
WORDS = WORDING.split()


def some_text(seed: int = 0, documents: int = 200) -> list[str]:
    """Return small texts with capitals, signs, numbers, accents and runs of white space."""
    rng = random.Random(seed)
    joints = [" "] * 20 + ["\n", "\n\n", "  ", "\t", "\r\n"]
    return [
        "".join(rng.choice(WORDS).title() + rng.choice(joints) for _ in range(40)).lower() for _ in range(documents)
    ]


TOKENIZERS: dict[str, Tokenizer] = {kind: train(kind, some_text(), 400) for kind in TOKENIZER_KINDS}
each_kind = pytest.mark.parametrize("kind", TOKENIZER_KINDS)
anything = st.one_of(st.text(), st.binary(), st.lists(st.sampled_from([*SPECIALS, *WORDS, " ", "\n"])).map("".join))


@each_kind
@settings(deadline=None)
@given(data=anything)
def test_any_bytes_round_trip(kind: str, data: str | bytes) -> None:
    """Encoding and decoding returns the same text or bytes, valid UTF-8 or not."""
    ids = TOKENIZERS[kind].encode(data)
    if isinstance(data, str):
        assert TOKENIZERS[kind].decode(ids) == data
    assert TOKENIZERS[kind].decode_bytes(ids) == (data.encode() if isinstance(data, str) else data)


@each_kind
@settings(deadline=None)
@given(data=anything)
def test_typed_text_is_never_a_control_token(kind: str, data: str | bytes) -> None:
    """No text, not even the names of control tokens, encodes to a control token, and every id is in range."""
    ids = TOKENIZERS[kind].encode(data)
    assert all(len(SPECIALS) <= number < TOKENIZERS[kind].vocab_size for number in ids)


@each_kind
@settings(deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=[])), max_size=4))
def test_a_batch_equals_single_texts(kind: str, texts: list[str]) -> None:
    """`encode_batch` returns what `encode` of each does, even for texts with half a surrogate pair."""
    assert TOKENIZERS[kind].encode_batch(texts) == [TOKENIZERS[kind].encode(text) for text in texts]


@each_kind
def test_half_a_surrogate_pair_is_encoded_as_bytes(kind: str) -> None:
    """Text that JSON can hold but UTF-8 cannot does not crash; it decodes to replacement characters."""
    ids = TOKENIZERS[kind].encode("a\ud800b")
    assert TOKENIZERS[kind].decode_bytes(ids) == b"a\xed\xa0\x80b"
    assert TOKENIZERS[kind].decode(ids) == "a\ufffd\ufffd\ufffdb"


@each_kind
def test_empty_text_has_no_ids(kind: str) -> None:
    """An empty text has no ids."""
    assert TOKENIZERS[kind].encode("") == TOKENIZERS[kind].encode(b"") == TOKENIZERS[kind].encode_batch([]) == []
    assert TOKENIZERS[kind].decode([]) == ""


@each_kind
def test_control_tokens_are_the_first_ids_and_decode_to_nothing(kind: str) -> None:
    """Ids 0 to 4 are the control tokens in order, and have no text."""
    tokenizer = TOKENIZERS[kind]
    assert list(tokenizer.specials.items()) == list(zip(SPECIALS, range(5), strict=True))
    assert tokenizer.decode([0, *tokenizer.encode("so"), 4]) == "so"


@each_kind
def test_a_saved_tokenizer_loads_the_same(kind: str, tmp_path) -> None:
    """Kind, size, ids and the treatment of typed control tokens survive the files; saving again changes no byte."""
    tokenizer = TOKENIZERS[kind]
    tokenizer.save(tmp_path / "one")
    loaded = load(tmp_path / "one")
    loaded.save(tmp_path / "two")
    assert (loaded.kind, loaded.vocab_size, loaded.specials) == (kind, tokenizer.vocab_size, tokenizer.specials)
    for text in (*some_text(seed=1), "<|end|> said <|user|>", b"\xff\x00\xc3"):
        assert loaded.encode(text) == tokenizer.encode(text)
    assert tokenizer_fingerprint(tmp_path / "one") == tokenizer_fingerprint(tmp_path / "two")


@each_kind
def test_the_same_text_trains_the_same_tokenizer(kind: str, tmp_path) -> None:
    """Training is deterministic, and reads the texts once, as a stream."""
    for name in ("one", "two"):
        train(kind, iter(some_text()), 400).save(tmp_path / name)
    assert tokenizer_fingerprint(tmp_path / "one") == tokenizer_fingerprint(tmp_path / "two")


@each_kind
def test_another_text_trains_another_tokenizer(kind: str, tmp_path) -> None:
    """The fingerprint distinguishes tokenizers."""
    for name, texts in (("one", some_text()), ("two", ["żółw żółw"] * 3)):
        train(kind, texts, 400).save(tmp_path / name)
    assert tokenizer_fingerprint(tmp_path / "one") != tokenizer_fingerprint(tmp_path / "two")


@each_kind
@pytest.mark.parametrize("texts", [[], [""], iter(())])
def test_training_without_text_is_refused(kind: str, texts) -> None:
    """Training without text is an error."""
    with pytest.raises(UserError, match="empty"):
        train(kind, texts, 400)


@each_kind
def test_a_vocabulary_holds_control_tokens_and_bytes_at_least(kind: str) -> None:
    """A smaller size is refused, naming the smallest one, which works."""
    with pytest.raises(UserError, match=str(SMALLEST_VOCABULARY)):
        train(kind, some_text(), SMALLEST_VOCABULARY - 1)
    smallest = train(kind, some_text(), SMALLEST_VOCABULARY)
    assert smallest.vocab_size == SMALLEST_VOCABULARY
    assert smallest.decode(smallest.encode("naïve fox")) == "naïve fox"


def test_an_unknown_kind_suggests_the_nearest() -> None:
    """A typo gets a suggestion."""
    with pytest.raises(UserError, match="Did you mean 'character'"):
        train("charcter", some_text(), 400)


def test_texts_with_half_a_surrogate_pair_can_be_trained_on() -> None:
    """Text that a JSON file may contain does not stop the training."""
    for kind in TOKENIZER_KINDS:
        assert train(kind, ["so \ud800 it goes"] * 3, 400).encode("so")


def test_a_known_word_is_one_id_and_an_unknown_one_is_bytes_and_counted() -> None:
    """The word tokenizer falls back to bytes, and counts how often."""
    tokenizer = train("word", ["so it goes"] * 2, 400)
    assert len(tokenizer.encode("so it goes")) == 3
    assert len(tokenizer.encode("so it stays")) == 2 + len(" stays")
    assert tokenizer.unknown("so it stays") == (1, 3)


def test_a_character_is_one_id_when_known() -> None:
    """ASCII is always known, other characters if the training text had them."""
    tokenizer = train("character", ["cafés"] * 2, 400)
    assert len(tokenizer.encode("cafés")) == 5
    assert len(tokenizer.encode("cafźs")) == 6
    assert tokenizer.unknown("cafźs") == (1, 5)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "sayso tokenizer train"),
        ("{", "not valid JSON"),
        ("[]", "not a tokenizer"),
        ('{"kind": "words", "vocabulary": []}', "damaged"),
        ('{"kind": "word", "vocabulary": ["a", "a"]}', "damaged"),
        ('{"kind": "word", "vocabulary": [[]]}', "damaged"),
        ('{"model": {"type": "BPE"}}', "cannot be read"),
    ],
)
def test_a_damaged_folder_is_named(content: str | None, rule: str, tmp_path) -> None:
    """A missing or broken tokenizer.json is one sentence that names the file and what to do."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=rule) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_tokenizer_without_our_control_tokens_is_refused(tmp_path) -> None:
    """A byte-pair file that lacks the control tokens is not mistaken for ours."""
    TOKENIZERS["bpe"].save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<|end|>", "</s>"))
    with pytest.raises(UserError, match="lacks <|end|>".replace("|", r"\|")):
        load(tmp_path)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """The byte-pair tokenizer as `tokenizers` alone reads it from our file."""
    folder = tmp_path_factory.mktemp("tokenizer")
    TOKENIZERS["bpe"].save(folder)
    core = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.encode_special_tokens = True
    return core


edges = st.text(st.sampled_from("aZs'’lvé1²½ \t\r\n\xa0\x1c\x85\u2009\u0301\u017fЖ中…—_,😀"))


@settings(deadline=None, max_examples=1000)
@given(text=st.one_of(edges, st.text(), st.lists(st.sampled_from([*SPECIALS, *WORDS, " ", "\n"])).map("".join)))
def test_ids_are_the_librarys(core, text: str) -> None:
    """The encoder returns the library's ids: at every boundary, for unusual characters, for typed control tokens."""
    assert TOKENIZERS["bpe"].encode(text) == core.encode(text).ids


def test_every_character_is_split_as_by_the_library(core) -> None:
    """Both regular expressions classify each character of Unicode the same: letter, mark, digit, space or sign."""
    assigned = [chr(code) for code in range(0x3FFFF) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    assert len(assigned) > 140_000
    texts = [f"a{c}b {c}1{c}\n {c}'{c}  {c}" for c in assigned]
    texts = ["".join(texts[start : start + 1000]) for start in range(0, len(texts), 1000)]
    theirs = [found.ids for found in core.encode_batch_fast(texts, add_special_tokens=False)]
    assert TOKENIZERS["bpe"].encode_batch(texts) == theirs


@pytest.mark.parametrize("space", [" ", "\t", "\xa0", "\n", " \n"])
def test_a_very_long_run_of_white_space_is_encoded(core, space: str) -> None:
    """Text that would exhaust the stack of a regular expression is split, too, in the same way."""
    for count in (SPACES - 1, SPACES, 10 * SPACES):
        text = "so" + space * count + "it goes"
        assert TOKENIZERS["bpe"].encode(text) == core.encode(text).ids


@pytest.mark.parametrize("change", ["swap ids", "drop a merge", "ignore merges"])
def test_a_file_whose_merges_are_out_of_order_gives_the_librarys_ids(core, tmp_path, change: str) -> None:
    """If ids are not in the order of merges, or a token is never produced, the library encodes."""
    content = json.loads(core.to_str())
    model = content["model"]
    if change == "swap ids":
        one, two = ("".join(pair) for pair in (model["merges"][0], model["merges"][-1]))
        model["vocab"][one], model["vocab"][two] = model["vocab"][two], model["vocab"][one]
    elif change == "drop a merge":
        del model["merges"][3]
    else:
        model["ignore_merges"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = some_text(seed=2)
    assert load(tmp_path).encode_batch(texts) == [other.encode(text).ids for text in texts]


def test_another_pattern_is_left_to_the_library(core, tmp_path) -> None:
    """A file with our control tokens but another pattern is encoded with that pattern."""
    content = json.loads(core.to_str())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x"
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    other = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = some_text(seed=2)
    assert load(tmp_path).encode_batch(texts) == [other.encode(text).ids for text in texts]
    assert load(tmp_path).encode_batch(texts) != TOKENIZERS["bpe"].encode_batch(texts)


def test_text_is_split_as_documented() -> None:
    """Contractions are pieces, as is each digit; marks stay with their letter, spaces with what follows."""
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated")
    cut = [piece for piece, _ in split.pre_tokenize_str("I'd say 'stone’s 12345, e\u0301té!\n\n  (so)")]
    assert cut == [
        "I",
        "'d",
        " say",
        " '",
        "stone",
        "’s",
        " ",
        *"12345",
        ",",
        " e\u0301té",
        "!\n\n",
        " ",
        " (",
        "so",
        ")",
    ]


def test_the_config_names_the_end_of_a_turn(tmp_path) -> None:
    """The config has the control tokens and the chat template in Hugging Face's layout."""
    TOKENIZERS["bpe"].save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == ("<|bos|>", "<|end|>")
    assert config["clean_up_tokenization_spaces"] is False
    assert "add_generation_prompt" in config["chat_template"]
