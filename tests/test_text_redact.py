"""Redaction of personal data: each kind is found, and ordinary numbers are not."""

import random
from collections import Counter

import pytest

from sayso.text.checksums import iban_length, is_card, is_national_id, luhn
from sayso.text.redact import redact, redact_all

FOUND = [  # examples of the issuers, and numbers with right check digits
    ("email", "Write to ann.lee+news@mail.co.uk, please.", "Write to [email], please."),
    ("email", "jürgen@bücher.de", "[email]"),
    ("email", "<bob@firm.io>;", "<[email]>;"),
    ("phone", "Call +49 30 901820-12!", "Call [phone]!"),
    ("phone", "+1 (212) 736-5000", "[phone]"),
    ("phone", "+4915112345678.", "[phone]."),
    ("phone", "It is (212) 736-5000.", "It is [phone]."),
    ("phone", "212-736-5000 or 212.736.5000", "[phone] or [phone]"),
    ("phone", "My phone number is 030 901820, thanks", "My phone number is [phone], thanks"),
    ("phone", "call me at 020 7946 0958", "call me at [phone]"),
    ("phone", "Tel.: 0171/2345678", "Tel.: [phone]"),
    ("card", "4111 1111 1111 1111", "[card]"),
    ("card", "card 4111-1111-1111-1111, 12/26", "card [card], 12/26"),
    ("card", "378282246310005 and 3782 822463 10005", "[card] and [card]"),
    ("card", "5555555555554444", "[card]"),
    ("card", "4111 1111 1111 1111 12/26", "[card] 12/26"),
    ("iban", "DE89 3704 0044 0532 0130 00", "[iban]"),
    ("iban", "to GB82WEST12345698765432 AND back", "to [iban] AND back"),
    ("iban", "FR14 2004 1010 0505 0001 3M02 606, NO93 8601 1117 947", "[iban], [iban]"),
    ("ip address", "from 8.8.8.8, port 53", "from [ip address], port 53"),
    ("ip address", "2001:4860:4860::8888 answered", "[ip address] answered"),
    ("national id", "DNI 12345678Z, NIE X1234567L", "DNI [national id], NIE [national id]"),
    ("national id", "RSSMRA85T10A562S", "[national id]"),
    ("national id", "2 55 08 14 168 025 38", "[national id]"),
    ("national id", "529.982.247-25", "[national id]"),
    ("national id", "11010519491231002X", "[national id]"),
    ("national id", "811218-9876 or 131052-308T", "[national id] or [national id]"),
    ("secret", "key sk-proj-abcdefghij0123456789ABCDEF.", "key [secret]."),
    ("secret", "AKIAIOSFODNN7EXAMPLE", "[secret]"),
    ("secret", "ghp_" + "a1B2" * 9, "[secret]"),
    ("secret", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "[secret]"),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7b\n-----END RSA PRIVATE KEY-----\n", "[secret]\n"),
]  # fmt: skip
ORDINARY = [
    "In 2019-2020 it grew from 1,234,567 to 12,345,678, or +12 345 678.",
    "Pi is 3.14159265358979323846, e is 2.718281828459045.",
    "The answer is 1234567890123456, or 4111 1111 1111 1112.",
    "ISBN 978-3-16-148410-0 costs 49.99.",
    "On 2026-11-29 at 12:30:45.123456 UTC, 1732883445 s after the epoch, or 1732883445123 ms.",
    "Version 1.2.3.4 replaces v8.8.8.8; section 4.3.2.1 says why.",
    "It listens on 127.0.0.1:8000, 192.168.0.1 and ::1; the mask is 255.255.255.0.",
    "std::vector<int> a::b; time 10::30; dead:beef",
    "The phone 2019-2020 model has 12000000 pixels; mobile games 3000.",
    "Order 12345678A, room 212-736, part 811218-9875, code 123.456.789-00, DE12 apples.",
    "user@localhost, @name, a@b, me@example.com, twitter.com/@cat",
    "40 123 456 789 012 people; 5 + 12345678 = 12345683; x-1234567890",
    "4006381333931 is a barcode, 1111111111111111 and 0000 0000 0000 0000 are no cards.",
    "sk-ilful, sk-your-key-goes-right-here-please, hf_short, ghp_x, AKIA1234",
    "DE89 3704 0044 0532 0130 01, XX89 3704 0044 0532 0130 00",
    "10.1000/182 and 2001:db8::1 are for documents; 999.999.999.999 is nothing.",
    "Tesla's 2 55 08 14 168 025 39; 131052-308U; RSSMRA85T10A562T",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "wanted"), FOUND)
def test_personal_data_is_redacted(kind: str, text: str, wanted: str) -> None:
    """By kind, and the text around it is unchanged; a second time nothing is found."""
    counts = Counter[str]()
    assert redact(text, counts) == wanted
    assert +counts == {kind: wanted.count(f"[{kind}]")}
    again = Counter[str]()
    assert (redact(wanted, again), +again) == (wanted, {})


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Numbers, dates, versions, codes and reserved names are no personal data."""
    counts = Counter[str]()
    assert (redact(text, counts), +counts) == (text, {})


def test_random_numbers_are_rarely_redacted() -> None:
    """Of 20,000 numbers of 1 to 12 digits with separators of thousands, none; of 16 digits, about 3 in 100.

    A number of 16 digits begins like that of a known issuer in 30 of 100 cases, of which Luhn's digit fits a tenth.
    """
    draw = random.Random(0)
    counts = Counter[str]()
    for _ in range(20_000):
        number = draw.randrange(10 ** draw.randint(1, 12))
        for text in (f"It has {number} parts", f"It has {number:,} parts", f"It cost {number / 100:.2f}"):
            assert redact(text, counts) == text
    assert not +counts
    for _ in range(20_000):
        redact(f"It has {draw.randrange(10**15, 10**16)} parts", counts)
    assert counts["card"] / 20_000 == pytest.approx(0.03, rel=0.15)
    assert {*+counts} == {"card"}


def test_a_changed_digit_fails_each_checksum() -> None:
    """Every change of one digit of a card's number, of an account's, and of national numbers with a key."""

    def changed(text: str) -> list[str]:
        places = [place for place, one in enumerate(text) if one.isdigit()]
        others = [(place, one) for place in places for one in "0123456789" if one != text[place]]
        return [text[:place] + one + text[place + 1 :] for place, one in others]

    assert luhn("4111111111111111")
    assert not any(luhn(one) for one in changed("4111111111111111"))
    assert not any(is_card(one) for one in changed("5555555555554444"))
    assert not any(iban_length(one) for one in changed("DE89370400440532013000"))
    for number in ("12345678Z", "529.982.247-25", "11010519491231002X", "255081416802538"):
        assert is_national_id(number)
        assert not any(is_national_id(one) for one in changed(number))


def test_data_is_redacted_at_any_depth() -> None:
    """Except the fields that are kept."""
    counts = Counter[str]()
    row = {"messages": [{"role": "a@b.de", "content": "a@b.de", "weight": 0}], "good": True, "none": None}
    assert redact_all(row, counts, frozenset({"role"})) == {
        "messages": [{"role": "a@b.de", "content": "[email]", "weight": 0}], "good": True, "none": None,
    }  # fmt: skip
    assert +counts == {"email": 1}


@pytest.mark.parametrize("unit", ["a", "1", "1 ", "a@", "1.", ":1", "+1 ", "phone ", "A1", "-----BEGIN "])
def test_long_texts_take_linear_time(unit: str) -> None:
    """A text of 100,000 characters takes a moment, and minutes with a pattern that backtracks over all of it."""
    text = unit * (100_000 // len(unit))
    assert redact(text, Counter())
