"""Whether a reply repeats itself.

Units are words, and single characters in scripts without blanks; case counts nothing. The share of repeated n-grams is
seq-rep-n of Welleck et al. (2020, arXiv 1908.04319).
"""

import re
from collections.abc import Sequence

_UNIT = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")
_COPIES = 3  # of the same units in a row make a loop
_LOOP = 6  # least number of units of a loop
_LONGEST = 200  # units of one copy


def units(text: str) -> list[str]:
    """Return the units of a text in lower case, without punctuation."""
    return _UNIT.findall(text.lower())


def repeated_share(text: str, n: int = 4) -> float:
    """Return the share of n-grams that occurred earlier in the text, from 0 to 1; 0 for a text without any."""
    found = units(text)
    ngrams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return 1 - len({*ngrams}) / len(ngrams) if ngrams else 0.0


def ends_in_loop(text: str, *, ended: bool = True) -> bool:
    """Whether a text ends with three or more copies of the same units, at least six units in all.

    Of a text that was cut (not `ended`), the last unit may be incomplete and is left out.
    """
    found = units(text)
    found = found if ended else found[:-1]
    for period in range(1, len(found) // _COPIES + 1):
        length = period
        while length < len(found) and found[-length - 1] == found[-length - 1 + period]:
            length += 1
        if length >= max(_LOOP, _COPIES * period):
            return True
    return False


def repeated(found: Sequence[str], copies: int, least: int) -> list[str] | None:
    """Return the units that a text has `copies` times or more in a row anywhere, `least` units or more in all.

    The shortest such units; None if there are none.
    """
    for period in range(1, min(_LONGEST, len(found) // copies) + 1):
        length = period
        for place in range(period, len(found)):
            length = length + 1 if found[place] == found[place - period] else period
            if length >= max(least, copies * period):
                return list(found[place - period + 1 : place + 1])
    return None
