"""A session of the RASP language: takes lines, whole files or text, runs their statements, and returns the results.

A file sees the language's names and the library's basic functions, not those of who loads it; who loads it gets all of
its names but those that begin with "_". Commands such as `set example "abc"` stand alone on a line, without ";".
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from sayso.base.errors import UserError, nearest
from sayso.rasp.errors import Place, ProgramError
from sayso.rasp.evaluation import Command, Defined, Evaluation, Result
from sayso.rasp.expression import Expression
from sayso.rasp.grammar import UnfinishedError, parse
from sayso.rasp.interpreter import EvaluationError
from sayso.rasp.operations import as_input, language
from sayso.rasp.scope import Scope, Source

LIBRARY = Path(__file__).parent / "library"
BASICS = "basics"
EXAMPLE = "hello"
_SUBSET = r"(?:(?P<subset>s-op|selector)\s+)?"
_COMMANDS = (
    (rf"set\s+{_SUBSET}example\s+(?P<rest>.+?)", "set"),
    (rf"show\s+{_SUBSET}example", "show"),
    (rf"{_SUBSET}examples\s+(?P<rest>on|off)", "examples"),
    (r"full\s+seq\s+display\s+(?P<rest>on|off)", "display"),
    (r"(?:exit|quit)(?:\(\))?", "exit"),
)


def library_names() -> list[str]:
    """Return the programs that come with the package."""
    return sorted(path.stem for path in LIBRARY.glob("*.rasp") if path.stem != BASICS)


@dataclass(eq=False)
class Reader:
    """Collects lines until they make whole statements; `source` names them in messages."""

    source: str = "input"
    line: int = 0
    """Number of lines read so far."""
    waiting: list[str] = field(default_factory=list)

    def feed(self, line: str, session: "Session") -> list[Result] | None:
        """Run a line; return its results, or None if the statement goes on. Raises `ProgramError`."""
        self.line += 1
        command = None if self.waiting else _command(line)
        if command:
            return [session.prepared(command, Source(self.source, line, self.line - 1))]
        self.waiting.append(line)
        text, before = "\n".join(self.waiting), self.line - len(self.waiting)
        try:
            tree = parse(text, self.source, before)
        except UnfinishedError:
            return None
        except ProgramError:
            self.waiting = []
            raise
        self.waiting = []
        return [*session.evaluation(Source(self.source, text, before)).statements(tree)]

    def finish(self) -> None:
        """Raise `UnfinishedError` if a statement is not finished."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            parse("\n".join(waiting), self.source, self.line - len(waiting))


class Session:
    """Names defined so far, and how files are found: next to the file that loads them, here, or in the library."""

    def __init__(self, *, causal: bool = False, base: Scope | None = None) -> None:
        self.causal = causal
        self.places: dict[Expression, Place] = {}
        self._loading: list[Path] = []
        self.base = base or _with_basics()
        self.scope = Scope(self.base)

    def text(self, text: str, name: str = "input") -> list[Result]:
        """Run a program's text; return its results in order."""
        return list(self._lines(text.split("\n"), name))

    def file(self, name: str | Path) -> list[Result]:
        """Run a file or a program of the library as if its lines had been typed; return its results in order."""
        path = self._found(str(name))
        with self._entered(path):
            return list(self._lines(_read(path).split("\n"), path.name))

    def load(self, name: str, target: Scope) -> list[Result]:
        """Run a file in a scope of its own, and give its public names to another.

        Raises `UserError` if there is no such file, or if it is being loaded already.
        """
        path = self._found(name)
        outer, self.scope = self.scope, Scope(self.base, owner=path.stem)
        try:
            with self._entered(path):
                results = list(self._lines(_read(path).split("\n"), path.name))
            given = {
                name: item for name, item in self.scope.items.items() if not name.startswith("_") and name != "out"
            }
        finally:
            self.scope = outer
        for one, item in given.items():
            target.set(one, item)
        last = {result.name: result for result in results if isinstance(result, Defined)}
        told = (one for one in results if not isinstance(one, Defined) or one is last[one.name])
        return [one for one in told if one.name in given or (not isinstance(one, Defined) and one.name != "exit")]

    def evaluation(self, source: Source) -> Evaluation:
        """Return what runs statements of a source in the present scope."""
        return Evaluation(self.scope, source, self.load, self.places, self.causal)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Give the error of an expression on an input the place where the expression was written."""
        try:
            yield
        except EvaluationError as error:
            place = self.places.get(error.expression)
            if place is None:
                raise
            raise ProgramError(str(error), place) from error

    def prepared(self, command: Command, source: Source) -> Command:
        """Return a command with the value of what it sets."""
        if command.name != "set":
            return command
        before = " " * source.text.index(command.rest)  # so that a caret finds its column
        tree = parse(f"{before}{command.rest}\n;", source.name, source.before)
        evaluation, (statement,) = self.evaluation(source), tree.children
        value = evaluation.item(statement.children[0])
        evaluation.placed(statement, lambda _: as_input(value))
        return replace(command, value=value)

    def _lines(self, lines: Iterable[str], name: str) -> Iterator[Result]:
        reader = Reader(name)
        for line in lines:
            results = reader.feed(line, self) or []
            yield from results
            if any(isinstance(result, Command) and result.name == "exit" for result in results):
                return
        reader.finish()

    def _found(self, name: str) -> Path:
        """Return the path of a file by its name, with or without its ending."""
        folders = [*(path.parent for path in self._loading[-1:]), Path.cwd(), LIBRARY]
        for folder in folders:
            for path in (folder / f"{name}.rasp", folder / name):
                if path.is_file():
                    return path.resolve()
        raise UserError(
            f"There is no file '{name}.rasp' here, nor a library program of this name.{nearest(name, library_names())}"
        )

    def _entered(self, path: Path) -> "_Entered":
        return _Entered(self._loading, path)


class _Entered:
    """A file on the stack of those being loaded, of which none may load itself."""

    def __init__(self, stack: list[Path], path: Path) -> None:
        self.stack, self.path = stack, path

    def __enter__(self) -> None:
        if self.path in self.stack:
            chain = [one.name for one in [*self.stack[self.stack.index(self.path) :], self.path]]
            raise UserError(f"A file cannot load itself: {' loads '.join(chain)}; remove one of these loads.")
        self.stack.append(self.path)

    def __exit__(self, *_: object) -> None:
        self.stack.pop()


@cache
def _with_basics() -> Scope:
    """Return the language's own names and the library's basic functions, to which no session assigns."""
    scope = language()
    Session(base=scope).load(BASICS, scope)
    return scope


def _command(line: str) -> Command | None:
    """Return the command on a line, if it is one."""
    text = re.sub(r'^((?:[^"#]|"[^"]*")*)#.*$', r"\1", line)  # without a comment
    for pattern, name in _COMMANDS:
        if match := re.fullmatch(rf"\s*{pattern}\s*;?\s*", text):
            found = match.groupdict()
            return Command(name, found.get("subset"), (found.get("rest") or "").strip())
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"A program must be a text file in UTF-8; '{path}' is not.") from None
