"""Cleaning: one normal form, and idempotent."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from sayso.text.clean import clean, one_line


@given(st.text(st.characters(), max_size=80) | st.text("a \t\n\r\f\u0301\u200b\xa0e", max_size=40))
def test_cleaning_is_idempotent_and_normal(text: str) -> None:
    """A cleaned text is NFC, has no control characters, can be written, and cleaning it again changes nothing."""
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert all(unicodedata.category(sign) not in ("Cc", "Cs") for sign in once if sign not in "\n\t")
    once.encode()


@given(st.text(st.characters(), max_size=60) | st.text("a \t\n\r\f\u0301\u200b\xa0e", max_size=40))
def test_the_fast_path_for_clean_text_equals_the_full_one(text: str) -> None:
    """A text is cleaned the same with and without an unclean line after it."""
    assert clean(text + "\nx") + "\ny" == clean(text + "\nx\r\ny")


def test_every_kind_of_line_end_becomes_one() -> None:
    """CR LF, CR, NEL and the Unicode separators end lines; several blank lines become one."""
    assert clean("a\r\nb\rc\x85d\u2028e\u2029f") == "a\nb\nc\nd\ne\nf"
    assert clean("a  \n\n\n\n b\t\n") == "a\n\n b"


def test_joiners_are_kept_and_invisible_characters_removed() -> None:
    """Joiners of emoji and Persian are kept; zero-width spaces, byte order marks, soft hyphens and controls go."""
    family, persian = "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert clean(f"{family} {persian}") == f"{family} {persian}"
    assert clean("\ufeffhy\xadphen\u200b \x07bell\xa0and\u202ebidi") == "hyphen bell andbidi"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    """JSON can contain half a surrogate pair; UTF-8 cannot."""
    assert clean("a\ud800b") == "a\ufffdb"


def test_one_line_has_single_spaces() -> None:
    """A chat message is one line."""
    assert one_line(" a\n\n b \t c ") == "a b c"
