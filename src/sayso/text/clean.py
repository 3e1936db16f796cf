"""Normalize text: NFC, line feeds, no control characters, one kind of space.

`clean` is idempotent and keeps every visible character, tabs, indentation, and the joiners that scripts and emoji need.
"""

import re
import unicodedata

# CR LF, CR, vertical tab, form feed, NEL, line and paragraph separators: all of them end a line.
LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# C0 and C1 controls except tab and newline, soft hyphen, zero-width space, word joiner, byte order mark,
# bidirectional controls and noncharacters: they are invisible and waste tokens.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
FIXED_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # possible in JSON, not in UTF-8
LINE_TAIL = re.compile(r"[ \t]+(?=\n)")
BLANK_LINES = re.compile(r"\n{3,}")
_KINDS = (LINE_END.pattern[len("\r\n|") :], INVISIBLE.pattern, FIXED_SPACE.pattern, LONE_SURROGATE.pattern)
UNCLEAN = re.compile("[" + "".join(kind[1:-1] for kind in _KINDS) + "]")


def clean(text: str) -> str:
    """Return the text in its normal form (may be empty)."""
    if _is_clean(text):
        return text.strip()
    text = LINE_END.sub("\n", text)
    text = INVISIBLE.sub("", text)
    text = LONE_SURROGATE.sub("\ufffd", text)
    text = FIXED_SPACE.sub(" ", text)
    text = unicodedata.normalize("NFC", text)
    text = LINE_TAIL.sub("", text)
    return BLANK_LINES.sub("\n\n", text).strip()


def _is_clean(text: str) -> bool:
    """Whether a text only needs stripping: most do, and this check is much faster than cleaning."""
    if " \n" in text or "\t\n" in text or "\n\n\n" in text or UNCLEAN.search(text):
        return False
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def one_line(text: str) -> str:
    """Return cleaned text as a single line."""
    return " ".join(clean(text).split())
