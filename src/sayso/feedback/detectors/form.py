"""Replies of a wrong form: empty, in a loop, or cut off."""

import re
import unicodedata

from sayso.feedback.detectors.detector import Reply
from sayso.judge.behaviour.repetition import ends_in_loop, repeated, repeated_share, units
from sayso.token.template import THINK, THINK_END

_THOUGHT = re.compile(rf"{THINK}.*?(?:{THINK_END}|\Z)", re.DOTALL)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_NUMBERED = re.compile(r"^\s*(?:\d+|[-*•])[.)]?\s+", re.MULTILINE)
_REPEAT = re.compile(
    r"\b(?:repeat\w*|again and again|over and over|refrain|chorus|lines of|in a row|tongue twister|(?<!some)times\b)",
    re.I,
)
_SUNG = {"ha", "haha", "hee", "ho", "la", "na", "da", "tra", "ding", "dong", "tick", "tock"}
_COPIES, _LEAST = 4, 12  # copies and units of a loop that the reply leaves again
_SHARE, _LONG = 0.6, 60  # share of repeated 4-grams, and units of the text, of a loop with small changes

_END = r"[.!?…。！？:;]"
_SENTENCE_END = re.compile(r"[.!?…][)\]\"'”’»*_]*\s+(?=\S)")
_ABBREVIATION = re.compile(r"(?:\b(?:mr|mrs|ms|dr|st|prof|e\.g|i\.e|etc|vs|no|a\.m|p\.m|approx|[a-z])|\d)\.\s*$", re.I)
_DANGLING = re.compile(
    r"\b(?:the|a|an|and|or|but|because|of|with|my|your|his|their|its|very|if|than|into|from|as|beside|between|during|"
    r"among|towards?|upon|onto|until|although|while|every|at|was|were|had|been|would|should|who|whose)$",
    re.I,
)
_OPEN = re.compile(r"(?:[,(\[{–—]|[a-z]{2}-)$", re.I)
_EMOTICON = re.compile(r"(?<!\w)[:;=8][-'o]?[()]|\b[a-z]\)")  # and the letters of a list
_LISTED = re.compile(r"^\s*(?:[-*•|>#]|\d+[.)])")
_ENDED = re.compile(r"(?:https?://\S+|[^\w\s,(\[{–—-])$")
_LONG_LINE = 8  # words of a last line that is prose


def empty(reply: Reply) -> str | None:
    """Return whether a reply has no letter, digit, symbol or bracket beside its reasoning."""
    text = _THOUGHT.sub("", reply.text)
    content = any(unicodedata.category(letter)[0] in "LNS" or letter in "()[]{}\"'" for letter in text)
    return None if content else "no text"


def loop(reply: Reply) -> str | None:
    """Return what a reply repeats, unless the user asked for a repetition; code and list numbers do not count."""
    if _REPEAT.search(reply.asked):
        return None
    text = _NUMBERED.sub("", _CODE.sub("", reply.text))
    found = units(text)
    again = repeated(found, _COPIES, _LEAST)
    if again is None and ends_in_loop(text, ended=reply.finish == "stop"):
        again = repeated(found, 3, 6)
    if again is not None:
        if not any(unit.isalpha() for unit in again) or {*again} <= _SUNG:
            return None
        return f"repeats '{' '.join(again)[:60]}'"
    if len(found) >= _LONG and repeated_share(text) >= _SHARE:
        return f"{repeated_share(text):.0%} of its 4-grams are repetitions"
    return None


def cut_off(reply: Reply) -> str | None:
    """Return why a reply seems to end before its end; one that the user stopped does not."""
    if reply.finish == "length":
        return "reached the limit of its length"
    text = reply.text.rstrip()
    if reply.finish != "stop" or not text:
        return None
    if text.count("```") % 2:
        return "ends within a code block"
    last = text.splitlines()[-1]
    if text.endswith("```") or _LISTED.match(last):
        return None
    word = last.split()[-1]
    brackets = _EMOTICON.sub("", text)
    if brackets.count("(") > brackets.count(")"):
        return "ends within brackets"
    if _OPEN.search(last) or (_DANGLING.search(last) and len(last.split()) > 2):
        return f"ends with '{word}'"
    if _ENDED.search(last):
        return None
    ends = [one for one in _SENTENCE_END.finditer(last) if not _ABBREVIATION.search(last[: one.end()])]
    before = text[: -len(last)].rstrip()
    prose = len(last.split()) >= _LONG_LINE and bool(re.search(rf"{_END}$", before))
    return f"ends within a sentence, with '{word}'" if ends or prose else None
