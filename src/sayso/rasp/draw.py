"""Draw how an s-op is computed on an input: takes an expression, returns text, or the same as SVG.

Each step is a row of values or a selector with keys on top and queries at the left. A step names earlier ones by their
numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sayso.base.errors import UserError
from sayso.rasp.expression import Constant, Expression, Indices, Length, Selector, SOp, Tokens
from sayso.rasp.interpreter import Trace
from sayso.rasp.notation import notation, written
from sayso.rasp.operations import as_input
from sayso.rasp.scope import Evaluated, Item
from sayso.rasp.show import matrix_lines, sequence_text, small
from sayso.rasp.values import Value

LONGEST = 64
CELL, LEFT, TITLE = 26, 60, 30
STYLE = (
    "svg{color-scheme:light dark}"
    "text{font:13px ui-monospace,monospace;fill:#1c2533}.v{text-anchor:middle}.q{text-anchor:end}.t{font-weight:600}"
    "rect{fill:#eef2f8;stroke:#c3ccd9}.on{fill:#3b6fb6}@media(prefers-color-scheme:dark){text{fill:#dfe6f0}"
    "rect{fill:#222b38;stroke:#3d4a5c}.on{fill:#7fb0ee}}"
)


@dataclass(frozen=True)
class Step:
    """A step: its number and what it computes in terms of earlier steps; its values, or the rows of a selector."""

    number: int
    text: str
    found: Evaluated


def steps(program: SOp | Selector, sequence: Item, *, causal: bool = False) -> list[Step]:
    """Return the steps of a program on an input, in order. Raises `UserError` for a long input."""
    values = as_input(sequence)
    if len(values) > LONGEST:
        raise UserError(f"A drawing shows at most {LONGEST} positions; got an input of {len(values)}.")
    trace = Trace(program, values, causal=causal)
    numbers: dict[Expression, str] = {}
    found: list[Step] = []
    for one in trace.order:
        if isinstance(one, Tokens | Indices | Length | Constant) and one is not program:
            numbers[one] = notation(one)
            continue
        text = written(one, [numbers[inner] for inner in one.inputs])
        numbers[one] = f"#{len(found) + 1}"
        found.append(Step(len(found) + 1, text, _evaluated(trace, one, values)))
    return found


def _evaluated(trace: Trace, one: Expression, values: tuple[Value, ...]) -> Evaluated:
    if isinstance(one, Selector):
        return Evaluated(values, None, tuple(map(tuple, trace.rows[one])))
    assert isinstance(one, SOp)
    return Evaluated(values, tuple(trace.values[one]))


def as_text(drawn: Sequence[Step]) -> str:
    """Return the steps as lines of text."""
    lines = []
    for step in drawn:
        if step.found.values is None:
            lines += [f" \t #{step.number} = {step.text}", *matrix_lines(step.found)]
        else:
            lines.append(f" \t #{step.number} = {step.text} = {sequence_text(step.found.values)}")
    return "\n".join(lines)


def as_svg(drawn: Sequence[Step], title: str) -> str:
    """Return the steps as an SVG picture, for light and dark pages; the title is its label."""
    labels = [small(value) for value in drawn[-1].found.sequence]
    top, parts = 8, []
    for step in drawn:
        parts.append(f'<text class="t" x="8" y="{top + 18}">#{step.number} = {escape(step.text)}</text>')
        top += TITLE
        body = _cells(step, labels, top)
        parts += body
        top += CELL * (1 + (len(labels) if step.found.values is None else 1)) + 10
    width = max(LEFT + CELL * len(labels) + 8, 16 + 8 * max(len(step.text) + 8 for step in drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _cells(step: Step, labels: Sequence[str], top: int) -> list[str]:
    """Return the labels of the columns, and below them the values or the rows."""
    parts = [_word(label, LEFT + CELL * (column + 0.5), top + 18, "v") for column, label in enumerate(labels)]
    rows = step.found.rows
    for row in range(len(labels) if rows is not None else 1):
        y = top + CELL * (row + 1)
        if rows is not None:
            parts.append(_word(labels[row], LEFT - 6, y + 18, "q"))
        for column in range(len(labels)):
            on = ' class="on"' if rows is not None and rows[row][column] else ""
            parts.append(f'<rect{on} x="{LEFT + CELL * column}" y="{y}" width="{CELL}" height="{CELL}"/>')
            if step.found.values is not None:
                parts.append(_word(small(step.found.values[column]), LEFT + CELL * (column + 0.5), y + 18, "v"))
    return parts


def _word(text: str, x: float, y: float, kind: str) -> str:
    """Return a label; a long one is compressed to fit its cell."""
    fit = f' textLength="{CELL - 4}" lengthAdjust="spacingAndGlyphs"' if len(text) > 2 and kind == "v" else ""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}"{fit}>{escape(text)}</text>'
