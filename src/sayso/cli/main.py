"""Entry point of the `sayso` command: takes the arguments, returns an exit code.

0: success. 2: invalid input (one sentence on standard error, no traceback). 130: stopped by Ctrl-C. Anything else is a
bug and keeps its traceback.
"""

import sys
from collections.abc import Sequence

import cyclopts
from rich.console import Console

from sayso import __version__
from sayso.base.errors import ListError, UserError, nearest
from sayso.cli.allocator import keep_memory
from sayso.cli.commands import build_app
from sayso.cli.failures import failure_sentence
from sayso.cli.settings import sources, split_config, valid
from sayso.cli.streams import close_output, fit_width, open_streams
from sayso.run.acts import COMMANDS

HELP = "The whole life of a language model, from raw text to an assistant that learns from its ratings."
EPILOGUE = (
    "Flags override environment variables (SAYSO_PRETRAIN_DEPTH, SAYSO_LIFE), which override --config FILE.toml, which "
    "overrides the defaults. A value that is derived is printed. To run every stage on a small model, use sayso demo."
)

_MAX_LENGTH = 2000  # characters of a line; longer ones quote very long values


def main() -> None:
    """Run the command line of this process and exit."""
    open_streams()
    if trains(sys.argv[1:]):
        keep_memory()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `sayso ... | head`: the reader closed the pipe
        close_output()
        code = 0
    except OSError as error:  # of the flush: `run` reports those of the act
        close_output()
        code = _report(f"Standard output could not be written ({error.strerror}).")
    sys.exit(code)


def trains(arguments: Sequence[str]) -> bool:
    """Whether the command in these arguments trains; imports no act."""
    try:
        words, _ = split_config(arguments)
    except UserError:  # reported when the command runs
        return False
    return any(command.trains and words[: len(command.words)] == command.words for command in COMMANDS)


def run(tokens: Sequence[str]) -> int:
    """Run one command from its arguments; return the exit code.

    A user's mistake is reported on standard error in one sentence; a bug raises.
    """
    try:
        fit_width()
        words, config = split_config(valid(tokens))
        app = build_app(words, version=__version__, help=HELP, help_epilogue=EPILOGUE, config=sources(config))
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
        return 0
    except KeyboardInterrupt:
        return _report("Stopped.", code=130)
    except BrokenPipeError:
        raise
    except cyclopts.UnknownCommandError as error:
        return _report(_unknown(words, error.unused_tokens or []))
    except cyclopts.UnusedCliTokensError as error:
        return _report(_unused(words, error.unused_tokens or []))
    except cyclopts.CycloptsError as error:
        return _report(str(error))
    except Exception as error:
        message = str(error) if isinstance(error, UserError) else failure_sentence(error)
        if message is None:
            raise
        return _report(*(message.splitlines() if isinstance(error, ListError) else [message]))


def _unknown(words: Sequence[str], unused: Sequence[str]) -> str:
    known = [command.name for command in COMMANDS]
    typed = " ".join(words[: len(words) - len(unused) + 1])
    kind = "flag" if typed.startswith("-") else "command"
    return f"There is no {kind} '{typed}'.{nearest(typed, known)} The commands are {', '.join(known)}."


def _unused(words: Sequence[str], unused: Sequence[str]) -> str:
    name = next((command.name for command in COMMANDS if list(words[: len(command.words)]) == command.words), "")
    command = f"sayso {name}".strip()
    return f"'{command}' cannot use '{unused[0]}', which follows no flag; '{command} --help' lists the flags."


def _report(*lines: str, code: int = 2) -> int:
    message = "\n".join(map(_line, lines))
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"sayso: {message}", markup=False)
    return code


def _line(text: str) -> str:
    line = " ".join(text.splitlines())
    if len(line) > _MAX_LENGTH:
        line = f"{line[: _MAX_LENGTH // 2]} ... {line[-_MAX_LENGTH // 2 :]}"
    return line
