"""Facts from the leads of an encyclopedia: takes a title and a text, returns questions with their right answers.

Only sentences of a few fixed forms count, such as "X is a ...", so that a program finds the answer. Each fact is asked
as a question, or, of a model that only continues text, as the beginning of a sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sayso.judge.knowledge.names import COUNTRIES, NATIONS, PLACES, PROFESSIONS, VAGUE

KINDS = ("what", "who", "nationality", "country", "capital", "symbol", "number", "year")
_SENTENCE = re.compile(r"(?<=\w\w)(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bNo)(?<!\bvs)(?<!\bJr)[.!?](?=[\s\"”]|$)")
_IS = re.compile(r"^(?P<before>.{2,140}?),? (?P<verb>is|was|are|were) (?P<article>an?|the) (?P<rest>.+)$", re.S)
_PHRASE_END = re.compile(
    r"[,;:.()\"“]| (?:that|which|who|whose|where|when|of|in|on|at|from|for|with|without|used|to|by|located|and|or|as|"
    r"between|among|based|made|found|near|native|known|consisting|within|under|over|into|about|published|produced|"
    r"developed|created|designed|directed|written|composed|starring|containing|belonging|using|utilizing|involving|concerning|dealing|through|against|during|because|if|"
    r"is|was|are|were) "
)
_LIGHT = re.compile(r"^(?:\w+ )?(?:type|kind|form|genus|species|family|breed|style|variety) of ", re.I)
_ELEMENT = re.compile(r"is a chemical element; it has symbol (?P<symbol>[A-Z][a-z]?) and atomic number (?P<number>\d+)")
_CAPITAL = re.compile(
    r"\b(?:is|as) the (?:\w+,? (?:and )?){0,4}capital(?: city)?(?: and [\w ]{1,30}?)? of (?P<of>[A-Z]\w+)\b"
)
_WORK = re.compile(
    r"^.{0,80}? is an? (?P<year>1[5-9]\d\d|20\d\d) [^.]*?\b(?P<noun>film|album|novel|song|book|painting)\b"
)
_BEGUN = re.compile(
    r"\b(?P<verb>founded|established|incorporated)(?: [\w.,'-]+){0,5}? in (?:[A-Z][a-z]+ )?(?P<year>1\d\d\d|20\d\d)\b"
)
_COMPANY = re.compile(
    r"\b(?:company|corporation|university|organization|organisation|newspaper|agency|museum|club|brand|bank)\b"
)
_ADJECTIVE = re.compile(r"(?:ly|ing|ed|est|[^m]ical|ous|ive|able|ible|ful|ic|ual|ial)$")
_DONE = {"film": "released", "album": "released", "song": "released", "painting": "painted"}
_LIST_END = re.compile(r" (?:who|whose|that|which|from|of|known|best|by|and the|in|during|for|with) |;")
_SYMBOLS_LIKE_WORDS = frozenset(("i", "as", "he", "in", "at", "no", "am", "be"))


@dataclass(frozen=True)
class Fact:
    """Something that a text states, as a question."""

    kind: str
    """One of `KINDS`."""
    subject: str
    """What is asked about, as written in `question` and `cloze`."""
    question: str
    cloze: str
    """The beginning of a sentence that the answer continues."""
    answers: tuple[str, ...]
    """Each is right; none is, if the subject is invented."""


def first_sentence(text: str) -> str:
    """Return the first sentence of a text without the mark at its end; all of it if it has no end."""
    line = text.strip().split("\n")[0]
    end = _SENTENCE.search(line)
    return line[: end.start()] if end else line


def ended(text: str) -> bool:
    """Whether a text has a whole first sentence."""
    text = text.lstrip()
    return "\n" in text or _SENTENCE.search(text) is not None


def facts_of(title: str, text: str) -> Iterator[Fact]:
    """Yield the facts of one document; none without a title, or with an ambiguous one, such as "Mercury (planet)"."""
    if not re.fullmatch(r"[A-Z][\w'’.-]*(?: [\w'’.-]+){0,4}", title):
        return
    sentence = first_sentence(text)
    found = _IS.match(sentence)
    if found and title.split()[-1].lower() in found["before"].lower():
        yield from _element(title, text)
        professions = _professions(found["rest"])
        if professions and " " in title and "," not in title:
            yield from _person(title, found, professions)
        else:
            yield from _place(title, sentence, found)
            yield from _what(title, text, found)
    yield from _capital(title, sentence)
    yield from _year(title, text, sentence)


def _what(title: str, text: str, found: re.Match[str]) -> Iterator[Fact]:
    """Yield what kind of thing the subject is: the noun phrase after "is a", or its last word."""
    rest = _LIGHT.sub("", found["rest"])
    phrase = _PHRASE_END.split(f"{rest} . ", maxsplit=1)[0].strip()
    words = re.sub(r"^\d{4} ", "", phrase).split()
    if found["article"] == "the":  # often "the first", "the part", which say little
        return
    if not 1 <= len(words) <= 5 or not re.fullmatch(r"[a-z-]{3,}", words[-1]):
        return
    head = words[-1]
    shown = title[0].lower() + title[1:]
    common = f" {shown}" in text or found["before"].lower() in (f"a {shown}", f"an {shown}")
    beginning = None if title.startswith("The ") else re.match(r"(An?|The) ", found["before"])
    subject = shown if common else title
    named = f"{beginning[1].lower()} {subject}" if beginning else subject
    if head in VAGUE or _ADJECTIVE.search(head) or head.rstrip("s") in title.lower() or _plural(found["verb"]):
        return
    start = named[0].upper() + named[1:]
    cloze = f"{start} {found['verb']} {found['article']}"
    yield Fact(
        "what", subject, f"What {found['verb']} {named}?", cloze, tuple(dict.fromkeys((" ".join(words).lower(), head)))
    )


def _person(title: str, found: re.Match[str], professions: tuple[str, ...]) -> Iterator[Fact]:
    wider = [PROFESSIONS[one] for one in professions if PROFESSIONS[one]]
    verb, article = found["verb"], found["article"]
    answers = tuple(dict.fromkeys([*professions, *wider]))
    nation = found["rest"].split()[0]
    cloze = f"{title} {verb} {article}" + (f" {nation}" if nation in NATIONS else "")
    yield Fact("who", title, f"Who {verb} {title}?", cloze, answers)
    if nation in NATIONS and article != "the":
        second = re.match(r"\w+ and (\w+) ", found["rest"])
        nations = [nation, *([second[1]] if second and second[1] in NATIONS else [])]
        answers = tuple(name.lower() for one in nations for name in (one, NATIONS[one].removeprefix("the ")))
        yield Fact("nationality", title, f"What nationality {verb} {title}?", f"{title} {verb} {article}", answers)


def _professions(rest: str) -> tuple[str, ...]:
    """Return the professions named in the list after "was an", before any clause about what the person did."""
    listed = _LIST_END.split(rest, maxsplit=1)[0].lower()
    return tuple(one for one in PROFESSIONS if re.search(rf"\b{one}\b", listed))


def _place(title: str, sentence: str, found: re.Match[str]) -> Iterator[Fact]:
    """Yield the country that a place is in, if the sentence names a single one, and no border."""
    if (
        found["verb"] != "is"
        or re.search("border|countr", sentence)
        or not set(re.findall(r"[a-z]+", found["rest"][:60])) & PLACES
    ):
        return
    named = {one for one in re.findall(r"[A-Z]\w+", sentence) if one in COUNTRIES}
    inside = (
        re.search(rf"\b(?:in|of)(?: [\w-]+,?){{0,4}}? ({'|'.join(named)})\b", sentence) if len(named) == 1 else None
    )
    if inside and inside[1] not in title:
        yield Fact("country", title, f"In which country is {title}?", f"{title} is in", (inside[1].lower(),))


def _element(title: str, text: str) -> Iterator[Fact]:
    found = _ELEMENT.search(text[:300])
    if not found:
        return
    name, symbol = title.lower(), found["symbol"].lower()
    if symbol not in _SYMBOLS_LIKE_WORDS:
        yield Fact(
            "symbol", name, f"What is the chemical symbol of {name}?", f"The chemical symbol of {name} is", (symbol,)
        )
    yield Fact(
        "number", name, f"What is the atomic number of {name}?", f"The atomic number of {name} is", (found["number"],)
    )


def _capital(title: str, sentence: str) -> Iterator[Fact]:
    found = _CAPITAL.search(sentence)
    if found and found["of"] in COUNTRIES and found["of"] not in title:
        country = found["of"]
        yield Fact(
            "capital", country, f"What is the capital of {country}?", f"The capital of {country} is", (title.lower(),)
        )


def _year(title: str, text: str, sentence: str) -> Iterator[Fact]:
    """Yield the year in which a work appeared or an organization was founded."""
    work = _WORK.match(sentence)
    if work:
        noun, done = work["noun"], _DONE.get(work["noun"], "published")
        asked, begun = f"In which year was the {noun} {title} {done}?", f"The {noun} {title} was {done} in"
        yield Fact("year", title, asked, begun, (work["year"],))
        return
    begun_in = {(found["verb"], found["year"]) for found in _BEGUN.finditer(text)}
    if len(begun_in) == 1 and _COMPANY.search(sentence[:160]):
        ((verb, year),) = begun_in
        the = "the " if sentence.startswith("The ") and not title.startswith("The ") else ""
        begun = f"{the.capitalize()}{title} was {verb} in"
        yield Fact("year", title, f"In which year was {the}{title} {verb}?", begun, (year,))


def _plural(verb: str) -> bool:
    return verb in ("are", "were")
