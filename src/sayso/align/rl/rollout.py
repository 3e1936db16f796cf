"""Rollouts: samples groups of replies to prompts in parallel with the inference engine.

Ids are kept as sampled, never re-encoded from text, and include the stop token, which is an action of the policy too.
Sampling uses no top-k or top-p, because training computes the log-probabilities of the full distribution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.reply.text import Text
from sayso.sample.generate import Completion, generate
from sayso.sample.sampling import Sampling
from sayso.token.tokenizer import Tokenizer

_ROWS = 256  # rows decoded in parallel: throughput matters here, latency does not
_Answer = Callable[[int, str], str | None]
"""Called with the number and the text of a rollout; returns the next input, such as a tool's result, or None to end."""


@dataclass(frozen=True)
class Rollout:
    """A sampled reply."""

    prompt: list[int]
    ids: list[int]
    """Ids of the reply, including its stop token."""
    sampled: list[bool]
    """Whether each id was sampled from the policy, rather than given as input."""
    logprobs: list[float]
    """Log-probability of each sampled id at temperature 1, as reported by the sampler; 0 for the others."""
    text: str
    """The reply without its stop token; other control tokens are spelled out, so that rewards can see them."""
    ended: bool
    """Whether it ended with a stop token, rather than being truncated."""

    @property
    def length(self) -> int:
        """Number of sampled tokens."""
        return sum(self.sampled)


def sample_groups(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    replies: int,
    *,
    max_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    rows: int = _ROWS,
) -> list[list[Rollout]]:
    """Return a group of `replies` rollouts for each prompt, sampled with continuous batching.

    Raises `UserError` for a temperature of 0, and for a prompt that leaves no room in the context.
    """
    if not temperature > 0:
        raise UserError(f"Rollouts require a temperature above 0, so that replies differ; got {temperature:g}.")
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed)
    repeated = [list(prompt) for prompt in prompts for _ in range(replies)]
    done = generate(model, repeated, sampling, tokenizer.stop_ids, rows=rows)
    rollouts = [_rollout(prompt, one, tokenizer) for prompt, one in zip(repeated, done, strict=True)]
    return [rollouts[start : start + replies] for start in range(0, len(rollouts), replies)]


def converse(
    model: Transformer,
    tokenizer: Tokenizer,
    rollouts: Sequence[Rollout],
    answer: _Answer,
    encode: Callable[[str], list[int]],
    *,
    turns: int,
    max_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[Rollout]:
    """Continue rollouts for up to `turns` more turns, in each of which the policy reads the answer to its last reply.

    `encode` returns the ids of an answer, up to the start of the next reply. They are part of the rollout but not
    sampled, so they are not trained on. A rollout that is truncated, or has no room left, ends.
    """
    rollouts = list(rollouts)
    live = list(range(len(rollouts)))
    for turn in range(turns):
        answers = {n: answer(n, rollouts[n].text) for n in live if rollouts[n].ended}
        inputs = {n: encode(text) for n, text in answers.items() if text is not None}
        prompts = {n: [*rollouts[n].prompt, *rollouts[n].ids, *ids] for n, ids in inputs.items()}
        live = [n for n, ids in prompts.items() if len(ids) < model.config.context]
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed + 1 + turn)
        done = generate(model, [prompts[n] for n in live], sampling, tokenizer.stop_ids, rows=_ROWS)
        for n, one in zip(live, done, strict=True):
            rollouts[n] = _joined(rollouts[n], inputs[n], _rollout(prompts[n], one, tokenizer))
    return rollouts


def _joined(before: Rollout, inputs: list[int], after: Rollout) -> Rollout:
    return replace(
        after,
        prompt=before.prompt,
        ids=[*before.ids, *inputs, *after.ids],
        sampled=[*before.sampled, *[False] * len(inputs), *after.sampled],
        logprobs=[*before.logprobs, *[0.0] * len(inputs), *after.logprobs],
    )


def _rollout(prompt: list[int], done: Completion, tokenizer: Tokenizer) -> Rollout:
    ids, logprobs = list(done.ids), list(done.logprobs)
    text = Text(tokenizer, spelled=tokenizer.control)
    reply = "".join(map(text.push, ids)) + text.close()
    if done.ended_by is not None:
        ids.append(done.ended_by)
        logprobs.append(done.ended_logprob)
    return Rollout(prompt, ids, [True] * len(ids), logprobs, reply, done.ended_by is not None)
