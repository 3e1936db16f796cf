"""Contamination and splits: decided by n-grams and by content, the same on every machine."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sayso.text.decontaminate import ngram_sets, open_sets, overlaps, save_sets
from sayso.text.ngrams import hash64, ngram_hashes, word_hashes, words_of
from sayso.text.split import TEST, TRAIN, VAL, split_by_hash

QUESTION = "Janet's ducks lay sixteen eggs per day and she eats three for breakfast every morning with her friends."
GOLDEN = int.from_bytes(bytes.fromhex("815db20c06d4124a"), "little")


def test_thirteen_words_in_common_are_found_and_twelve_are_not() -> None:
    """Case and punctuation do not matter, the number of words does."""
    sets = ngram_sets([QUESTION], 13)
    words = QUESTION.replace("'", " ").upper().replace(".", "!").split()
    assert overlaps(word_hashes("So: " + ", ".join(words[2:15]) + " and so on"), sets)
    assert not overlaps(word_hashes("So: " + ", ".join(words[2:14]) + " and so on"), sets)


def test_short_evaluation_texts_are_one_n_gram_and_shorter_ones_none() -> None:
    """A text of 8 to 12 words must occur completely; one of 7 words is no evidence."""
    sets = ngram_sets(["what did the old man see by the river", "who took the red kite today"], 13)
    assert list(sets) == [9]
    assert overlaps(word_hashes("I asked: what did the old man see by the river?"), sets)
    assert not overlaps(word_hashes("who took the red kite today"), sets)


def test_n_grams_equal_those_of_plain_python() -> None:
    """Equal runs of words have equal hashes, and different runs different ones."""
    words = list("abcabcdab")
    grams = [tuple(words[place : place + 3]) for place in range(len(words) - 2)]
    hashes = ngram_hashes(word_hashes(" ".join(words)), 3).tolist()
    assert len(set(hashes)) == len(set(grams))
    assert len(set(zip(hashes, grams, strict=True))) == len(set(grams))


def test_saved_sets_are_mapped_back(tmp_path: Path) -> None:
    """Workers map what was computed; a folder without sets has none."""
    assert open_sets(tmp_path / "none") == {}
    sets = ngram_sets([QUESTION], 13)
    save_sets(sets, tmp_path)
    assert np.array_equal(open_sets(tmp_path)[13], sets[13])


def test_hashes_are_the_same_on_every_machine() -> None:
    """A golden number: splits and duplicates depend on it."""
    assert hash64("Sayso") == GOLDEN


def test_splits_have_their_shares_and_do_not_move() -> None:
    """The shares are about those requested; a text keeps its split when others are added or removed."""
    hashes = np.array([hash64(f"text {number}") for number in range(20_000)], np.uint64)
    split = split_by_hash(hashes, 0.02, 0.03)
    assert abs(np.mean(split == VAL) - 0.02) < 0.004
    assert abs(np.mean(split == TEST) - 0.03) < 0.004
    assert np.array_equal(split_by_hash(hashes[::7], 0.02, 0.03), split[::7])


def test_a_tiny_corpus_still_has_a_val_and_a_test_document() -> None:
    """Three documents give one of each; two give train and val; a share of 0 gives none."""
    hashes = np.array([hash64(text) for text in ("a", "b", "c")], np.uint64)
    assert sorted(split_by_hash(hashes, 0.02, 0.02).tolist()) == [TRAIN, VAL, TEST]
    assert split_by_hash(hashes, 0.0, 0.0).tolist() == [TRAIN] * 3
    assert sorted(split_by_hash(hashes[:2], 0.02, 0.02).tolist()) == [TRAIN, VAL]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_training_is_never_empty(count: int) -> None:
    """Whatever the texts and the shares, some training text remains."""
    for number in range(200):
        hashes = np.array([hash64(f"{number} {place}") for place in range(count)], np.uint64)
        for val, test in ((0.02, 0.02), (0.5, 0.49), (0.0, 0.99), (0.0, 0.0)):
            assert TRAIN in split_by_hash(hashes, val, test).tolist()
    assert split_by_hash(np.empty(0, np.uint64), 0.1, 0.1).tolist() == []


SENTENCES = {
    "Chinese": "小明早上带着一只红色的旧风筝走过石桥去港口找他的朋友，朋友却已经坐船到对岸的集市买面粉和盐了",
    "Japanese": "港の灯台守は毎晩おなじ時刻に階段をのぼり、海の向こうの小さな島に住む友人へ灯りで合図を送っていた",
    "Thai": "ชาวประมงคนหนึ่งพบกล่องไม้เก่าที่ชายหาดและนำกลับบ้านไปให้ลูกสาวเปิดดูในเช้าวันรุ่งขึ้นก่อนออกเรือ",
    "Lao": "ຊາວປະມົງຄົນໜຶ່ງພົບກ່ອງໄມ້ເກົ່າຢູ່ແຄມຫາດແລະນຳກັບບ້ານໄປໃຫ້ລູກສາວເປີດເບິ່ງໃນຕອນເຊົ້າ",
    "Khmer": "អ្នកនេសាទម្នាក់បានរកឃើញប្រអប់ឈើចាស់មួយនៅឆ្នេរសមុទ្រហើយយកវាទៅផ្ទះឲ្យកូនស្រីបើកមើល",
    "Burmese": "တံငါသည်တစ်ယောက်သည်ကမ်းခြေတွင်သစ်သားသေတ္တာဟောင်းတစ်လုံးကိုတွေ့ပြီးအိမ်သို့ယူဆောင်လာခဲ့သည်",
}


@pytest.mark.parametrize("script", SENTENCES)
def test_scripts_without_spaces_are_counted_by_characters(script: str) -> None:
    """A text is found in a document with other punctuation and context; a run of half its length is no evidence."""
    text = SENTENCES[script]
    counts: Counter[str] = Counter()
    sets = ngram_sets([text, text[:6]], 13, counts)
    assert counts == {"usable": 1, "too_short": 1}
    (length,) = sets
    assert length in ((24, 28) if script in ("Chinese", "Japanese") else range(48, 56)) or length <= len(text)
    inside = f"{text[-5:]}{text[:4]}。{text.replace('，', '').replace('、', ' ')}！{text[7:19]}"
    assert overlaps(word_hashes(inside), sets)
    for start in range(0, len(text), 9):
        assert not overlaps(word_hashes(f"{text[start : start + length // 2]}。{text[:9]}"), sets)


def test_words_of_spaced_scripts_are_words_and_others_parts_of_them() -> None:
    """English and Korean words count one each, Chinese characters a half, Thai ones a quarter."""
    for text, words in (
        ("Four words stand here, 12 too", 6),
        ("나는 학교에 갑니다", 3),
        ("北京大學", 2),
        ("ไม่รู้จัก", 9 / 4),
        ("The 北京 one", 3),
    ):
        assert words_of(text, word_hashes(text)) == words


def test_a_name_of_many_characters_is_no_evidence() -> None:
    """Common names are longer than 13 characters: documents that share one are kept."""
    sets = ngram_sets(["中华人民共和国全国人民代表大会", "ประเทศสหรัฐอเมริกา"], 13)
    assert sets == {}


def test_evaluation_texts_are_cleaned_as_documents_are() -> None:
    """Composed or not, with a soft hyphen or without, it is the same text."""
    sets = ngram_sets(["une cafe\u0301 noir au lait d'e\u0301te\u0301 sur la ter\xadrasse du vieux port"], 13)
    assert overlaps(word_hashes("une café noir au lait d'été sur la terrasse du vieux port"), sets)
