"""A model that replies: takes conversations or raw prompts, returns text, streamed or batched.

Wraps a model and its tokenizer. A reply ends at <|end|> or <|bos|>, at a stop text, at `max_tokens`, or when the
context is full, whichever comes first. Streamed or batched, the same seed and row give the same text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sayso.model.transformer import Transformer
from sayso.reply.text import Text
from sayso.sample.engine import ROWS, room
from sayso.sample.generate import generate, stream
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages
from sayso.token.chat import prompt_ids
from sayso.token.reasoning import Reasoning, reasoning_of
from sayso.token.tokenizer import BOS, Tokenizer


@dataclass(frozen=True)
class Reply:
    """One reply and its statistics."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str
    """"stop" (it ended on its own or at a stop text) or "length" (max_tokens, or the context was full)."""


class Stream(Iterator[str]):
    """The pieces of one reply as they are generated; `reply()` returns the reply so far, complete at the end."""

    def __init__(
        self, ids: Iterator[int], text: Text, prompt_tokens: int, limit: int, reasoning: Reasoning = "none"
    ) -> None:
        self.reasoning = reasoning
        """Whether the reply begins with reasoning, which is part of the text."""
        self.prompt_tokens, self.completion_tokens = prompt_tokens, 0
        self.finish: str | None = None
        """None while in progress, then as in `Reply`."""
        self._limit, self._text = limit, ""
        self._pieces = self._run(ids, text)

    def __next__(self) -> str:
        piece = next(self._pieces)
        self._text += piece
        return piece

    def reply(self) -> Reply:
        """Return the reply so far; an abandoned one counts as cut off ("length")."""
        return Reply(self._text, self.prompt_tokens, self.completion_tokens, self.finish or "length")

    def _run(self, ids: Iterator[int], text: Text) -> Iterator[str]:
        for token in ids:
            self.completion_tokens += 1
            piece = text.push(token)
            if text.stopped:
                self.finish = "stop"
            if piece:
                yield piece
            if text.stopped:
                return
        self.finish = "length" if self.completion_tokens == self._limit else "stop"
        if rest := text.close():
            yield rest


class Replier:
    """A model with its tokenizer, for conversations."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.stop_ids = tokenizer.stop_ids

    @property
    def context(self) -> int:
        """Maximum number of tokens of prompt and reply together."""
        return self.model.config.context

    @property
    def converses(self) -> bool:
        """Whether the model has a chat template; a third-party model may only continue text."""
        return self.tokenizer.chat_template is not None

    def prompt_ids(self, messages: Messages) -> list[int]:
        """Return the prompt ids of a conversation's next reply."""
        return prompt_ids(self.tokenizer, messages)

    @property
    def start_ids(self) -> list[int]:
        """The ids before a raw prompt: the token that begins a document, if the tokenizer puts it before texts."""
        return [self.tokenizer.specials[BOS]] if self.tokenizer.begins else []

    def text_ids(self, prompt: str) -> list[int]:
        """Return the ids of a raw prompt; an empty one begins a document."""
        return [*self.start_ids, *self.tokenizer.encode(prompt)] or [self.tokenizer.specials[BOS]]

    def stream(self, messages: Messages, sampling: Sampling, *, row: int = 0) -> Stream:
        """Stream the reply to a conversation; another `row` gives another sample.

        Raises `UserError` at the call if the prompt leaves no room in the context.
        """
        prompt = self.prompt_ids(messages)
        return self._stream(prompt, sampling, row, reasoning_of(self.tokenizer, prompt))

    def stream_text(self, prompt: str, sampling: Sampling, *, row: int = 0) -> Stream:
        """Stream the continuation of a raw prompt, without the chat template; errors as in `stream`."""
        return self._stream(self.text_ids(prompt), sampling, row)

    def replies(self, conversations: Sequence[Messages], sampling: Sampling, *, rows: int = ROWS) -> list[Reply]:
        """Return the reply to each conversation, decoded `rows` at a time; errors as in `stream`."""
        prompts = [self.prompt_ids(messages) for messages in conversations]
        return self._replies(prompts, sampling, rows, [reasoning_of(self.tokenizer, prompt) for prompt in prompts])

    def complete(self, prompts: Sequence[str], sampling: Sampling, *, rows: int = ROWS) -> list[Reply]:
        """Return the continuation of each raw prompt, without the chat template; errors as in `stream`."""
        return self._replies([self.text_ids(prompt) for prompt in prompts], sampling, rows, ["none"] * len(prompts))

    def _stream(self, prompt: list[int], sampling: Sampling, row: int, reasoning: Reasoning = "none") -> Stream:
        limit = room(self.model, prompt, sampling)
        ids = stream(self.model, prompt, sampling, self.stop_ids, row=row)
        text = Text(self.tokenizer, sampling.stop, reasoning=reasoning)
        return Stream(ids, text, len(prompt), limit, reasoning)

    def _replies(
        self, prompts: list[list[int]], sampling: Sampling, rows: int, reasoning: Sequence[Reasoning]
    ) -> list[Reply]:
        texts = [Text(self.tokenizer, sampling.stop, reasoning=own) for own in reasoning]
        pieces: list[list[str]] = [[] for _ in prompts]

        def watch(row: int, token: int) -> bool:
            pieces[row].append(texts[row].push(token))
            return texts[row].stopped

        done = generate(self.model, prompts, sampling, self.stop_ids, rows=rows, watch=watch)
        return [
            Reply("".join(parts) + text.close(), len(prompt), len(completion.ids), completion.finish)
            for parts, text, prompt, completion in zip(pieces, texts, prompts, done, strict=True)
        ]
