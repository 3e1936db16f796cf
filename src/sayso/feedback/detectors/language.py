"""Replies in another language than the user's."""

import re

from sayso.feedback.detectors.detector import Reply
from sayso.judge.answers.language import languages

_LEAST_ASKED, _LEAST_SAID = 20, 30  # letters of the user's turns and of a reply whose languages can be told
_ENOUGH = 60  # letters of the last message alone; with fewer, the user's earlier ones count too
_SURE, _UNLIKELY = 0.8, 0.1  # probabilities of the language that a text is in, and of one that it is not in
_LANGUAGE = re.compile(
    r"translat|language|übersetz|tradu[ic]|vertaal|\b(?:english|german|french|spanish|italian|dutch|portuguese|russian|"
    r"chinese|japanese|korean|arabic|hindi|polish|swedish|turkish|greek|latin|englisch|deutsch|französisch|spanisch|"
    r"italienisch|auf \w+isch|anglais|allemand|français|espagnol|italien|inglés|alemán|francés|español|italiano|"
    r"inglese|tedesco|francese|spagnolo|engels|duits|frans|spaans|italiaans|nederlands)\b",
    re.I,
)
_QUOTED = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»|https?://\S+", re.DOTALL)


def wrong_language(reply: Reply) -> str | None:
    """Return the languages of the user and of the reply if they differ; quotations and code do not count.

    Nothing is said about a short text, and where the user or the system prompt speaks of languages.
    """
    said = [text for role, text in reply.turns if role == "user"]
    if any(_LANGUAGE.search(text) for text in (*said, reply.system)):
        return None
    texts = [_QUOTED.sub(" ", text) for text in (reply.asked, reply.text)]
    if _letters(texts[0]) < _ENOUGH:
        texts[0] = _QUOTED.sub(" ", "\n".join(said))
    if _letters(texts[0]) < _LEAST_ASKED or _letters(texts[1]) < _LEAST_SAID:
        return None
    asked, answered = map(languages, texts)
    if not asked or not answered:
        return None
    own, other = max(asked, key=asked.__getitem__), max(answered, key=answered.__getitem__)
    sure = asked[own] >= _SURE and answered[other] >= _SURE
    apart = answered.get(own, 0) < _UNLIKELY and asked.get(other, 0) < _UNLIKELY
    return f"asked in '{own}', answered in '{other}'" if sure and apart else None


def _letters(text: str) -> int:
    return sum(letter.isalpha() for letter in text)
