"""IFEval's instructions on words, case and language: a reply and an instruction's values -> followed or not."""

import re

from sayso.judge.answers.ifeval_values import Values, holds
from sayso.judge.answers.language import language
from sayso.judge.answers.sentence import count_capital_words


def uses_keywords(reply: str, values: Values) -> bool:
    """Each of `keywords` occurs, in any case, also inside longer words."""
    return all(_count(word, reply) for word in values["keywords"])


def repeats_keyword(reply: str, values: Values) -> bool:
    """`keyword` occurs as often as asked, also inside longer words."""
    return holds(_count(values["keyword"].strip(), reply), values["relation"], values["frequency"])


def avoids_words(reply: str, values: Values) -> bool:
    """None of `forbidden_words` occurs as a whole word."""
    return not any(re.search(rf"\b{re.escape(word)}\b", reply, re.IGNORECASE) for word in values["forbidden_words"])


def repeats_letter(reply: str, values: Values) -> bool:
    """`letter`, or another character, occurs as often as asked, in any case."""
    return holds(reply.lower().count(values["letter"].lower()), values["let_relation"], values["let_frequency"])


def repeats_capital_words(reply: str, values: Values) -> bool:
    """Words in capitals are as many as asked."""
    return holds(count_capital_words(reply), values["capital_relation"], values["capital_frequency"])


def is_english_in_capitals(reply: str, _: Values) -> bool:
    """Every letter with a case is a capital, and the language, if it can be told, is English."""
    return reply.isupper() and language(reply) in ("en", None)


def is_english_in_lower_case(reply: str, _: Values) -> bool:
    """No letter is a capital, and the language, if it can be told, is English."""
    return reply.islower() and language(reply) in ("en", None)


def is_in_language(reply: str, values: Values) -> bool:
    """The language, if it can be told, is `language`."""
    return language(reply) in (values["language"], None)


def has_no_comma(reply: str, _: Values) -> bool:
    """No ASCII comma occurs; those of other scripts may."""
    return "," not in reply


def _count(word: str, text: str) -> int:
    return len(re.findall(re.escape(word), text, re.IGNORECASE))
