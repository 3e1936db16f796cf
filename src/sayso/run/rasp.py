"""Act: run RASP programs, from a file on an input, or statement by statement in a console."""

import re
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TextIO

from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.life import name_from
from sayso.base.ranges import Options
from sayso.base.terminal import Terminal
from sayso.rasp.draw import Step, as_svg, as_text, steps
from sayso.rasp.evaluation import Defined, Result
from sayso.rasp.expression import Selector, SOp
from sayso.rasp.operations import evaluate
from sayso.rasp.repl import Repl
from sayso.rasp.scope import Evaluated, Item, described
from sayso.rasp.session import Session
from sayso.rasp.show import evaluated_lines
from sayso.rasp.values import Value


@dataclass(frozen=True)
class Rasp(Options):
    """Options of `sayso rasp`."""

    file: str | None = None
    """Program to run: a file, or the name of a program of the library. Default: read statements from the terminal."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life, where drawings are written."""
    input: str | None = None
    """Input whose characters are the tokens; prints only the result."""
    values: tuple[str, ...] = ()
    """Input with a value per position, such as 3 1 2, or words; numbers where they look like numbers."""
    result: str | None = None
    """Expression to evaluate on the input. Default: the last s-op or selector that the program defines."""
    causal: bool = False
    """Use the causal dialect, in which a position sees only itself and earlier positions."""
    draw: bool = False
    """Draw how the result is computed; write this, and each drawing of the program, as SVG to drawings/ in the life."""


@dataclass(frozen=True)
class Ran:
    """What a program computed."""

    values: list[Value] | None = None
    """The values of an s-op, one per position."""
    rows: list[list[bool]] | None = None
    """The rows of a selector."""
    drawings: tuple[Path, ...] = ()
    """The files that were written."""


def rasp(options: Rasp, source: TextIO | None = None, target: TextIO | None = None) -> Ran:
    """Run a RASP program, or start the console of the language."""
    given = _input(options)
    written: list[Path] = []

    def save(name: str, drawn: list[Step]) -> str:
        written.append(_new_path(options.life / "drawings", name))
        write_atomic(written[-1], as_svg(drawn, f"{name}: {drawn[-1].text}"))
        return f"Wrote {written[-1]}."

    session = Session(causal=options.causal)
    console = Repl(session, Terminal(source, target), save if options.draw else None)
    if given is None:
        if options.file is not None:
            console.show(session.file(options.file))
        else:
            console.run()
        return Ran(drawings=tuple(written))
    results = session.file(options.file) if options.file is not None else []
    place = f"'{options.file}'"
    name, program = program_of(session, results, options.result, place)
    with session.placing():
        found = evaluate(program, given, causal=options.causal)
    if options.draw:
        drawn = steps(program, given, causal=options.causal)
        console.terminal.write(f"{as_text(drawn)}\n\t {save(name, drawn)}\n")
    console.terminal.write("".join(f"{line}\n" for line in evaluated_lines(found)))
    return _ran(found, written)


def _input(options: Rasp) -> Item:
    """Return the input as the language has it, or None."""
    if options.input is not None and options.values:
        raise UserError("An input is either --input or --values; omit one of them.")
    if options.input is None and not options.values:
        if options.result is not None:
            raise UserError(f"--result needs an input to evaluate '{options.result}' on; add --input or --values.")
        return None
    if options.file is None and options.result is None:
        raise UserError("An input needs a program: give a FILE, or an expression with --result.")
    return options.input if options.input is not None else [value_of(word) for word in options.values]


def value_of(word: str) -> Value:
    """Return an argument as a number if it looks like one, else as it is."""
    if re.fullmatch(r"-?\d+", word):
        return int(word)
    return Fraction(word) if re.fullmatch(r"-?\d+\.\d+", word) else word


def program_of(
    session: Session, results: list[Result], expression: str | None, place: str
) -> tuple[str, SOp | Selector]:
    """Return the s-op or selector to evaluate, and its name: an expression, or the last that the results define.

    Raises `UserError` if there is none; `place` says where it was to be.
    """
    if expression is not None:
        place, results = "--result", session.text(f"{expression.rstrip('; ')};", "--result")
    defined = [one for one in results if isinstance(one, Defined)]
    programs = [(one.name, one.item) for one in defined if isinstance(one.item, SOp | Selector)]
    if not programs:
        got = f"; got {described(defined[-1].item)}" if defined and expression else ""
        raise UserError(f"{place} must give an s-op or a selector to evaluate on the input{got}.")
    return programs[-1]


def _new_path(folder: Path, name: str) -> Path:
    """Return the path of a new file, numbered where the name is taken."""
    names = (f"{name_from(name)}{'' if number == 1 else f'-{number}'}.svg" for number in range(1, 10**6))
    return next(path for path in map(folder.joinpath, names) if not path.exists())


def _ran(found: Evaluated, written: list[Path]) -> Ran:
    values = None if found.values is None else list(found.values)
    rows = None if found.rows is None else [list(row) for row in found.rows]
    return Ran(values, rows, tuple(written))
