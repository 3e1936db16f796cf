"""HTML elements of the report (section, table, placeholder), and number formatting."""

from collections.abc import Sequence
from html import escape


def section(name: str, title: str, *parts: str) -> str:
    """Return a titled section of the page."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def caption(text: str) -> str:
    """Return the sentence that states what a chart shows; `text` is markup."""
    return f'<p class="caption">{text}</p>'


def missing(what: str, command: str) -> str:
    """Return the placeholder of a section without data, with the command that creates the data."""
    return f'<p class="missing">{escape(what)} <code>{escape(command)}</code></p>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Return a table whose cells are markup; a heading that starts with ">" marks a column of numbers."""
    numeric = [head.startswith(">") for head in heads]
    top = "".join(_cell("th", escape(head.lstrip(">")), number) for head, number in zip(heads, numeric, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell('td', cell, number) for cell, number in zip(row, numeric, strict=True))}</tr>"
        for row in rows
    )
    content = f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="wide" tabindex="0">{content}</div>'  # tabindex makes it scrollable by keyboard


def source_name(source: dict[str, object]) -> str:
    """Return a source's name; for a path or an address, its last part."""
    return escape(str(source["name"]).rstrip("/").split("/")[-1])


def listing(names: Sequence[str]) -> str:
    """Join names for a sentence: "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(value: float) -> str:
    """Format a large number: 940, 12,400, 3.20 million."""
    if value >= 1e9:
        return f"{value / 1e9:.2f} billion"
    return f"{value / 1e6:.2f} million" if value >= 1e6 else f"{value:,.0f}"


def size(value: float) -> str:
    """Format a number of bytes: 940 B, 12.4 kB, 3.2 MB."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value:.0f} B"


def mark(digest: str) -> str:
    """Return the beginning of a hash."""
    return f'<code class="hash">{escape(digest[:12])}</code>'


def _cell(tag: str, content: str, number: bool) -> str:
    return f'<{tag} class="n">{content}</{tag}>' if number else f"<{tag}>{content}</{tag}>"
