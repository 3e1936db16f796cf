"""The 25 kinds of instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911): names, values, and the rule of each.

A rule takes a reply and the instruction's values and tells whether the reply follows it, like the official program.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sayso.base.errors import UserError, nearest
from sayso.judge.answers import ifeval_rules_form as form
from sayso.judge.answers import ifeval_rules_length as length
from sayso.judge.answers import ifeval_rules_words as words
from sayso.judge.answers.ifeval_values import LANGUAGE, LETTER, NUMBER, RELATION, TEXT, TEXTS, Kind, Values


@dataclass(frozen=True)
class Rule:
    """How one kind of instruction is checked."""

    follows: Callable[[str, Values], bool]
    values: Mapping[str, Kind] = field(default_factory=dict)
    """The names of its values, all required."""


RULES: Mapping[str, Rule] = {
    "keywords:existence": Rule(words.uses_keywords, {"keywords": TEXTS}),
    "keywords:frequency": Rule(words.repeats_keyword, {"keyword": TEXT, "frequency": NUMBER, "relation": RELATION}),
    "keywords:forbidden_words": Rule(words.avoids_words, {"forbidden_words": TEXTS}),
    "keywords:letter_frequency": Rule(
        words.repeats_letter, {"letter": LETTER, "let_frequency": NUMBER, "let_relation": RELATION}
    ),
    "language:response_language": Rule(words.is_in_language, {"language": LANGUAGE}),
    "length_constraints:number_sentences": Rule(length.has_sentences, {"num_sentences": NUMBER, "relation": RELATION}),
    "length_constraints:number_paragraphs": Rule(length.has_paragraphs, {"num_paragraphs": NUMBER}),
    "length_constraints:number_words": Rule(length.has_words, {"num_words": NUMBER, "relation": RELATION}),
    "length_constraints:nth_paragraph_first_word": Rule(
        length.starts_paragraph, {"num_paragraphs": NUMBER, "nth_paragraph": NUMBER, "first_word": TEXT}
    ),
    "detectable_content:number_placeholders": Rule(form.has_placeholders, {"num_placeholders": NUMBER}),
    "detectable_content:postscript": Rule(form.has_postscript, {"postscript_marker": TEXT}),
    "detectable_format:number_bullet_lists": Rule(form.has_bullets, {"num_bullets": NUMBER}),
    "detectable_format:constrained_response": Rule(form.is_an_option),
    "detectable_format:number_highlighted_sections": Rule(form.has_highlights, {"num_highlights": NUMBER}),
    "detectable_format:multiple_sections": Rule(form.has_sections, {"section_spliter": TEXT, "num_sections": NUMBER}),
    "detectable_format:json_format": Rule(form.is_json),
    "detectable_format:title": Rule(form.has_title),
    "combination:two_responses": Rule(form.has_two_responses),
    "combination:repeat_prompt": Rule(form.repeats_prompt, {"prompt_to_repeat": TEXT}),
    "startend:end_checker": Rule(form.ends_with, {"end_phrase": TEXT}),
    "startend:quotation": Rule(form.is_quoted),
    "change_case:capital_word_frequency": Rule(
        words.repeats_capital_words, {"capital_frequency": NUMBER, "capital_relation": RELATION}
    ),
    "change_case:english_capital": Rule(words.is_english_in_capitals),
    "change_case:english_lowercase": Rule(words.is_english_in_lower_case),
    "punctuation:no_comma": Rule(words.has_no_comma),
}


def instruction(name: str, values: Values) -> Callable[[str], bool]:
    """Return the check of one instruction, from a reply to whether it is followed; values that are None do not count.

    Raises `UserError` for a name that is not in `RULES`, and for a value that is missing, unknown or of another kind.
    """
    if name not in RULES:
        raise UserError(f"IFEval has no instruction {name!r}; it has {len(RULES)} kinds.{nearest(name, RULES)}")
    rule = RULES[name]
    given = {key: value for key, value in values.items() if value is not None}
    for key in given:
        if key not in rule.values:
            takes = ", ".join(rule.values) or "no values"
            raise UserError(f"{name} takes {takes}, not {key!r}.{nearest(key, rule.values)}")
    for key, (wanted, check, known) in rule.values.items():
        if key not in given:
            raise UserError(f"{name} needs {key!r}, {wanted}; only {', '.join(given) or 'nothing'} is given.")
        if not check(given[key]):
            raise UserError(f"{key!r} of {name} is {wanted}, not {given[key]!r}.{nearest(str(given[key]), known)}")
    return partial(_follow, rule, given)


def _follow(rule: Rule, values: Values, reply: str) -> bool:
    return bool(reply.strip()) and rule.follows(reply, values)
