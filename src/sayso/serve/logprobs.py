"""Token details in responses: takes ids with their log-probabilities, returns OpenAI's and vLLM's objects.

A token is named by its text, or by its bytes in hex if they are not UTF-8, as with OpenAI. The sampled token is among
the likeliest ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sayso.reply.text import token_bytes
from sayso.serve.choice import ChoicePiece
from sayso.token.tokenizer import Tokenizer

_LEAST = -9999.0  # JSON has no infinity; vLLM and OpenAI write this


@dataclass(frozen=True)
class ReportedLogprobs:
    """Which token details to return with the text."""

    tokenizer: Tokenizer
    tops: int | None = None
    """Number of likeliest ids per position; None: no log-probabilities."""
    ids: bool = False
    """Whether to return the ids themselves."""
    named_by_id: bool = False
    """Whether a token is named `token_id:N` instead of by its text."""
    spells_control: bool = False
    """Whether control tokens are part of the text."""

    def name(self, token: int) -> str:
        """Return the name of a token."""
        if self.named_by_id:
            return f"token_id:{token}"
        if token in self.tokenizer.control:
            return self.tokenizer.control[token]
        data = token_bytes(self.tokenizer, token)
        if not data:
            return f"token_id:{token}"
        try:
            return data.decode()
        except UnicodeDecodeError:
            return _spelled(data)

    def chat(self, piece: ChoicePiece) -> dict[str, Any] | None:
        """Return the `logprobs` of a chat: at most `tops` likeliest tokens per position."""
        if self.tops is None:
            return None
        content = []
        for token, logprob, top in zip(piece.ids, piece.logprobs, piece.tops, strict=True):
            likeliest = dict([*top.items()][: self.tops])
            if self.tops and token not in likeliest:
                likeliest = dict([*likeliest.items()][: self.tops - 1]) | {token: logprob}
            entry = self._entry(token, logprob)
            content.append(entry | {"top_logprobs": [self._entry(*one) for one in likeliest.items()]})
        return {"content": content, "refusal": None}

    def completion(
        self,
        ids: Sequence[int],
        offsets: Sequence[int],
        logprobs: Sequence[float | None],
        tops: Sequence[Mapping[int, float]],
    ) -> dict[str, Any] | None:
        """Return the `logprobs` of a completion: the `tops` likeliest tokens per position, and the token itself.

        `offsets`: index of the character of the text in which each token begins.
        """
        if self.tops is None:
            return None
        return {
            "tokens": [self.name(token) for token in ids],
            "token_logprobs": [None if logprob is None else max(logprob, _LEAST) for logprob in logprobs],
            "top_logprobs": [
                None if logprob is None else self._named(token, logprob, top)
                for token, logprob, top in zip(ids, logprobs, tops, strict=True)
            ],
            "text_offset": list(offsets),
        }

    def prompt(self, ids: Sequence[int], piece: ChoicePiece, top: int) -> list[dict[str, Any] | None]:
        """Return vLLM's `prompt_logprobs`: for each position its own id and the likeliest, each with its rank."""
        entries: list[dict[str, Any] | None] = [None]
        for token, score in zip(ids[1:], piece.prompt, strict=True):
            likeliest = enumerate(list(score.tops.items())[:top], 1)
            kept = {one: (rank, value) for rank, (one, value) in likeliest} | {token: (score.rank, score.logprob)}
            entries.append(
                {
                    str(one): {"logprob": max(value, _LEAST), "rank": rank, "decoded_token": self.name(one)}
                    for one, (rank, value) in kept.items()
                }
            )
        return entries

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        return {"token": self.name(token), "logprob": max(logprob, _LEAST), "bytes": list(self._bytes(token))}

    def _bytes(self, token: int) -> bytes:
        if self.spells_control and token in self.tokenizer.control:
            return self.tokenizer.control[token].encode()
        return token_bytes(self.tokenizer, token)

    def _named(self, token: int, logprob: float, top: Mapping[int, float]) -> dict[str, float]:
        """Return the likeliest tokens by their names, which are unique: of ids with equal text, one is named otherwise.

        The name of `token` itself is always its own.
        """
        likeliest = dict([*top.items()][: self.tops])
        likeliest.setdefault(token, logprob)
        taken = {self.name(token)}
        found: dict[str, float] = {}
        for one, value in likeliest.items():
            names = (self.name(one), _spelled(self._bytes(one)), f"token_id:{one}")
            name = names[0] if one == token else next(name for name in names if name not in taken)
            taken.add(name)
            found[name] = max(value, _LEAST)
        return found


def _spelled(data: bytes) -> str:
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
