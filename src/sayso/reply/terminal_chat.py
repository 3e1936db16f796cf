"""Chat in a terminal: reads lines and streams replies until /exit or Ctrl-D.

Ctrl-C stops a reply, not the program. When the conversation exceeds the model's context, its oldest turns are dropped
(reported once).
"""

import os
from collections.abc import Sequence
from pathlib import Path

from sayso.base.errors import UserError, nearest
from sayso.base.jsonl import write_jsonl
from sayso.base.terminal import Terminal
from sayso.reply.calls import Delta
from sayso.reply.conversation import Replier
from sayso.reply.parser import ReplyParser
from sayso.reply.reasoning import with_marker
from sayso.reply.window import fit_window
from sayso.sample.sampling import Sampling
from sayso.text.document import Message

_COMMANDS = {
    "/undo": "remove the last question and its reply",
    "/retry": "generate another reply to the last question",
    "/save FILE": "save the conversation as JSON Lines for sayso finetune",
    "/help": "show this help",
    "/exit": "quit (or press Ctrl-D); Ctrl-C stops a reply",
}
RESERVE = 4  # at least a quarter of the context, or max_tokens if that is less, stays free for the reply


class TerminalChat:
    """One conversation: its messages and the commands that change them."""

    def __init__(self, replier: Replier, sampling: Sampling, terminal: Terminal, system: str | None = None) -> None:
        self.replier, self.sampling, self.terminal = replier, sampling, terminal
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self.told = False  # that turns were dropped
        self.attempt = 0  # of the last reply: each /retry samples a new one, even with a fixed seed
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
                self.terminal.note("\nPress Ctrl-D or type /exit to quit." if self.terminal.live else "Stopped.")
        if self.terminal.live:
            self.terminal.write("\n" if line is None else "")

    def answer(self, line: str) -> None:
        """Process one line: a command or a question to the model."""
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
            self.terminal.note("\n".join(f"{name:<11} {text}" for name, text in _COMMANDS.items()))
        else:
            known = [name.split()[0] for name in _COMMANDS]
            raise UserError(f"Commands are {', '.join(known)}; got '{word}'.{nearest(word, known)}")

    def reply(self) -> None:
        """Stream the reply to the last question; if there is no reply at all, remove the question."""
        said, parser = "", ReplyParser()
        try:
            stream = self.replier.stream(self.window(), self.sampling, row=self.attempt)
            parser = ReplyParser(reasoning=stream.reasoning)
            for piece in stream:
                said = said + piece if said else with_marker(piece, stream.reasoning)
                self.show(parser.push(piece))
            self.show(parser.close(cut=stream.finish == "length"))
            if stream.finish == "length" and self.terminal.live:
                self.terminal.write(" [cut]")
        except KeyboardInterrupt:
            self.show(parser.close(cut=True))
            self.terminal.write(" [stopped]" if self.terminal.live else "")
        finally:
            if said:
                self.terminal.write("\n")
                self.messages.append({"role": "assistant", "content": said})
            else:
                self.messages.pop()
        if not said:
            self.terminal.note("There was no reply; the question was removed.")

    def show(self, deltas: Sequence[Delta]) -> None:
        """Write new parts of a reply, its reasoning apart from the rest."""
        for delta in deltas:
            if delta.reasoning:
                self.terminal.think(delta.reasoning)
            else:
                self.terminal.write(delta.content)

    def window(self) -> list[Message]:
        """Return the messages that fit the model's context; report once that turns are dropped."""
        context = self.replier.context
        reserve = min(self.sampling.max_tokens, context // RESERVE)
        kept, left_out = fit_window(self.messages, lambda some: len(self.replier.prompt_ids(some)), context, reserve)
        if left_out and not self.told:
            self.told = True
            self.terminal.note(f"The model's context of {context:,} tokens is full; the oldest turns are dropped.")
        return kept

    def undo(self) -> None:
        """Remove the last question and its reply."""
        if self.messages and self.messages[-1]["role"] == "assistant":
            self.messages.pop()
            question = self.messages.pop()["content"]
            self.terminal.note(f"Removed: {question}")
        else:
            self.terminal.note("There is nothing to undo.")

    def retry(self) -> None:
        """Replace the last reply with a new one."""
        if not (self.messages and self.messages[-1]["role"] == "assistant"):
            self.terminal.note("There is no reply yet.")
            return
        if self.sampling.temperature == 0:
            self.terminal.note("At temperature 0, the reply is always the same.")
        self.messages.pop()
        self.attempt += 1
        self.reply()

    def save(self, name: str) -> None:
        """Write the conversation to a file; an unrelated file is never overwritten."""
        if not name:
            raise UserError("/save needs a file name, such as /save talk.jsonl.")
        path = Path(name).expanduser()
        if os.path.lexists(path) and path != self.saved:
            raise UserError(f"/save does not overwrite files; '{path}' already exists. Choose another name.")
        write_jsonl(path, [{"messages": self.messages, "source": "chat"}])
        self.saved = path
        self.terminal.note(f"Saved to {path}.")
