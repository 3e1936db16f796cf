"""Quality rules: each drops what it describes, and ordinary prose, verse and code pass."""

import pytest

from sayso.text.ngrams import word_hashes
from sayso.text.quality import RULES, broken_rule

PROSE = (
    "The road went down to the river, where an old man was mending his net. He did not look up when the boy came, but "
    "said that the fish were late this year, and that the water had been strange since the storm. The boy sat down on "
    "a stone beside him and asked whether the bridge would hold until the winter, for his mother had to cross it often."
)
BAD = {
    "too_short": "Hello there.",
    "unbroken_run": "data " + "QUJD" * 200,
    "broken_characters": PROSE.replace("i", "\ufffd"),
    "too_few_letters": "12.50 | 13.75 | 19.00 | 44.10 | 31.99\n" * 4,
    "too_many_symbols": "so #blessed #happy #sun #sea #sand #fun #love #life and #more #tags #here #today",
    "bullets": "\n".join(f"- point {word} of the list" for word in PROSE.split()[:12]),
    "ellipses": "\n".join(
        f"the beginning of article {word} was cut off here and one must click on ..." for word in PROSE.split()[:12]
    ),
    "repeated_lines": "\n".join(["subscribe to our weekly letter now", "and read the news before the others do"] * 4),
    "top_pair": " ".join(f"buy shoes {word}" for word in PROSE.split()[:40]),
    "repeated_phrases": "\n".join(f"{PROSE[:120]} {number}" for number in ("one", "two", "three", "four")),
}


@pytest.mark.parametrize("rule", BAD)
def test_a_rule_drops_its_example(rule: str) -> None:
    """A text made to break one rule is dropped under that rule's name."""
    text = BAD[rule]
    assert broken_rule(text, word_hashes(text)) == rule


def test_every_rule_has_its_example() -> None:
    """Every rule has a text that breaks it."""
    assert set(BAD) == set(RULES)


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "# A heading\n\n## Another\n\nThe little house stood at the end of the lane.\n\n##\n\nNobody lived there.",
        "ROMEO:\nBut soft, what light through yonder window breaks?\n\nJULIET:\nAy me!\n\nROMEO:\nShe speaks.\n",
        "def area(width, height):\n    return width * height\n\n\nfor size in range(10):\n    print(area(size, 1))\n",
        "भारत दक्षिण एशिया में स्थित भारतीय उपमहाद्वीप का सबसे बड़ा देश है। यह विश्व का सातवाँ सबसे बड़ा देश है।",
        "长城是中国古代的军事防御工程，是一道高大、坚固而且连绵不断的长垣，用以限隔敌骑的行动。" * 2,
    ],
    ids=["prose", "markdown", "play", "code", "hindi", "chinese"],
)
def test_ordinary_text_of_many_kinds_passes(text: str) -> None:
    """Prose, headings, a play with its speakers, code and scripts without spaces are kept."""
    assert broken_rule(text, word_hashes(text)) is None
