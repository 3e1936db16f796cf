"""One offline file: takes a view, writes the page with the numbers of its panels inside.

The page's modules become one script, and each panel a piece of base64, under the name by which the page asks for it.
"""

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.xray.pack import Panel
from sayso.xray.predictions import COLUMNS
from sayso.xray.view import View

MODULES = (
    *("unpack", "source", "place", "dom", "sampling", "why_numbers", "tokens", "embedding", "map", "block", "head"),
    *("neurons", "logits", "why", "what_if", "tour", "main"),
)
"""The page's modules, each after those that it imports."""
POSITIONS = 8
"""Positions of which a saved page has all panels: the last ones. The others have no logits and nothing on why."""


def save_page(view: View, path: Path, position: int | None = None) -> None:
    """Write the page. `position` is the one whose prediction is explained; None = the last."""
    last = view.length - 1 if position is None else view.position(position)
    chosen = range(max(0, last - POSITIONS + 1), last + 1)
    pieces = (_script(key, panel) for key, panel in panels_of(view, chosen))
    write_atomic(path, page("\n".join(pieces), bundled()))


def panels_of(view: View, positions: range) -> Iterator[tuple[str, Panel]]:
    """Yield the panels that a saved page has, each with the key under which the page looks for it."""
    config = view.network.config

    def made(kind: str, **where: Any) -> tuple[str, Panel]:
        return key_of(kind, where), view.panel(kind, **where)

    yield made("tokens")
    yield made("positions")
    yield made("heads")
    yield made("words")
    for first in range(0, view.length, COLUMNS):
        yield made("map", first=first)
    for position in range(view.length):
        yield made("embedding", position=position)
    explained = {}
    for position in positions:
        yield made("logits", position=position)
        key, why = made("why", position=position)
        yield key, why
        explained[position] = _explained(view, why, position)
    for layer in range(config.layers):
        for head in range(config.heads):
            yield made("head", layer=layer, head=head)
            for position in positions:
                yield made("written", layer=layer, head=head, position=position)
    for position, (target, contrast) in explained.items():
        with suppress(UserError):  # a quantized model has no numbers by token
            yield made("by_token", position=position, tokens=[target, contrast])
        for layer in range(config.layers):
            yield made("neurons", layer=layer, position=position, target=target, contrast=contrast)


def _explained(view: View, why: Panel, position: int) -> tuple[int, int]:
    """Return the token that the page explains by default, and the one that it compares it with."""
    candidates = [token for token, _ in why.meta["candidates"]]
    following = int(view.ids[0, position + 1]) if position + 1 < view.length else candidates[0]
    target = following if following in candidates else candidates[0]
    return target, next(token for token in candidates if token != target)


def key_of(kind: str, where: dict[str, Any]) -> str:
    """Return the key of a panel, as the page makes it."""
    values = {name: ",".join(map(str, one)) if isinstance(one, list) else one for name, one in where.items()}
    return f"{kind}?" + "&".join(f"{name}={values[name]}" for name in sorted(values))


def _script(key: str, panel: Panel) -> str:
    data = base64.b64encode(panel.packed()).decode()
    return f'<script type="text/plain" data-panel="{escape(key)}">{data}</script>'


def page(pieces: str, script: str) -> str:
    """Return the page with the styles, the script and the numbers inside."""
    text = read("index.html").replace("<!-- styles -->", f"<style>\n{read('xray.css')}</style>")
    return text.replace("<!-- scripts -->", f'{pieces}\n<script type="module">\n{script}</script>')


def linked(text: bytes) -> bytes:
    """Return the page as a server sends it, with its styles and its script at `/xray/`."""
    styles, script = (
        b'<link rel="stylesheet" href="/xray/xray.css">',
        b'<script type="module" src="/xray/main.js"></script>',
    )
    return text.replace(b"<!-- styles -->", styles).replace(b"<!-- scripts -->", script)


def bundled() -> str:
    """Return all modules as one, each in a function of its own that returns what it exports."""
    return "\n".join(_wrapped(name, read(f"{name}.js")) for name in MODULES)


def _wrapped(name: str, text: str) -> str:
    imports = re.findall(r'^import (.+?) from "\./(\w+)\.js";$', text, re.MULTILINE)
    lines = [f"const {what.replace('* as ', '')} = module_{source};" for what, source in imports]
    exported = re.findall(r"^export (?:async )?(?:function|const) (\w+)", text, re.MULTILINE)
    body = re.sub(r'^import .+? from "\./\w+\.js";\n', "", text, flags=re.MULTILINE)
    body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
    return "\n".join(
        (f"const module_{name} = (() => {{", *lines, f"{body}return {{ {', '.join(exported)} }};", "})();")
    )


def read(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("sayso.xray") / "page" / name).read_text(encoding="utf-8")
