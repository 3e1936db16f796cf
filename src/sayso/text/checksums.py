"""Checksums of numbers that identify a person or an account: takes one as it is written, returns whether they hold."""

import re

_SPACING = re.compile(r"[ -]")
_CARDS = (  # issuers: how their numbers begin, and their lengths (ISO/IEC 7812)
    (re.compile(r"4"), (16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|64[4-9]|65|62|35(?:2[89]|[3-8])"), (16, 19)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14, 16, 19)),
)
# Lengths of account numbers by country (the IBAN registry of SWIFT).
_IBAN_LENGTHS = {
    code: length
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL SO OM",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "PT ST LY", 26: "IS TR", 27: "FR GR IT MC MR SM BI DJ",
        28: "AL AZ BY CY DO GT HN HU LB PL SV NI", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip
_SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
_FINNISH = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_ITALIAN_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22,
    25, 24, 23,
), strict=True))  # fmt: skip


def luhn(digits: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812-1)."""
    doubled = [int(one) * (1 + place % 2) for place, one in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


def is_card(text: str) -> bool:
    """Whether a text is the number of a payment card, of a known issuer and in the usual groups."""
    groups, digits = [len(group) for group in _SPACING.split(text)], _SPACING.sub("", text)
    usual = len(groups) == 1 or set(groups[:-1]) == {4} or groups in ([4, 6, 5], [4, 6, 4])
    issued = any(start.match(digits) and len(digits) in lengths for start, lengths in _CARDS)
    return usual and issued and len({*digits}) > 1 and luhn(digits)


def iban_length(text: str) -> int:
    """Return the length of the account number, with its blanks, with which a text begins; 0 if there is none."""
    length = _IBAN_LENGTHS.get(text[:2], 0)
    ends = [place + 1 for place, one in enumerate(text) if one != " "]
    if not length or len(ends) < length:
        return 0
    end = ends[length - 1]
    number = text[:end].replace(" ", "")
    if (
        text[end : end + 1] not in ("", " ")
        or int("".join(str(int(one, 36)) for one in number[4:] + number[:4])) % 97 != 1
    ):
        return 0
    return end


def is_national_id(text: str) -> bool:
    """Whether a text in the form of one of the national numbers in `redact` has the right check digits."""
    if re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d{2}", text):
        return _brazilian(re.sub(r"\D", "", text))
    if re.fullmatch(r"\d{6}[-+A]\d{3}[0-9A-Y]", text):
        return _finnish(text) or _swedish(text)
    bare = _SPACING.sub("", text)
    if re.fullmatch(r"[XYZ\d]\d{7}[A-Z]", bare):
        return _SPANISH[int(bare[:-1].translate(str.maketrans("XYZ", "012"))) % 23] == bare[-1]
    if re.fullmatch(r"[A-Z]{6}.{10}", bare):
        return _italian(bare)
    if len(bare) == 18:
        return "10X98765432"[sum(int(one) * 2 ** (17 - place) for place, one in enumerate(bare[:17])) % 11] == bare[17]
    return len(bare) == 15 and _french(bare)


def _brazilian(digits: str) -> bool:
    """CPF: two check digits, each by weights that fall to 2."""
    for size in (9, 10):
        total = sum(int(one) * (size + 1 - place) for place, one in enumerate(digits[:size]))
        if int(digits[size]) != total * 10 % 11 % 10:
            return False
    return len({*digits}) > 1


def _italian(code: str) -> bool:
    """Codice fiscale: a letter from the values of the characters at odd and at even places."""
    total = sum(_ITALIAN_ODD[one] for one in code[:15:2])
    total += sum(int(one) if one.isdigit() else ord(one) - ord("A") for one in code[1:15:2])
    return chr(ord("A") + total % 26) == code[15]


def _french(number: str) -> bool:
    """NIR: a key of two digits modulo 97; Corsica's departments count as 19 and 18."""
    digits = number[:13].replace("2A", "19").replace("2B", "18")
    return digits.isdigit() and 97 - int(digits) % 97 == int(number[13:])


def _finnish(text: str) -> bool:
    """Henkilötunnus: a character from day, month, year and number modulo 31."""
    return _is_day(text[2:4], text[:2]) and _FINNISH[int(text[:6] + text[7:10]) % 31] == text[10]


def _swedish(text: str) -> bool:
    """Personnummer: year, month, day and number with Luhn's digit."""
    return text[10].isdigit() and text[6] != "A" and _is_day(text[2:4], text[4:6]) and luhn(text[:6] + text[7:])


def _is_day(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31
