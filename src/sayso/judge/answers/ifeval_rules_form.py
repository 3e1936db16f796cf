"""IFEval's instructions on form and content: a reply and an instruction's values -> followed or not."""

import json
import re

from sayso.judge.answers.ifeval_values import Values

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
BULLETS = (re.compile(r"^\s*\*[^*].*$", re.MULTILINE), re.compile(r"^\s*-.*$", re.MULTILINE))
HIGHLIGHTS = (re.compile(r"\*([^\n*]*)\*"), re.compile(r"\*{2}([^\n*]*)\*{2}"))
PLACEHOLDER = re.compile(r"\[.*?\]")
TITLE = re.compile(r"<<[^\n]+>>")
POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}
"""What the usual markers match: a space may follow a period."""
FENCES = ("```json", "```Json", "```JSON", "```")
RESPONSES = "*" * 6


def has_placeholders(reply: str, values: Values) -> bool:
    """At least `num_placeholders` parts in square brackets, each within a line."""
    return len(PLACEHOLDER.findall(reply)) >= values["num_placeholders"]


def has_postscript(reply: str, values: Values) -> bool:
    """`postscript_marker` occurs, in any case and anywhere."""
    marker = values["postscript_marker"].strip()
    return bool(re.search(POSTSCRIPTS.get(marker, re.escape(marker.lower())), reply.lower()))


def has_bullets(reply: str, values: Values) -> bool:
    """Exactly `num_bullets` lines start with `*` or `-`."""
    return sum(len(kind.findall(reply)) for kind in BULLETS) == values["num_bullets"]


def has_highlights(reply: str, values: Values) -> bool:
    """At least `num_highlights` parts stand between `*` or `**`; those in `***` count twice."""
    found = [text for kind in HIGHLIGHTS for text in kind.findall(reply)]
    return sum(bool(text.strip()) for text in found) >= values["num_highlights"]


def has_sections(reply: str, values: Values) -> bool:
    """`section_spliter` with a number occurs at least `num_sections` times."""
    mark = re.escape(values["section_spliter"].strip())
    return len(re.findall(rf"{mark}\s?\d+", reply)) >= values["num_sections"]


def is_an_option(reply: str, _: Values) -> bool:
    """One of the three sentences that IFEval offers occurs, as it is written."""
    return any(option in reply for option in OPTIONS)


def is_json(reply: str, _: Values) -> bool:
    """All of it is JSON, or a Markdown block of it."""
    text = reply.strip()
    for fence in FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def has_title(reply: str, _: Values) -> bool:
    """A text that is not blank stands in double angle brackets, within a line."""
    return any(title.lstrip("<").rstrip(">").strip() for title in TITLE.findall(reply))


def has_two_responses(reply: str, _: Values) -> bool:
    """Two different texts, with six asterisks between them; more may stand before the first and after the last."""
    parts = [part.strip() for part in reply.split(RESPONSES)]
    given = [part for part in parts if part]
    return all(parts[1:-1]) and len(given) == 2 and given[0] != given[1]


def repeats_prompt(reply: str, values: Values) -> bool:
    """It starts with `prompt_to_repeat`, in any case."""
    return reply.strip().lower().startswith(values["prompt_to_repeat"].strip().lower())


def ends_with(reply: str, values: Values) -> bool:
    """It ends with `end_phrase`, in any case; quotation marks may follow."""
    return reply.strip().strip('"').lower().endswith(values["end_phrase"].strip().lower())


def is_quoted(reply: str, _: Values) -> bool:
    """It starts and ends with a double quotation mark."""
    text = reply.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
