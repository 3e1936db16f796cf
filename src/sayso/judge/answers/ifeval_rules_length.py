"""IFEval's instructions on length and paragraphs: a reply and an instruction's values -> followed or not."""

import re

from sayso.judge.answers.ifeval_values import Values, holds
from sayso.judge.answers.sentence import count_sentences

WORD = re.compile(r"\w+")
DIVIDER = re.compile(r"\s?\*{3}\s?")
WORD_END = re.compile(r"""[.,?!'"]""")


def has_sentences(reply: str, values: Values) -> bool:
    """Sentences are as many as asked."""
    return holds(count_sentences(reply), values["relation"], values["num_sentences"])


def has_words(reply: str, values: Values) -> bool:
    """Runs of letters, digits and underscores are as many as asked."""
    return holds(len(WORD.findall(reply)), values["relation"], values["num_words"])


def has_paragraphs(reply: str, values: Values) -> bool:
    """Exactly `num_paragraphs` paragraphs stand between dividers `***`; only the first and last may be blank."""
    parts = [part.strip() for part in DIVIDER.split(reply)]
    if not all(parts[1:-1]):
        return False
    return sum(map(bool, parts)) == values["num_paragraphs"]


def starts_paragraph(reply: str, values: Values) -> bool:
    """Blank lines part exactly `num_paragraphs` paragraphs, and paragraph `nth_paragraph` starts with `first_word`.

    Blank parts do not count as paragraphs, but they do count when the n-th is looked up, as in the official program.
    """
    parts, nth = reply.split("\n\n"), values["nth_paragraph"]
    count = sum(bool(part.strip()) for part in parts)
    if count != values["num_paragraphs"] or not 1 <= nth <= count or not parts[nth - 1].strip():
        return False
    word = parts[nth - 1].split()[0].lstrip("'").lstrip('"')
    return WORD_END.split(word)[0].lower() == values["first_word"].lower()
