"""The language of a text, by langdetect, whose draws are seeded so that a text always gets the same answer."""

from functools import cache
from types import ModuleType

from sayso.base.errors import require

_CODES = """
af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl no pa pl pt ro ru sk
sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw
"""
LANGUAGES = tuple(_CODES.split())
"""The codes that `language` can return."""


def language(text: str) -> str | None:
    """Return the code of the most probable language, mostly ISO 639-1; None for a text without words.

    Raises `UserError` if langdetect is not installed.
    """
    library = _langdetect()
    try:
        return str(library.detect(text))
    except library.LangDetectException:
        return None


def languages(text: str) -> dict[str, float]:
    """Return the codes of the most probable languages with their probabilities; empty for a text without words.

    Raises `UserError` if langdetect is not installed.
    """
    library = _langdetect()
    try:
        return {one.lang: one.prob for one in library.detect_langs(text)}
    except library.LangDetectException:
        return {}


@cache
def _langdetect() -> ModuleType:
    library = require("langdetect", "judge")
    library.DetectorFactory.seed = 0
    return library
