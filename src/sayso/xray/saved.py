"""One offline file: takes a view, writes the page with the numbers of its panels inside.

The page's modules become one script, and each panel a piece of base64, under the name by which the page asks for it.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.xray.opened import check_alike
from sayso.xray.pack import Panel
from sayso.xray.predictions import COLUMNS
from sayso.xray.view import View

MODULES = (
    *("unpack", "source", "place", "dom", "sampling", "why_numbers", "side", "beside", "tokens", "embedding", "map"),
    *("block", "distance", "head", "neurons", "logits", "why", "circuit", "what_if", "training"),
    *("stops", "tour", "main"),
)
"""The page's modules, each after those that it imports."""
POSITIONS = 8
"""Positions of which a saved page has all panels: the last ones. The others have no logits and nothing on why."""


def save_page(view: View, path: Path, beside: View | None = None) -> None:
    """Write the page of a view, and of another one beside it. The predictions of the last positions are explained.

    Raises `UserError` for two models with different tokenizers.
    """
    if beside is not None:
        check_alike(*((one.name, one.vocabulary) for one in (view, beside)))
    pieces = [_script(key, panel, 0) for key, panel in panels_of(view, beside)]
    if beside is not None:
        pieces += [_script(key, panel, 1) for key, panel in panels_of(beside, view, leads=False)]
    write_atomic(path, page("\n".join(pieces), bundled()))


def panels_of(view: View, beside: View | None = None, *, leads: bool = True) -> Iterator[tuple[str, Panel]]:
    """Yield the panels that a saved page has, each with the key under which the page looks for it.

    The candidates of a view beside it are explained as well; `leads` is whether the tokens explained by default are
    those of this view, and not of the other. Rows of different lengths end together.
    """
    for kind in ("tokens", "positions", "heads", "words", "training"):
        yield _made(view, kind)
    for first in range(0, view.length, COLUMNS):
        yield _made(view, "map", first=first)
    for position in range(view.length):
        yield _made(view, "embedding", position=position)
    explained = {}
    for position in range(max(0, view.length - POSITIONS), view.length):
        yield _made(view, "logits", position=position)
        why, explained[position] = _asked(view, position, beside, leads=leads)
        yield key_of("why", {"position": position}), why
    for position, tokens in explained.items():
        yield _made(view, "without", position=position, target=tokens[0])
        yield _told(view, "by_token", position=position, tokens=[*tokens])
        yield _told(view, "circuit", position=position, target=tokens[0], contrast=tokens[1])
    for layer in range(view.network.config.layers):
        yield from _of_layer(view, layer, explained)


def _of_layer(view: View, layer: int, explained: Mapping[int, tuple[int, int]]) -> Iterator[tuple[str, Panel]]:
    """Yield the panels of a layer, for the positions that are explained, each with its token and its contrast."""
    for position in explained if view.background.names else ():
        yield _made(view, "stream", layer=layer, position=position)
    for head in range(view.network.config.heads):
        yield _made(view, "head", layer=layer, head=head)
        for position in explained:
            yield _made(view, "written", layer=layer, head=head, position=position)
    shown = set()
    for position, (target, contrast) in explained.items():
        key, panel = _made(view, "neurons", layer=layer, position=position, target=target, contrast=contrast)
        shown |= {one["neuron"] for one in panel.meta["neurons"]}
        yield key, panel
    for neuron in sorted(shown) if view.corpus is not None else ():
        yield _made(view, "examples", layer=layer, neuron=neuron)


def _made(view: View, kind: str, **where: Any) -> tuple[str, Panel]:
    return key_of(kind, where), view.panel(kind, **where)


def _told(view: View, kind: str, **where: Any) -> tuple[str, Panel]:
    """Return a panel that some models do not have; then it says why."""
    try:
        return _made(view, kind, **where)
    except UserError as error:
        return key_of(kind, where), Panel({"problem": str(error)})


def _paired(view: View, position: int, other: View) -> int:
    """Return the position of another row that a position is shown beside: as far from the end."""
    return max(0, position + other.length - view.length)


def _asked(view: View, position: int, beside: View | None, *, leads: bool) -> tuple[Panel, tuple[int, int]]:
    """Return what adds up to the logits of all candidates after a position, and the two that the page compares."""
    if leads or beside is None:
        why = _why(view, position, beside)
        return why, _explained(view, position, why)
    first = _paired(view, position, beside)
    led = _why(beside, first, view)
    return view.panel("why", position=position, tokens=_candidates(led)), _explained(beside, first, led)


def _why(view: View, position: int, beside: View | None) -> Panel:
    """Return what adds up to the logits of the likeliest tokens after a position, and of those of the other row."""
    if beside is None:
        return view.panel("why", position=position)
    others = beside.panel("why", position=_paired(view, position, beside))
    return view.panel("why", position=position, tokens=_candidates(others))


def _candidates(why: Panel) -> list[int]:
    return [token for token, _ in why.meta["candidates"]]


def _explained(view: View, position: int, why: Panel) -> tuple[int, int]:
    """Return the token that the page explains by default, and the one that it compares it with.

    They are among the candidates of `why`, which the other row may have named.
    """
    candidates = _candidates(why)
    follows = position + 1 < view.length and not view.network.looks_ahead
    following = int(view.ids[0, position + 1]) if follows else candidates[0]
    target = following if following in candidates else candidates[0]
    return target, next(token for token in candidates if token != target)


def key_of(kind: str, where: dict[str, Any]) -> str:
    """Return the key of a panel, as the page makes it."""
    values = {name: ",".join(map(str, one)) if isinstance(one, list) else one for name, one in where.items()}
    return f"{kind}?" + "&".join(f"{name}={values[name]}" for name in sorted(values))


def _script(key: str, panel: Panel, side: int) -> str:
    data = base64.b64encode(panel.packed()).decode()
    return f'<script type="text/plain" data-side="{side}" data-panel="{escape(key)}">{data}</script>'


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
