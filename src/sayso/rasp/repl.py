"""The console of the RASP language: reads statements from a terminal or a pipe, and prints what each gives.

Errors are printed and the console goes on; from a pipe, the first one ends it.
"""

from collections.abc import Callable, Sequence

from sayso.base.errors import UserError
from sayso.base.terminal import Terminal
from sayso.rasp.draw import Step, as_text, steps
from sayso.rasp.evaluation import Command, Drawn, Result
from sayso.rasp.expression import Expression, Selector
from sayso.rasp.scope import Item
from sayso.rasp.session import EXAMPLE, Reader, Session
from sayso.rasp.show import evaluated_lines, item_lines

PROMPT, CONTINUED = ">> ", ".. "
KINDS = ("s-op", "selector")


class Repl:
    """A session with the examples on which it shows s-ops and selectors; `save` gets the steps of each drawing."""

    def __init__(self, session: Session, terminal: Terminal, save: Callable[[str, list[Step]], object] | None) -> None:
        self.session, self.terminal, self.save = session, terminal, save
        self.examples: dict[str, Item] = dict.fromkeys(KINDS, EXAMPLE)
        self.shows = dict.fromkeys(KINDS, True)
        self.verbose = False

    def run(self) -> None:
        """Read and run statements until the input ends, or `exit`."""
        reader = Reader()
        line: str | None = ""
        if self.terminal.live:
            self.terminal.note(f'running example is: {EXAMPLE}. "exit" or Ctrl-D ends; docs/rasp.md has the language.')
        while True:
            try:
                line = self.terminal.read(CONTINUED if reader.waiting else PROMPT)
                if line is None:
                    reader.finish()
                    return
                results = reader.feed(line, self.session) or []
                if any(isinstance(result, Command) and result.name == "exit" for result in results):
                    return
                self.show(results)
            except KeyboardInterrupt:
                if not self.terminal.live:
                    raise
                reader = Reader(line=reader.line)
                self.terminal.write("\n")
            except UserError as error:
                if not self.terminal.live:
                    raise
                self.terminal.note(str(error))
                if line is None:
                    return

    def show(self, results: Sequence[Result]) -> None:
        """Print the results of statements, and obey commands."""
        for result in results:
            if isinstance(result, Command):
                lines = self._obey(result)
            elif isinstance(result, Drawn):
                lines = self._drawn(result)
            else:
                settings = {"causal": self.session.causal, "verbose": self.verbose}
                lines = item_lines(result.name, result.item, self._example, **settings)
            self.terminal.write("".join(f"{line}\n" for line in lines))

    def _example(self, expression: Expression) -> Item:
        kind = "selector" if isinstance(expression, Selector) else "s-op"
        return self.examples[kind] if self.shows[kind] else None

    def _obey(self, command: Command) -> list[str]:
        kinds = [command.subset] if command.subset else list(KINDS)
        if command.name == "set":
            self.examples |= dict.fromkeys(kinds, command.value)
        elif command.name == "examples":
            self.shows |= dict.fromkeys(kinds, command.rest == "on")
        elif command.name == "display":
            self.verbose = command.rest == "on"
        elif command.name == "show":
            quoted = {kind: self.examples[kind] for kind in kinds}
            return [f"\t{kind} example: {_quoted(example)}" for kind, example in quoted.items()]
        return []

    def _drawn(self, result: Drawn) -> list[str]:
        sequence = self._drawn_example(result) if result.sequence is None else result.sequence
        with self.session.placing():
            drawn = steps(result.item, sequence, causal=self.session.causal)
        saved = self.save(result.name, drawn) if self.save else None
        final = evaluated_lines(drawn[-1].found, verbose=self.verbose)
        return [as_text(drawn), *final, *([f"\t {saved}"] if saved else [])]

    def _drawn_example(self, result: Drawn) -> Item:
        return self.examples["selector" if isinstance(result.item, Selector) else "s-op"]


def _quoted(example: Item) -> str:
    return f'"{example}"' if isinstance(example, str) else str(example)
