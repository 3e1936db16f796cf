"""Talk to a model in the terminal: a person's lines come in, streamed replies go out, until /exit or Ctrl-D.

Ctrl-C stops a reply, not the program. When the conversation outgrows the model's context its oldest turns are left out,
which is said once.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sayso.base.errors import UserError, nearest
from sayso.base.jsonl import write_jsonl
from sayso.reply.conversation import Replier
from sayso.reply.speaking import GenerationOptions, open_replier, with_breakers
from sayso.reply.window import Message, fit
from sayso.run.terminal import Terminal
from sayso.sample.sampling import Sampling

COMMANDS = {
    "/undo": "take back the last question and its reply",
    "/retry": "let the model reply once more",
    "/save FILE": "write the conversation as a line of JSON, as finetune reads it",
    "/help": "say this",
    "/exit": "leave (so does Ctrl-D); Ctrl-C stops a reply",
}
RESERVE = 4  # at least a quarter of the context, or max_tokens if that is less, stays free for the reply


@dataclass(frozen=True, kw_only=True)
class Chat(GenerationOptions):
    """TerminalChat to a model in the terminal."""

    system: str | None = None
    """What the model is told before the conversation."""


def chat(options: Chat, source: TextIO | None = None, target: TextIO | None = None) -> list[Message]:
    """TerminalChat to a model in the terminal."""
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


class TerminalChat:
    """One conversation: its messages, and the commands that change them."""

    def __init__(self, replier: Replier, sampling: Sampling, terminal: Terminal, system: str | None = None) -> None:
        self.replier, self.sampling, self.terminal = replier, sampling, terminal
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self.told = False  # that turns were left out
        self.attempt = 0  # of the last reply: each /retry draws anew, also with a fixed seed
        self.saved: Path | None = None

    def run(self) -> None:
        """Read lines and answer them until the end."""
        while True:
            try:
                line = self.terminal.read()
                if line is None or line.strip() == "/exit":
                    break
                self.answer(line)
            except UserError as error:
                self.terminal.note(str(error))
            except KeyboardInterrupt:
                self.terminal.note("\nCtrl-D or /exit leaves." if self.terminal.live else "Stopped.")
        if self.terminal.live:
            self.terminal.write("\n" if line is None else "")

    def answer(self, line: str) -> None:
        """Do what one line asks: a command, or a question to the model."""
        word, _, rest = line.strip().partition(" ")
        if not word:
            return
        if not word.startswith("/"):
            self.messages.append({"role": "user", "content": line})
            self.attempt = 0
            self.reply()
        elif word == "/undo":
            self.undo()
        elif word == "/retry":
            self.retry()
        elif word == "/save":
            self.save(rest.strip())
        elif word == "/help":
            self.terminal.note("\n".join(f"{name:<11} {text}" for name, text in COMMANDS.items()))
        else:
            known = [name.split()[0] for name in COMMANDS]
            raise UserError(f"A command is one of {', '.join(known)}; got '{word}'.{nearest(word, known)}")

    def reply(self) -> None:
        """Stream the reply to the last question; without a single word of reply the question is taken back."""
        said = ""
        try:
            stream = self.replier.stream(self.window(), self.sampling, row=self.attempt)
            for piece in stream:
                said += piece
                self.terminal.write(piece)
            if stream.finish == "length" and self.terminal.live:
                self.terminal.write(" [cut]")
        except KeyboardInterrupt:
            self.terminal.write(" [stopped]" if self.terminal.live else "")
        finally:
            if said:
                self.terminal.write("\n")
                self.messages.append({"role": "assistant", "content": said})
            else:
                self.messages.pop()
        if not said:
            self.terminal.note("There was no reply; the question is taken back.")

    def window(self) -> list[Message]:
        """Return the messages that fit the model's context; says once that turns are left out."""
        context = self.replier.context
        reserve = min(self.sampling.max_tokens, context // RESERVE)
        kept, left_out = fit(self.messages, lambda some: len(self.replier.prompt_ids(some)), context, reserve)
        if left_out and not self.told:
            self.told = True
            self.terminal.note(f"The model's context of {context:,} tokens is full; the oldest turns are left out now.")
        return kept

    def undo(self) -> None:
        """Take back the last question and its reply."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
            question = self.messages.pop()["content"]
            self.terminal.note(f"Taken back: {question}")
        else:
            self.terminal.note("There is nothing to take back.")

    def retry(self) -> None:
        """Replace the last reply by another."""
        if not (self.messages and self.messages[-1]["role"] == "assistant"):
            self.terminal.note("There is no reply yet.")
            return
        if self.sampling.temperature == 0:
            self.terminal.note("At temperature 0 the reply is always the same.")
        self.messages.pop()
        self.attempt += 1
        self.reply()

    def save(self, name: str) -> None:
        """Write the conversation to a file of the person's; another file is never overwritten."""
        if not name:
            raise UserError("/save needs the name of a file after it, such as /save talk.jsonl.")
        path = Path(name).expanduser()
        if os.path.lexists(path) and path != self.saved:
            raise UserError(f"/save writes a new file; '{path}' exists already, so that another name is needed.")
        write_jsonl(path, [{"messages": self.messages, "source": "chat"}])
        self.saved = path
        self.terminal.note(f"Saved to {path}.")
