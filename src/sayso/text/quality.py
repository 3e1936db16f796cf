"""Return the name of the first quality rule that a cleaned text breaks, or None.

The rules follow Gopher's (Rae et al. 2021, tables A1 and A2) unless they depend on English; thresholds that differ are
looser and were set on books, encyclopedia leads, children's stories and chat (counts: docs/prepare.md).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sayso.text.characters import LETTER, SPACE, code_points, kinds, runs
from sayso.text.ngrams import Hashes, ngram_hashes, words_of

MIN_CHARACTERS = 60  # shorter texts teach little, and their duplicates cannot be detected
MIN_LETTER_SHARE = 0.5  # of the characters that are not spaces; tables, logs and ASCII art have fewer
MAX_SYMBOL_RATIO = 0.1  # "#" and ellipses per word (Gopher); the "#" of a Markdown heading does not count
MAX_BULLET_SHARE = 0.9  # of the lines (Gopher)
MAX_ELLIPSIS_SHARE = 0.3  # of the lines end with an ellipsis (Gopher)
MAX_REPEATED_LINES = 0.3  # of the lines of 4 words or more (Gopher: of all; plays repeat names)
MAX_TOP_PAIR = 0.25  # of the words are in the most common word pair (Gopher: 0.2; worked sums need more)
MAX_REPEATED_PHRASES = 0.3  # of the 5-word phrases (Gopher: 0.15 of characters; refrains need more)
MAX_BROKEN = 0.01  # of the characters are replacement or private-use characters
MAX_RUN = 500  # ASCII characters without a space: base64, minified code
MIN_LINES, MIN_WORDS = 4, 50  # below these, shares of lines and phrases are meaningless

HASH = re.compile(r"(?<=[^\n#])#")
_BROKEN = re.compile("[\ufffd\ue000-\uf8ff]")
BULLETS = ("-", "*", "•", "‣", "◦", "–")


@dataclass(frozen=True, slots=True)
class TextMeasures:
    """A cleaned text with the data for the rules: kinds of its characters, word hashes, lines that are not blank."""

    text: str
    kinds: NDArray[np.uint8]
    words: Hashes
    lines: tuple[str, ...]
    pieces: float
    """Word hashes per word: more than one in scripts in which each character has its own."""


def _too_short(it: TextMeasures) -> bool:
    return len(it.text) < MIN_CHARACTERS


def _unbroken_run(it: TextMeasures) -> bool:
    starts, ends = runs((it.kinds & SPACE) == 0)
    long = ends - starts > MAX_RUN
    return any(it.text[start:end].isascii() for start, end in zip(starts[long], ends[long], strict=True))


def _broken_characters(it: TextMeasures) -> bool:
    return not it.text.isascii() and len(_BROKEN.findall(it.text)) > MAX_BROKEN * len(it.text)


def _too_few_letters(it: TextMeasures) -> bool:
    solid = len(it.kinds) - np.count_nonzero(it.kinds & SPACE)
    return bool(np.count_nonzero(it.kinds & LETTER) < MIN_LETTER_SHARE * solid)


def _too_many_symbols(it: TextMeasures) -> bool:
    symbols = len(HASH.findall(it.text)) + it.text.count("...") + it.text.count("…")
    return symbols > MAX_SYMBOL_RATIO * max(len(it.words) / it.pieces, 10)


def _bullets(it: TextMeasures) -> bool:
    bullets = sum(line.startswith(BULLETS) for line in it.lines)
    return len(it.lines) >= MIN_LINES and bullets > MAX_BULLET_SHARE * len(it.lines)


def _ellipses(it: TextMeasures) -> bool:
    cut_off = sum(line.endswith(("...", "…")) for line in it.lines)
    return len(it.lines) >= MIN_LINES and cut_off > MAX_ELLIPSIS_SHARE * len(it.lines)


def _repeated_lines(it: TextMeasures) -> bool:
    lines = [line for line in it.lines if line.count(" ") >= 3]
    return len(lines) >= MIN_LINES and len(lines) - len(set(lines)) > MAX_REPEATED_LINES * len(lines)


def _top_pair(it: TextMeasures) -> bool:
    if len(it.words) < MIN_WORDS * it.pieces:
        return False
    pairs = np.sort(ngram_hashes(it.words, 2))
    bounds = np.append(np.flatnonzero(_is_first(pairs)), len(pairs))
    return bool(2 * np.diff(bounds).max() > MAX_TOP_PAIR * len(it.words))


def _repeated_phrases(it: TextMeasures) -> bool:
    if len(it.words) < MIN_WORDS * it.pieces:
        return False
    phrases = np.sort(ngram_hashes(it.words, round(5 * it.pieces)))
    return bool(len(phrases) - np.count_nonzero(_is_first(phrases)) > MAX_REPEATED_PHRASES * len(phrases))


def _is_first(ordered: Hashes) -> NDArray[np.bool_]:
    """Return which of some sorted values differ from the one before."""
    return np.concatenate(([True], ordered[1:] != ordered[:-1]))


# In order; a document is counted under the first rule that it breaks.
RULES: dict[str, Callable[[TextMeasures], bool]] = {
    "too_short": _too_short,
    "unbroken_run": _unbroken_run,
    "broken_characters": _broken_characters,
    "too_few_letters": _too_few_letters,
    "too_many_symbols": _too_many_symbols,
    "bullets": _bullets,
    "ellipses": _ellipses,
    "repeated_lines": _repeated_lines,
    "top_pair": _top_pair,
    "repeated_phrases": _repeated_phrases,
}


def broken_rule(text: str, words: Hashes, *, conversation: bool = False) -> str | None:
    """Return the name of the first rule that a cleaned text breaks; `words` are its word hashes.

    A conversation may be short: a question and its answer can be complete in one line.
    """
    lines = tuple(line.strip() for line in text.split("\n") if line.strip())
    pieces = len(words) / max(1.0, words_of(text, words))
    measured = TextMeasures(text, kinds(code_points(text)), words, lines, pieces)
    rules = (name for name in RULES if not (conversation and name == "too_short"))
    return next((name for name in rules if RULES[name](measured)), None)
