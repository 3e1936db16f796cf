"""A cleaned text -> the name of the first rule that it breaks, or None.

The rules follow Gopher's (Rae et al. 2021, tables A1 and A2) where they do not depend on English; the thresholds that
differ are looser and were set on books, encyclopedia leads, children's stories and chat (docs/prepare.md has the counts).
"""

import re
from collections.abc import Callable

import numpy as np

from sayso.text.ngrams import Hashes, ngram_hashes

MIN_CHARACTERS = 60  # shorter texts teach little and cannot be told apart as duplicates
MIN_LETTER_SHARE = 0.6  # of the characters that are not spaces; tables, logs and ASCII art fall below
MAX_SYMBOL_RATIO = 0.1  # "#" and ellipses per word (Gopher)
MAX_BULLET_SHARE = 0.9  # of the lines (Gopher)
MAX_ELLIPSIS_SHARE = 0.3  # of the lines end with an ellipsis (Gopher)
MAX_REPEATED_LINES = 0.3  # of the lines were there before (Gopher)
MAX_TOP_PAIR = 0.2  # of the words lie in the commonest word pair (Gopher)
MAX_REPEATED_PHRASES = 0.3  # of the 5-word phrases were there before (Gopher: 0.15 of characters; refrains need more)
MAX_BROKEN = 0.01  # of the characters are replacement or private-use characters
MAX_RUN = 500  # ASCII characters without a space: base64, minified code
MIN_LINES, MIN_WORDS = 4, 50  # below these the shares of lines and phrases say nothing

# Beyond Latin a word holds combining signs that Unicode does not call letters: there every character counts.
LETTER = re.compile("[^\\W\\d_]|[^\x00-\u02ff]")
SYMBOL = re.compile(r"#|\.\.\.|…")
BROKEN = re.compile("[\ufffd\ue000-\uf8ff]")
RUN = re.compile(r"[!-~]{%d}" % MAX_RUN)
BULLETS = ("-", "*", "•", "‣", "◦", "–")


def _too_short(text: str, words: Hashes) -> bool:
    return len(text) < MIN_CHARACTERS


def _too_few_letters(text: str, words: Hashes) -> bool:
    solid = "".join(text.split())
    return len(LETTER.findall(solid)) < MIN_LETTER_SHARE * len(solid)


def _too_many_symbols(text: str, words: Hashes) -> bool:
    return len(SYMBOL.findall(text)) > MAX_SYMBOL_RATIO * max(len(words), 10)


def _broken_characters(text: str, words: Hashes) -> bool:
    return not text.isascii() and len(BROKEN.findall(text)) > MAX_BROKEN * len(text)


def _unbroken_run(text: str, words: Hashes) -> bool:
    return RUN.search(text) is not None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _bullets(text: str, words: Hashes) -> bool:
    lines = _lines(text)
    return len(lines) >= MIN_LINES and sum(line.startswith(BULLETS) for line in lines) > MAX_BULLET_SHARE * len(lines)


def _ellipses(text: str, words: Hashes) -> bool:
    lines = _lines(text)
    cut = sum(line.endswith(("...", "…")) for line in lines)
    return len(lines) >= MIN_LINES and cut > MAX_ELLIPSIS_SHARE * len(lines)


def _repeated_lines(text: str, words: Hashes) -> bool:
    lines = _lines(text)
    return len(lines) >= MIN_LINES and len(lines) - len(set(lines)) > MAX_REPEATED_LINES * len(lines)


def _top_pair(text: str, words: Hashes) -> bool:
    if len(words) < MIN_WORDS:
        return False
    _, counts = np.unique(ngram_hashes(words, 2), return_counts=True)
    return bool(2 * counts.max() > MAX_TOP_PAIR * len(words))


def _repeated_phrases(text: str, words: Hashes) -> bool:
    if len(words) < MIN_WORDS:
        return False
    phrases = ngram_hashes(words, 5)
    return len(phrases) - len(np.unique(phrases)) > MAX_REPEATED_PHRASES * len(phrases)


# In this order; a document is counted under the first rule that it breaks.
RULES: dict[str, Callable[[str, Hashes], bool]] = {
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


def broken_rule(text: str, words: Hashes) -> str | None:
    """Return the name of the first rule that a cleaned text breaks; `words` are its word hashes."""
    return next((name for name, breaks in RULES.items() if breaks(text, words)), None)
