"""Act: generate text from a prompt; the continuation streams to standard output."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from io import StringIO
from typing import TextIO

from sayso.base.errors import UserError
from sayso.base.ranges import Several
from sayso.base.terminal import Terminal, checked
from sayso.reply.conversation import Replier
from sayso.reply.speaking import GenerationOptions, open_replier, with_breakers
from sayso.sample.sampling import Sampling

_RULE = "\n---\n"  # separator between several texts


@dataclass(frozen=True)
class Generate(GenerationOptions):
    """Options of `sayso generate`."""

    prompt: str | None = None
    """Prompt. Default: read from standard input."""
    _: KW_ONLY
    count: Several = 1
    """Number of texts to generate."""
    raw: bool = False
    """Continue the prompt as plain text. Always on for base models and models without a chat template."""
    stop: tuple[str, ...] = ()
    """Stop sequences; they are not part of the output."""


def generate(options: Generate, target: TextIO | None = None) -> list[str]:
    """Generate text from a prompt."""
    sampling = options.sampling(options.stop)
    replier, folder, other = open_replier(options)
    sampling = with_breakers(sampling, replier.tokenizer)
    prompt = _read() if options.prompt is None else options.prompt
    terminal = Terminal(StringIO(), target)  # not interactive, so notes go to standard error
    if other:
        terminal.note(other)
    raw = options.raw or folder.name == "base" or not replier.converses
    written = []
    for number, text in enumerate(_texts(replier, prompt, sampling, options.count, raw)):
        terminal.write(_RULE if number else "")
        written.append("")
        for piece in text:
            written[-1] += piece
            terminal.write(piece)
    terminal.write("\n")
    return written


def _read() -> str:
    """Return the prompt from standard input; raise `UserError` at a terminal, where nothing is piped in."""
    if sys.stdin.isatty():
        raise UserError('A prompt is required: pass it as an argument, such as sayso generate "Hi", or pipe it in.')
    return checked(sys.stdin.read())


def _texts(replier: Replier, prompt: str, sampling: Sampling, count: int, raw: bool) -> Iterator[Iterable[str]]:
    """Yield each text as pieces: a single one streams, several are decoded in one batch."""
    messages = [{"role": "user", "content": prompt}]
    if count == 1:
        yield replier.stream_text(prompt, sampling) if raw else replier.stream(messages, sampling)
    elif raw:
        yield from ([reply.text] for reply in replier.complete([prompt] * count, sampling))
    else:
        yield from ([reply.text] for reply in replier.replies([messages] * count, sampling))
