"""The user's own words that a reply was wrong, in the next turn; by patterns of English phrases."""

import re

from sayso.feedback.detectors.detector import Reply

_WRONG = r"(?:wrong|incorrect|false|nonsense|a lie|a mistake|inaccurate|untrue|garbage|rubbish)"
_RIGHT = (
    r"(?:right|correct|true|accurate|it|the answer|the right \w+|what i (?:\w+ )?(?:asked|meant|wanted|said|need\w*))"
)
_VERY = (
    r"(?:(?:really|just|completely|totally|simply|all|so|also|still|quite|plain|obviously|clearly|very|bad|again) )*"
)
_COMPLAINS = re.compile(
    "|".join(
        (
            rf"\b(?:that|this|it|which|answer|reply|these|those|everything)(?:'s| is| was| are|s) {_VERY}{_WRONG}\b",
            rf"\b(?:that|this|it|answer|reply)(?:'s| is| was) not {_VERY}{_RIGHT}\b",
            rf"\b(?:that|this|it|answer|reply) (?:isn't|wasn't|is n't|isnt|wasnt) {_VERY}{_RIGHT}\b",
            rf"\b(?:that|this|it) (?:can't|cannot) be {_VERY}(?:right|correct|true)\b",
            rf"\byou(?:'re| are| were) {_VERY}(?:wrong|mistaken|incorrect|lying|confused)\b",
            r"\byou (?:\w+ )?(?:made|made up|invented|misread|misunderstood|misunderstand|ignored|forgot|mixed up)\b"
            r"(?! (?:my day|me (?:happy|laugh|smile)))",
            r"\byou (?:\w+ )?(?:got|have|had|answered|did) (?:it|that|this|everything|the \w+) (?:\w+ )?wrong\b",
            r"\byou (?:\w+ )?(?:didn't|did not|haven't|have not|don't|do not) (?:\w+ )?(?:answer|read|listen|"
            r"understand|follow|"
            r"get it)\b",
            r"\bnot what i (?:\w+ )?(?:asked|meant|wanted|said)\b",
            r"\bi (?:didn't|did not|never) (?:ask|say|mean|want) (?:for |about )?(?:that|this|it)\b",
            r"\bi (?:asked|said|told)\b[^.?!]{0,200},? not\b",
            r"\b(?:doesn't|does not|makes no|make no|don't make any|doesn't make any) (?:make )?(?:any )?sense\b",
            rf"^(?:no|nope|nah|hm+|wait|sorry|but|well|uh|oh)?[\s,.!-]*(?:no,? )?{_VERY}{_WRONG}(?: answer)?(?: "
            rf"again)?\s*[.!,;:-]",
            rf"^(?:no|nope|nah)?[\s,.!]*{_VERY}{_WRONG}(?: answer)?(?: again)?[\s.!]*$",
            r"^(?:no|nope)?[\s,.!]*not (?:true|right|correct|even close)\b",
            r"^(?:no|nope|wrong|sorry)?[\s,.!]*(?:please )?(?:try|check|look|read (?:it|the \w+)) (?:it )?again\b",
            r"\b(?:wrong answer|bad answer|poor answer|useless answer|terrible answer|stupid answer)\b",
        )
    ),
    re.I,
)
_NOT = re.compile(
    r"\bif (?:that|this|it|you|i|the answer)\b|\b(?:he|she|they|who|teacher|boss|friend|brother|sister|mother|father|"
    r"mom|dad|"
    r"someone|people|book|everyone)\b[^.?!]{0,20}\b(?:says?|said|tells?|told|thinks?|thought|claims?|claimed|"
    r"insists?)\b|"
    r"\b(?:not|n't|never|nothing|hardly|anything) (?:\w+ )?(?:wrong|incorrect|false|a mistake|a lie)\b|\bnot only\b|"
    r"\bi (?:thought|feared|was afraid|worried)\b|\bunless\b|\bso (?:that|it)(?:'s| is) not\b",
    re.I,
)
_ASKS = re.compile(
    r"^(?:is|isn't|are|was|why|what|how|would|could|can|do|does|did|which|who|should|am|so)\b.*\?\s*$", re.I
)


def objection(text: str) -> str | None:
    """Return the words of a user's turn that say that the reply before it was wrong or missed the question."""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text.replace("’", "'")):
        sentence = sentence.strip()
        if not _ASKS.match(sentence) and not _NOT.search(sentence) and (found := _COMPLAINS.search(sentence)):
            return found[0].strip()[:60]
    return None


def told_wrong(reply: Reply) -> str | None:
    """Return that the next turn says that a reply was wrong or missed the question."""
    words = objection(reply.next or "")
    return None if words is None else f"the user said '{words}'"
