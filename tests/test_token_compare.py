"""Comparing tokenizers: the figures match their definitions."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.run.tokenizer import Compare, TrainTokenizer, compare, train_tokenizer
from sayso.token.compare import compare_tokenizers, divided, frequent_word, measure_tokenizer, misspell
from sayso.token.load import tokenizer_fingerprint
from sayso.token.train import train

TRAIN = ["the farmer crossed the village and the farmer slept"] * 5
TEST = ["the farmer crossed the river"]


def test_figures_match_their_definitions() -> None:
    """On a text small enough to count by hand, the word tokenizer's row has the right counts."""
    row = measure_tokenizer("word", train("word", TRAIN, 400), TEST, "crossed")
    assert row.tokens_per_word == (4 + len(" river")) / 5
    assert row.bytes_per_token == len(TEST[0]) / (4 + len(" river"))
    assert row.unknown_rate == 1 / 5
    assert (row.word_pieces, row.misspelt_pieces) == ((" crossed",), tuple(" crsosed"))


def test_each_kind_has_its_row() -> None:
    """Byte pairs need the fewest tokens, characters one per byte of ASCII, and neither has unknown pieces."""
    bpe, word, character = compare_tokenizers(TRAIN, TEST, 400)
    assert [row.name for row in (bpe, word, character)] == ["bpe", "word", "character"]
    assert character.bytes_per_token == 1
    assert bpe.bytes_per_token > word.bytes_per_token > character.bytes_per_token
    assert bpe.unknown_rate == character.unknown_rate == 0 < word.unknown_rate
    assert all("".join(row.misspelt_pieces) == f" {row.misspelt}" for row in (bpe, word, character))


def test_every_tenth_text_is_held_out_and_not_trained_on() -> None:
    """A single text cannot be divided."""
    trained, held_out = divided([str(number) for number in range(25)], "texts")
    assert held_out == ["0", "10", "20"]
    assert sorted(map(int, trained + held_out)) == list(range(25))
    with pytest.raises(UserError, match="'texts' is too short"):
        divided(["one"], "texts")


def test_a_misspelling_swaps_two_letters() -> None:
    """The same letters in another order, with the first in its place."""
    for word in ("definitely", "against", "aabbbbbc"):
        wrong = misspell(word)
        assert wrong != word
        assert sorted(wrong) == sorted(word)
        assert wrong[0] == word[0]
    assert misspell("aaaaaaa") == "aaaaaaa"


def test_the_word_is_the_most_common_long_one() -> None:
    """Ties are broken alphabetically; a text without long words has a default word."""
    assert frequent_word(["another between another between", "So Another"]) == "another"
    assert frequent_word(["a b c"]) == "definitely"


def test_texts_without_words_are_refused() -> None:
    """Nothing can be measured without text."""
    with pytest.raises(UserError, match="held-out text"):
        compare_tokenizers(TRAIN, ["", " "], 400)


@pytest.fixture
def life(tmp_path: Path) -> Path:
    """A life with prepared text and conversations."""
    root = tmp_path / "life"
    write_jsonl(root / "data/text/train-00000.jsonl", ({"text": text} for text in TRAIN))
    write_jsonl(root / "data/text/val-00000.jsonl", ({"text": text} for text in TEST))
    talk = {"messages": [{"role": "user", "content": "zyxwv zyxwv zyxwv"}, {"role": "assistant", "content": "zyxwv"}]}
    write_jsonl(root / "data/chat/train.jsonl", [talk])
    return root


def test_a_life_trains_its_tokenizer_on_documents_and_conversations(life: Path) -> None:
    """A word that occurs only in conversations is one token, and the log has the figures."""
    tokenizer = train_tokenizer(TrainTokenizer(life=life, vocab_size=400))
    assert len(tokenizer.encode(" zyxwv")) == 1
    told = next(row for row in read_jsonl(life / "runs/tokenizer-train/run.jsonl") if row["event"] == "tokenizer")
    assert told["vocab_size"] == tokenizer.vocab_size
    assert told["bytes_per_token"] == pytest.approx(len(TEST[0]) / len(tokenizer.encode(TEST[0])), abs=1e-3)


def test_a_tokenizer_is_trained_again_only_if_options_or_text_change(life: Path) -> None:
    """The same command does nothing twice; another size, or new text, trains again."""
    train_tokenizer(TrainTokenizer(life=life, vocab_size=400))
    made = (life / "tokenizer/tokenizer.json").stat().st_mtime_ns
    train_tokenizer(TrainTokenizer(life=life, vocab_size=400))
    assert (life / "tokenizer/tokenizer.json").stat().st_mtime_ns == made
    marks = {tokenizer_fingerprint(life / "tokenizer")}
    train_tokenizer(TrainTokenizer(life=life, vocab_size=280))
    marks.add(tokenizer_fingerprint(life / "tokenizer"))
    write_jsonl(life / "data/text/train-00001.jsonl", ({"text": "another thing"} for _ in range(5)))
    train_tokenizer(TrainTokenizer(life=life, vocab_size=280))
    marks.add(tokenizer_fingerprint(life / "tokenizer"))
    assert len(marks) == 3


def test_a_limit_reads_the_beginning_only(life: Path) -> None:
    """With --megabytes, text after the limit is not used."""
    write_jsonl(life / "data/text/train-00001.jsonl", ({"text": "quincunx quincunx"} for _ in range(5)))
    few = train_tokenizer(TrainTokenizer(life=life, vocab_size=400, megabytes=1e-6))
    everything = train_tokenizer(TrainTokenizer(life=life, vocab_size=400, megabytes=0))
    assert len(few.encode(" quincunx")) > len(everything.encode(" quincunx"))


def test_a_life_without_text_names_the_command(tmp_path: Path) -> None:
    """Missing data is one sentence with the command that creates it, and no folder is left."""
    with pytest.raises(UserError, match="sayso prepare"):
        train_tokenizer(TrainTokenizer(life=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_lifes_text_is_compared_and_kept_for_the_report(life: Path, capsys) -> None:
    """By default, the life's own text is used; the rows are returned and written."""
    rows = compare(Compare(life=life, vocab_size=400))
    assert read_json(life / "runs/tokenizer-compare/scores.json") == [
        row | {key: list(row[key]) for key in ("word_pieces", "misspelt_pieces")} for row in rows
    ]
    shown = capsys.readouterr().out
    assert all(row["name"] in shown for row in rows)


def test_a_named_text_is_split_and_creates_no_life(tmp_path: Path, capsys) -> None:
    """A text file outside of any life is enough; trained tokenizers can be named as well."""
    (tmp_path / "book.txt").write_text("\n\n".join(f"{TRAIN[0]} {number}." for number in range(400)))
    rows = compare(Compare((str(tmp_path / "book.txt"),), life=tmp_path / "life", vocab_size=400))
    assert [row["name"] for row in rows] == ["bpe", "word", "character"]
    train("bpe", TRAIN, 300).save(tmp_path / "mine")
    mine = compare(Compare((str(tmp_path / "book.txt"),), life=tmp_path / "life", tokenizers=(tmp_path / "mine",)))
    assert [row["name"] for row in mine] == [str(tmp_path / "mine")]
    assert not (tmp_path / "life").exists()
    assert "misspelled" in capsys.readouterr().out


def test_a_text_that_cannot_be_split_is_refused(tmp_path: Path) -> None:
    """A missing file, or one too short to hold out a part, is an error."""
    (tmp_path / "short.txt").write_text("so it goes")
    with pytest.raises(UserError, match="too short"):
        compare(Compare((str(tmp_path / "short.txt"),)))
    with pytest.raises(UserError, match=r"none' does not exist"):
        compare(Compare((str(tmp_path / "none"),)))
