"""Rollouts: samples groups of replies to prompts in parallel with the inference engine.

Ids are kept as they were sampled, never re-encoded from text; the stop token is one of them, since saying it is a
choice of the policy's too. Nothing but the temperature shapes what is drawn: with top-k or top-p the log-probabilities
of training would be those of another distribution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sayso.base.errors import UserError
from sayso.model import Transformer
from sayso.reply.text import Text
from sayso.sample.generate import Completion, generate
from sayso.sample.sampling import Sampling
from sayso.token.tokenizer import Tokenizer

_ROWS = 256  # decoded side by side: nobody waits for a first token, and a pass over more rows costs less a row
_Answer = Callable[[int, str], str | None]
"""Called with a rollout's number and what it said; what it is to read next (a tool's result), None at its end."""


@dataclass(frozen=True)
class Rollout:
    """One reply as it was sampled."""

    prompt: list[int]
    ids: list[int]
    """Of the reply, its stop token included."""
    sampled: list[bool]
    """Which ids the policy chose; the others were given to it."""
    logprobs: list[float]
    """Of each id that was sampled, as the sampler reported it, at temperature 1; 0 for those given."""
    text: str
    """Control tokens inside it are spelled out, so that no reward takes them for nothing; the end is not part of it."""
    ended: bool
    """By a stop token, rather than cut."""

    @property
    def length(self) -> int:
        """How many tokens were sampled."""
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
    """Return for each prompt's ids a group of `replies` rollouts, all sampled in one batch that refills as rows end.

    Raises `UserError` for a temperature of 0, and for a prompt that leaves no room in the context.
    """
    if not temperature > 0:
        raise UserError(f"Rollouts are drawn at a temperature above 0, so that replies differ; got {temperature:g}.")
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
    """Let rollouts go on in up to `turns` more turns: what `answer` gives is read by the policy, which replies again.

    `encode` lays an answer out as ids that end where the policy is to speak. They are part of the rollout and were not
    sampled, so they are never trained. A rollout that was truncated, or has no room left, ends.
    """
    whole = list(rollouts)
    live = list(range(len(whole)))
    for turn in range(turns):
        given = {n: answer(n, whole[n].text) for n in live if whole[n].ended}
        forced = {n: encode(said) for n, said in given.items() if said is not None}
        prompts = {n: [*whole[n].prompt, *whole[n].ids, *ids] for n, ids in forced.items()}
        live = [n for n, ids in prompts.items() if len(ids) < model.config.context]
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens, seed=seed + 1 + turn)
        done = generate(model, [prompts[n] for n in live], sampling, tokenizer.stop_ids, rows=_ROWS)
        for n, one in zip(live, done, strict=True):
            whole[n] = _joined(whole[n], forced[n], _rollout(prompts[n], one, tokenizer))
    return whole


def _joined(before: Rollout, forced: list[int], after: Rollout) -> Rollout:
    return replace(
        after,
        prompt=before.prompt,
        ids=[*before.ids, *forced, *after.ids],
        sampled=[*before.sampled, *[False] * len(forced), *after.sampled],
        logprobs=[*before.logprobs, *[0.0] * len(forced), *after.logprobs],
    )


def _rollout(prompt: list[int], done: Completion, tokenizer: Tokenizer) -> Rollout:
    ids, logprobs = list(done.ids), list(done.logprobs)
    text = Text(tokenizer, spelled=tokenizer.control)
    said = "".join(map(text.push, ids)) + text.close()
    if done.ended_by is not None:
        ids.append(done.ended_by)
        logprobs.append(done.ended_logprob)
    return Rollout(prompt, ids, [True] * len(ids), logprobs, said, done.ended_by is not None)
