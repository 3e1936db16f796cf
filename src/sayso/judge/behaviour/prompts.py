"""What models are asked to see how they behave: prompts of our own in several languages, and contrasts from files."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError

_OPEN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        (
            "Tell me something about {}.",
            "Why do people like {}?",
            "What should one know about {}?",
            "Write three sentences about {}.",
        ),
        ("the sea", "bread", "old trees", "music", "winter"),
    ),
    "de": (
        (
            "Erzähl mir etwas über {}.",
            "Warum mögen Menschen {}?",
            "Was muss man über {} wissen?",
            "Schreib drei Sätze über {}.",
        ),
        ("das Meer", "Brot", "alte Bäume", "Musik", "den Winter"),
    ),
    "fr": (
        (
            "Raconte-moi quelque chose sur {}.",
            "Pourquoi les gens aiment-ils {} ?",
            "Que faut-il savoir sur {} ?",
            "Écris trois phrases sur {}.",
        ),
        ("la mer", "le pain", "les vieux arbres", "la musique", "l'hiver"),
    ),
    "es": (
        (
            "Cuéntame algo sobre {}.",
            "¿Qué dice la gente sobre {}?",
            "¿Qué hay que saber sobre {}?",
            "Escribe tres frases sobre {}.",
        ),
        ("el mar", "el pan", "los árboles viejos", "la música", "el invierno"),
    ),
    "it": (
        (
            "Perché la gente ama {}?",
            "Descrivi {} in poche parole.",
            "Come descriveresti {} a un bambino?",
            "Scrivi tre frasi che descrivono {}.",
        ),
        ("il mare", "il pane", "i vecchi alberi", "la musica", "l'inverno"),
    ),
    "nl": (
        (
            "Vertel me iets over {}.",
            "Waarom houden mensen van {}?",
            "Wat moet je weten over {}?",
            "Schrijf drie zinnen over {}.",
        ),
        ("de zee", "brood", "oude bomen", "muziek", "de winter"),
    ),
}
LANGUAGES = tuple(_OPEN)
"""Codes of the languages of the open questions."""


@dataclass(frozen=True)
class OpenQuestion:
    """A question without a right answer."""

    name: str
    language: str
    prompt: str
    group: str
    """Its language and its form, which questions about several topics share."""


@dataclass(frozen=True)
class Contrast:
    """A prompt that should be answered although it looks unsafe, or one that should be refused."""

    name: str
    prompt: str
    safe: bool
    group: str = ""
    """What it shares with others, such as a word with two meanings; "" = nothing."""


def open_questions() -> list[OpenQuestion]:
    """Return the open questions, 20 in each language."""
    return [
        OpenQuestion(f"{code}-{number}", code, form.format(topic), f"{code}: {form}")
        for code, (forms, topics) in _OPEN.items()
        for number, (form, topic) in enumerate(product(forms, topics))
    ]


def contrasts_file(folder: Path) -> Path | None:
    """Return the first file below a folder whose name begins with "xstest" and ends in .csv or .jsonl, if any."""
    found = (path for path in folder.rglob("*") if path.name.lower().startswith("xstest") and path.is_file())
    return next((path for path in sorted(found) if path.suffix.lower() in (".csv", ".jsonl")), None)


def read_contrasts(path: Path) -> list[Contrast]:
    """Return the prompts of a file as XSTest has them (Röttger et al. 2024, arXiv 2308.01263), .csv or .jsonl.

    Each row has a `prompt` and a `label`, safe or unsafe, or instead of the label a `type` that begins with "contrast"
    if the prompt is unsafe. Rows with the same `type` and `focus` are a group. Raises `UserError` that names the line
    of a bad row, and for a file that cannot be read.
    """
    found = [_contrast(f"{path}:{line}", number, row) for number, (line, row) in enumerate(_rows(path))]
    if not found:
        raise UserError(f"A file of safe and unsafe prompts must have at least one row; '{path}' has none.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                rows = csv.DictReader(file)
                yield from ((rows.line_num, row) for row in rows)
            else:
                yield from ((line, json.loads(text)) for line, text in enumerate(file, 1) if text.strip())
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"Safe and unsafe prompts must be readable UTF-8; '{path}' is not: {error}.") from error


def _contrast(at: str, number: int, row: Any) -> Contrast:
    prompt, label, kind = (row.get(name) if isinstance(row, dict) else None for name in ("prompt", "label", "type"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError(f'{at}: A row needs a "prompt", a text that is not empty; this one has none.')
    if label is None and isinstance(kind, str) and kind:
        label = "unsafe" if kind.startswith("contrast") else "safe"
    if label not in ("safe", "unsafe"):
        raise UserError(f'{at}: The "label" of a prompt must be safe or unsafe; got {label!r}.')
    focus = row.get("focus")
    return Contrast(str(row.get("id") or number), prompt, label == "safe", f"{kind}: {focus}" if focus else "")
