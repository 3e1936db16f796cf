"""The baselines equal their formulas: brute-force Kneser-Ney, probabilities that sum to one, xz as it is."""

import lzma
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from sayso.judge.baselines.counts import kn5_bits, uniform_bits, unigram_bits
from sayso.judge.baselines.kneserney import FALLBACK, discounts_of, train_kneser_ney
from sayso.judge.baselines.xz import xz_bits, xz_size

BOS = 0


def documents(seed: int, count: int, vocab: int, longest: int = 40) -> list[list[int]]:
    """Documents of a skewed random walk over ids 1..vocab-1, so that counts of every size occur."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, vocab)
    rows = []
    for _ in range(count):
        ids: list[int] = []
        for _ in range(int(draw.integers(0, longest))):
            repeat = len(ids) > 2 and draw.random() < 0.5
            ids.append(
                (ids[-2] * 3 + ids[-1]) % (vocab - 1) + 1
                if repeat
                else 1 + int(draw.choice(vocab - 1, p=weights / weights.sum()))
            )
        rows.append(ids)
    return rows


class BruteForce:
    """Chen and Goodman's formula with dictionaries of tuples, one document at a time."""

    def __init__(self, train: list[list[int]], vocab: int, order: int) -> None:
        self.vocab, self.order = vocab, order
        raw: dict[int, Counter[tuple[int, ...]]] = {n: Counter() for n in range(1, order + 1)}
        for ids in train:
            text = [BOS, *ids]
            for n in raw:
                raw[n].update(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
        self.counts: dict[int, dict[tuple[int, ...], int]] = {order: dict(raw[order])}
        for n in range(1, order):
            left: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in raw[n + 1]:
                left[gram[1:]].add(gram[0])
            self.counts[n] = {gram: raw[n][gram] if gram[0] == BOS else len(left[gram]) for gram in raw[n]}
        del self.counts[1][(BOS,)]
        self.discounts = {n: discounts_of(np.array(list(c.values()))) for n, c in self.counts.items()}

    def probability(self, context: tuple[int, ...], word: int) -> float:
        """P(word | context), the context cut to what the order allows."""
        if len(context) + 1 > self.order:
            context = context[1:]
        return self._order(context, word)

    def _order(self, context: tuple[int, ...], word: int) -> float:
        n = len(context) + 1
        lower = self._order(context[1:], word) if context else 1 / self.vocab
        following = {gram[-1]: c for gram, c in self.counts[n].items() if gram[:-1] == context}
        total = sum(following.values())
        if not total:
            return lower
        d = self.discounts[n]
        count = following.get(word, 0)
        rest = sum(d[min(c, 3) - 1] for c in following.values()) / total
        return (count - (d[min(count, 3) - 1] if count else 0)) / total + rest * lower


def test_kneser_ney_equals_brute_force() -> None:
    """The sorted-array model gives the very probabilities of a dictionary of tuples, seen and unseen alike."""
    train, held = documents(1, 60, 12), documents(2, 12, 12)
    brute = BruteForce(train, 12, 5)
    assert FALLBACK not in [brute.discounts[n] for n in (2, 3, 4, 5)]
    expected = []
    for ids in held:
        text = [BOS, *ids]
        expected.append(
            -sum(math.log2(brute.probability(tuple(text[max(0, i - 4) : i]), text[i])) for i in range(1, len(text)))
        )
    np.testing.assert_allclose(kn5_bits(train, held, 12, BOS), expected, rtol=1e-10)


def test_kneser_ney_sums_to_one() -> None:
    """After any history, seen or not, the probabilities of all ids add up to one."""
    vocab = 15
    model = train_kneser_ney(documents(3, 80, vocab), vocab, BOS)
    for history in ([], [1], [1, 2, 3, 4, 5, 6], [14, 14, 14, 14], [2, 2]):
        rows = [[*history, word] for word in range(vocab)]
        before = model.bits([history])[0]
        assert sum(2.0 ** -(model.bits(rows) - before)) == pytest.approx(1, abs=1e-9)


def test_kneser_ney_respects_document_boundaries() -> None:
    """What ends one document says nothing of how the next begins."""
    apart = train_kneser_ney([[1, 2], [3, 4]] * 5, 6, BOS)
    joined = train_kneser_ney([[1, 2, 3, 4]] * 5, 6, BOS)
    assert apart.bits([[1, 2, 3]])[0] > joined.bits([[1, 2, 3]])[0]
    swapped = train_kneser_ney([[3, 4], [1, 2]] * 5, 6, BOS)
    np.testing.assert_allclose(apart.bits([[1, 2, 3], [4]]), swapped.bits([[1, 2, 3], [4]]))


def test_kneser_ney_trains_on_documents_shorter_than_its_order() -> None:
    """Documents of one id, or none, give a model that still knows every id."""
    model = train_kneser_ney([[1], [], [2]], 4, BOS)
    assert np.isfinite(model.bits([[1, 2, 3, 3, 3, 3], []])).all()
    assert model.bits([[]])[0] == 0


def test_each_baseline_beats_the_weaker_one() -> None:
    """On text with structure: 5-grams need fewer bits than single ids, and those fewer than guessing."""
    train, held = documents(4, 400, 30), documents(5, 40, 30)
    sums = [uniform_bits(held, 30).sum(), unigram_bits(train, held, 30).sum(), kn5_bits(train, held, 30, BOS).sum()]
    assert sums[0] > sums[1] > sums[2]


def test_unigram_is_laplace() -> None:
    """(count + 1) / (N + V), by hand: ids 1, 1, 2 of 4."""
    bits = unigram_bits([[1, 1], [2]], [[1, 3]], 4)
    assert bits[0] == pytest.approx(-math.log2(3 / 7) - math.log2(1 / 7))


def test_xz_is_what_the_preset_adds() -> None:
    """The figure equals xz -9's own sizes to the few bytes of its container, and a copy costs next to nothing."""
    draw = np.random.default_rng(6)
    train, new = (draw.integers(97, 110, size, dtype=np.uint8).tobytes() for size in (50_000, 9_000))
    added = len(lzma.compress(train + new, preset=9)) - len(lzma.compress(train, preset=9))
    again, fresh = xz_bits(train, [train[:9_000], new])
    assert fresh / 8 == pytest.approx(added, abs=16)
    assert again / 8 < 50


def test_a_forked_compressor_gives_the_very_sizes() -> None:
    """Compressing the training text once for all samples changes no bit, whatever the samples, none and empty too."""
    train = b"the quick brown fox jumps over the lazy dog. " * 3000 + bytes(range(256)) * 40
    samples = [b"", b"the lazy fox", train[100:5000], b"\x00" * 3000]
    reach = len(train) + max(map(len, samples))
    expected = [8 * (xz_size([train, sample], reach) - xz_size([train], reach)) for sample in samples]
    assert xz_bits(train, samples) == expected
    assert xz_bits(train, []) == []
