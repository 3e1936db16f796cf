"""Sentences and words in capitals, found and counted as NLTK does it, without its downloaded models.

Sentences follow the decisions of Punkt (Kiss and Strunk 2006, Computational Linguistics 32:4) for English: whether a
period ends a sentence depends on the word before, an abbreviation or not, and on the word after. Punkt learned both
from newspapers; here they are short lists.
"""

import re
from itertools import pairwise

_ABBREVIATIONS = """
adm col dr gen lt maj messrs mr mrs ms prof rep reps sen sr jr st
bros co corp cos inc ltd ave ft mg vs yr ph.d m.b.a a.m p.m a.d
jan feb aug sep sept oct nov dec tues wed fri
ala ariz calif colo conn fla ga ill kan ky mich minn nev okla ore pa tenn va vt wash wis
u.s u.k u.n u.s.a u.s.s.r d.c l.a n.c n.d n.h n.j n.m n.y s.c
"""
_STARTERS = """
a an the this that these those he she it they we you i my his her its our their there here what when where why how who
which if in on at by for from with as and but or so yet then also however after before while although though because
since not no some many most all both each every one another first next finally
"""
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
"""Punkt knows no others, so that it ends a sentence after e.g., i.e. and P.S."""
STARTERS = frozenset(_STARTERS.split())
"""Words that follow an abbreviation in capitals only where a sentence starts."""
END = re.compile(r"""(?<![.?!])[.?!]++["')\]}]*+(?=(\*|\s+\S))""")
AROUND = 40  # no abbreviation or starter is longer
OPENING = "\"'([{*"
NUMERAL = re.compile(r"-?[.,]?\d[\d.,-]*")
CONTRACTION = re.compile(r"(?<=\w)(?:n't|'(?:ll|re|ve|[smd]))(?!\w)", re.IGNORECASE)
FUSED = re.compile(r"\b(can(?=not\b)|(?:gim|lem)(?=me\b)|(?:gon|wan)(?=na\b)|got(?=ta\b))", re.IGNORECASE)
BETWEEN = re.compile(r"""[\s"“”;@#$%&?!()\[\]{}<>]+|--|\.\.\.|[:,](?!\d)""")


def count_sentences(text: str) -> int:
    """Return the number of sentences; a text without punctuation is one, a blank text none."""
    return sum(_ends(text, found) for found in END.finditer(text)) + 1 if text.strip() else 0


def sentences(text: str) -> list[str]:
    """Return the sentences, without the white space around them."""
    ends = [found.end() for found in END.finditer(text) if _ends(text, found)]
    parts = [text[start:end].strip() for start, end in pairwise([0, *ends, len(text)])]
    return [part for part in parts if part]


def count_capital_words(text: str) -> int:
    """Return the number of words in capitals, where DON'T is two words (DO, N'T) and AS-IS one (Penn Treebank)."""
    parted = CONTRACTION.sub(r" \g<0>", FUSED.sub(r"\1 ", text))
    return sum(word.isupper() for word in BETWEEN.split(parted))


def _ends(text: str, found: re.Match[str]) -> bool:
    """Return whether the marks of a match end a sentence."""
    marks = found[0].rstrip("\"')]}")
    if "?" in marks or "!" in marks:
        return True
    before, after = text[max(0, found.start() - AROUND) : found.start()], text[found.end(1) - 1 : found.end(1) + AROUND]
    word = re.split(r"\s", before)[-1].lstrip(OPENING).lower()
    follows = after.split()[0].lstrip(OPENING)
    starts = follows.lower().rstrip(".,:;!?'\"") in STARTERS and follows[:1].isupper()
    if len(marks) > 1:
        return follows[:1].isupper()
    if word.rpartition("-")[2] in ABBREVIATIONS or (len(word) == 1 and word.isalpha()):
        return starts
    return not (NUMERAL.fullmatch(word) and follows[:1].islower())
