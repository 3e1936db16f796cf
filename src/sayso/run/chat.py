"""Act: chat with a model in the terminal."""

from dataclasses import dataclass
from typing import TextIO

from sayso.base.terminal import Terminal
from sayso.reply.speaking import GenerationOptions, open_replier, with_breakers
from sayso.reply.terminal_chat import TerminalChat
from sayso.text.document import Message


@dataclass(frozen=True, kw_only=True)
class Chat(GenerationOptions):
    """Options of `sayso chat`."""

    system: str | None = None
    """System prompt."""


def chat(options: Chat, source: TextIO | None = None, target: TextIO | None = None) -> list[Message]:
    """Chat with a model in the terminal."""
    sampling = options.sampling()
    replier, folder, other = open_replier(options)
    terminal = Terminal(source, target)
    if other:
        terminal.note(other)
    if terminal.live:
        size = sum(weight.numel() for weight in replier.model.parameters())
        terminal.note(f"{folder}: {size:,} parameters, context {replier.context:,} tokens. /help lists the commands.")
    talk = TerminalChat(replier, with_breakers(sampling, replier.tokenizer), terminal, options.system)
    talk.run()
    return talk.messages
