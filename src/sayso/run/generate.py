"""Continue a prompt: one text comes in, what a model says next streams to standard output."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from io import StringIO
from typing import TextIO

from sayso.base.errors import UserError
from sayso.base.ranges import Several
from sayso.reply.conversation import Replier
from sayso.reply.speaking import GenerationOptions, open_replier, with_breakers
from sayso.run.terminal import Terminal, checked
from sayso.sample.sampling import Sampling

RULE = "\n---\n"  # between the texts when there are several


@dataclass(frozen=True)
class Generate(GenerationOptions):
    """Continue a prompt."""

    prompt: str | None = None
    """What the model is given; read from standard input when left away."""
    _: KW_ONLY
    count: Several = 1
    """How many texts to write."""
    raw: bool = False
    """Continue the prompt as plain text, not a question; one without chat template, or a base model, always does."""
    stop: tuple[str, ...] = ()
    """Texts that end a reply; they are not written."""


def generate(options: Generate, target: TextIO | None = None) -> list[str]:
    """Continue a prompt."""
    sampling = options.sampling(options.stop)
    replier, folder, other = open_replier(options)
    sampling = with_breakers(sampling, replier.tokenizer)
    prompt = _read() if options.prompt is None else options.prompt
    terminal = Terminal(StringIO(), target)  # nobody types here, so that notes go to standard error
    if other:
        terminal.note(other)
    raw = options.raw or folder.name == "base" or not replier.converses
    written = []
    for number, text in enumerate(_texts(replier, prompt, sampling, options.count, raw)):
        terminal.write(RULE if number else "")
        written.append("")
        for piece in text:
            written[-1] += piece
            terminal.write(piece)
    terminal.write("\n")
    return written


def _read() -> str:
    """Return the prompt that is piped in; a person at a terminal would wait for nothing and is told so."""
    if sys.stdin.isatty():
        raise UserError('generate needs a prompt and got none: write it behind the command, as in sayso generate "Hi".')
    return checked(sys.stdin.read())


def _texts(replier: Replier, prompt: str, sampling: Sampling, count: int, raw: bool) -> Iterator[Iterable[str]]:
    """Yield each text as pieces: a single one streams, several are decoded side by side."""
    messages = [{"role": "user", "content": prompt}]
    if count == 1:
        yield replier.stream_text(prompt, sampling) if raw else replier.stream(messages, sampling)
    elif raw:
        yield from ([reply.text] for reply in replier.complete([prompt] * count, sampling))
    else:
        yield from ([reply.text] for reply in replier.replies([messages] * count, sampling))
