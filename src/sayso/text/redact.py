"""Redaction of personal data in text: takes a text, returns it with a placeholder such as `[email]` for each finding.

Only what can be told from an ordinary number is redacted: by a checksum, a registered prefix, or the words before it.
Names and addresses of people are not found.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from sayso.text.checksums import iban_length, is_card, is_national_id

SECRET = re.compile(
    r"""
    \bsk-(?:[a-z]+-)*(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{20,}  # OpenAI, Anthropic
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                          # Amazon
    | \bgh[pousr]_[A-Za-z0-9]{30,} | \bgithub_pat_\w{30,}    # GitHub
    | \bglpat-[A-Za-z0-9_-]{20,}                             # GitLab
    | \bhf_[A-Za-z0-9]{30,}                                  # Hugging Face
    | \bxox[abprs]-[A-Za-z0-9-]{10,}                         # Slack
    | \bAIza[A-Za-z0-9_-]{35}                                # Google
    | \b[rs]k_live_[A-Za-z0-9]{16,}                          # Stripe
    | \beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}  # JSON web token
    | -----BEGIN\ [A-Z ]{0,20}PRIVATE\ KEY-----[\sA-Za-z0-9+/=]{16,}(?:-----END\ [A-Z ]{0,20}PRIVATE\ KEY-----)?
    """,
    re.VERBOSE,
)
"""Keys of services, by their registered prefixes."""
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_RESERVED = re.compile(r"@(?:[\w-]+\.)*example(?:\.(?:com|net|org))?$|\.(?:test|invalid|localhost)$", re.I)  # RFC 2606
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?!\w)")
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_NATIONAL = re.compile(
    r"""(?<![\w.+-])(?:
    [XYZ]\d{7}-?[A-Z] | \d{8}-?[A-Z]                                      # Spain: NIE, DNI
    | [A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]                       # Italy: codice fiscale
    | [12]\ ?\d{2}\ ?(?:0[1-9]|1[0-2])\ ?(?:\d{2}|2[AB])\ ?\d{3}\ ?\d{3}\ ?\d{2}  # France: NIR
    | \d{3}\.\d{3}\.\d{3}-\d{2}                                           # Brazil: CPF
    | \d{6}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]  # China: resident identity card
    | \d{6}[-+]\d{4}                                                      # Sweden: personnummer
    | (?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])\d{2}[-+A]\d{3}[0-9A-FHJ-NPR-Y]  # Finland: henkilötunnus
    )(?![\w-]|\.\d)""",
    re.VERBOSE,
)
_IP = re.compile(
    r"(?<![\w.:-])(?:(?:\d{1,3}\.){3}\d{1,3}|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,34}[0-9A-Fa-f])(?![\w:]|\.\d)"
)
_NUMBERED = re.compile(r"(?:\bv|\bver|version|release|section|chapter|build|§)[\s.:]*$", re.I)  # 1.2.3.4 is no address
_PHONE = re.compile(
    r"""
    (?<![\w+])\+[1-9]\d{0,3}(?:[ .\-/]{0,2}\(?\d{1,5}\)?){2,6}(?!\w|[.,]\d|%)          # international
    | (?<![\w.-])(?:1[ .-])?(?:\([2-9]\d\d\)\ ?|[2-9]\d\d[.-])\d{3}[ .-]\d{4}(?![\w-]|\.\d)  # North America
    """,
    re.VERBOSE,
)
_NAMED_PHONE = re.compile(
    r"\b(?:(?:tele)?phone|tel|mobile|cell|fax|whatsapp|telefon|handy|tel[eé]fono|t[eé]l[eé]phone"
    r"|(?:call|reach|text|ring) (?:me|us|him|her|them))\b\.?(?: (?:number|no\.?|nummer))?(?: is| at| on|:)*[ :]{0,3}"
    r"(?P<found>\(?\d[\d ()./-]{5,18}\d)(?!\w|[.,]\d)",
    re.I,
)
_YEARS = re.compile(r"(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d")


Span = tuple[int, int]


def _whole(found: re.Match[str]) -> Span:
    return found.span()


def _email(found: re.Match[str]) -> Span | None:
    return None if _RESERVED.search(found[0]) else found.span()


def _iban(found: re.Match[str]) -> Span | None:
    length = iban_length(found[0])
    return (found.start(), found.start() + length) if length else None


def _card(found: re.Match[str]) -> Span | None:
    """Return the place of a card's number, which other digits may follow, such as its date."""
    ends = [len(found[0]), *(gap.start() for gap in re.finditer("[ -]", found[0]))]
    return next(
        ((found.start(), found.start() + end) for end in sorted(ends, reverse=True) if is_card(found[0][:end])), None
    )


def _national_id(found: re.Match[str]) -> Span | None:
    return found.span() if is_national_id(found[0]) else None


def _ip_address(found: re.Match[str]) -> Span | None:
    """Return the place of a public address: those of a machine or a local network say nothing about a person."""
    try:
        public = ip_address(found[0]).is_global
    except ValueError:
        return None
    numbered = _NUMBERED.search(found.string[max(found.start() - 12, 0) : found.start()])
    return found.span() if public and not numbered else None


def _phone(found: re.Match[str]) -> Span | None:
    digits = sum(one.isdigit() for one in found[0])
    if found[0].startswith("+"):  # +12 345 678 may be an amount
        least = 8 if any(one in found[0] for one in "-(/") else 10
        return found.span() if least <= digits <= 15 else None
    return found.span()


def _named_phone(found: re.Match[str]) -> Span | None:
    digits = sum(one.isdigit() for one in found["found"])
    return found.span("found") if 7 <= digits <= 15 and not _YEARS.fullmatch(found["found"]) else None


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], Span | None]], ...] = (
    ("secret", SECRET, _whole),
    ("email", _EMAIL, _email),
    ("iban", _IBAN, _iban),
    ("card", _CARD, _card),
    ("national id", _NATIONAL, _national_id),
    ("ip address", _IP, _ip_address),
    ("phone", _PHONE, _phone),
    ("phone", _NAMED_PHONE, _named_phone),
)
"""Kinds of personal data: where one may be, and the place of one that is."""


def redact(text: str, counts: Counter[str]) -> str:
    """Return a text without personal data, and add the number of findings to `counts` by kind."""
    for kind, pattern, place in _KINDS:
        spans = [span for found in pattern.finditer(text) if (span := place(found)) is not None]
        counts[kind] += len(spans)
        for start, end in reversed(spans):
            text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def redact_all(value: Any, counts: Counter[str], keep: frozenset[str] = frozenset()) -> Any:
    """Return JSON-ready data with each text redacted, except the values of the fields in `keep`."""
    if isinstance(value, str):
        return redact(value, counts)
    if isinstance(value, Mapping):
        return {name: one if name in keep else redact_all(one, counts, keep) for name, one in value.items()}
    return [redact_all(one, counts, keep) for one in value] if isinstance(value, list | tuple) else value
