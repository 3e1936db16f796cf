"""Log-probabilities of continuations from any server with OpenAI's /v1/completions that echoes a prompt's own.

Texts are sent, not ids, so that the server's tokenizer decides: the tokens that begin after the context, without the
white space at its end, are the continuation's. vLLM and `sayso serve` echo log-probabilities; OpenAI's own models and
llama.cpp do not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sayso.base.errors import UserError
from sayso.judge.endpoint import Endpoint
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, split


class EndpointScorer:
    """Score continuations with a server; groups are sent as one request each, several at a time."""

    def __init__(self, endpoint: Endpoint, *, at_once: int = 8) -> None:
        self.endpoint, self.at_once = endpoint, at_once

    def score(
        self, groups: Sequence[Sequence[Continuation]], progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[list[ContinuationScore]]:
        """Yield the scores of each group; `progress` receives the number of its continuations.

        Raises `UserError` if the server fails, or does not return the log-probabilities of a prompt.
        """
        with ThreadPoolExecutor(self.at_once) as pool:
            for scores in pool.map(self._group, groups):
                progress(len(scores))
                yield scores

    def _group(self, group: Sequence[Continuation]) -> list[ContinuationScore]:
        parts = [split(one) for one in group]
        body = {
            "model": self.endpoint.model,
            "prompt": [context + text for context, text in parts],
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        choices = self.endpoint.post("/completions", body).get("choices")
        if not isinstance(choices, list) or len(choices) != len(parts):
            raise self._unfit(f"returned {_count(choices)} of {len(parts)} choices")
        ordered = sorted(choices, key=lambda choice: choice.get("index", 0))
        return [self._score(choice, *part) for choice, part in zip(ordered, parts, strict=True)]

    def _score(self, choice: Mapping[str, Any], context: str, text: str) -> ContinuationScore:
        """Return the score of the tokens that begin inside the continuation, or cross its beginning."""
        logprobs = choice.get("logprobs") or {}
        offsets, values, tops = (logprobs.get(name) for name in ("text_offset", "token_logprobs", "top_logprobs"))
        if not offsets or not values or not tops or not len(offsets) == len(values) == len(tops):
            raise self._unfit("returned no log-probabilities of the prompt")
        start, end = len(context), len(context) + len(text)
        ends = [*offsets[1:], end]
        chosen = [
            number
            for number, (begins, stops) in enumerate(zip(offsets, ends, strict=True))
            if begins < end and (begins >= start or stops > start) and values[number] is not None
        ]
        if not chosen:
            raise self._unfit("returned no log-probabilities of the prompt")
        greedy = all(values[number] >= max((tops[number] or {"": -1e9}).values()) for number in chosen)
        merged = offsets[chosen[0]] < start
        return ContinuationScore(sum(values[number] for number in chosen), greedy, len(chosen), merged=merged)

    def _unfit(self, said: str) -> UserError:
        return UserError(
            f"The server at '{self.endpoint.base_url}' {said}; a suite needs /completions with echo and logprobs, as "
            "sayso serve and vLLM have them."
        )


def _count(choices: object) -> int:
    return len(choices) if isinstance(choices, list) else 0
