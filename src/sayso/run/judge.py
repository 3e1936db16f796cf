"""Act: let a judge compare the replies of two models, pair by pair.

Input: two models, prompts, and a judge, which is a reward model of the life or a model behind a server. Output:
`runs/judge-A-B/` with the replies, every verdict, and the win rate with its interval.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from sayso.align.scorer import open_scorer
from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import sha256, write_json
from sayso.base.jsonl import BadRows, read_rows, write_jsonl
from sayso.base.life import Life
from sayso.base.log import act_log, say
from sayso.base.made import check_work, work_in
from sayso.base.ranges import Options, Positive, Seed, Several, Weight
from sayso.judge.arena.endpoint_judge import endpoint_judge
from sayso.judge.arena.pairwise import (
    PairJudge,
    PairwiseScores,
    ReplyPair,
    Verdicts,
    judge_pairs,
    pairwise_scores,
    reward_judge,
)
from sayso.judge.endpoint import Endpoint
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.talks import talk_sample
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages
from sayso.weights.folder import load_model, name_apart
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

_THREADS = 8  # questions to a server at a time


@dataclass(frozen=True)
class Judge(Options):
    """Options of `sayso judge`."""

    models: tuple[str, ...] = ("tuned", "aligned")
    """Two models: names of models of the life, or paths of model folders. The second one's win rate is reported."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    prompts: Path | None = None
    """JSON Lines with a prompt, or messages that end with the user's, per row. Default: held-out conversations."""
    n: Positive = 100
    """Maximum number of prompts."""
    reward: str | None = None
    """Reward model that judges: a model of the life, or the path of a folder."""
    endpoint: str | None = None
    """Address of a server with OpenAI's API whose model judges, such as http://127.0.0.1:8000/v1."""
    judge: str | None = None
    """Name of the model that judges at the endpoint."""
    key: str | None = None
    """Key of the server. Default: the environment variable SAYSO_ENDPOINT_KEY."""
    temperature: Weight = 0.0
    """Temperature of the replies; 0 = greedy."""
    max_tokens: Several = 200
    """Maximum number of tokens of a reply."""
    seed: Seed = 0
    """Random seed of the replies."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""


def judge(options: Judge) -> dict[str, Any]:
    """Let a judge compare the replies of two models, pair by pair."""
    if len(options.models) != 2 or options.models[0] == options.models[1]:
        raise UserError(f"sayso judge compares two different models; got {', '.join(options.models) or 'none'}.")
    life = Life(options.life)
    folders = [resolve_model(life, name) for name in options.models]
    first, second = (name_apart(life, folder) for folder in folders)
    folder = life.run(f"judge-{first}-{second}")
    check_work(folder)
    named, asked = _judge(life, options)
    prompts = _prompts(life, options)
    work_in(folder)
    with act_log(life, "judge", f"{first}-{second}", replace(options, key=None)):
        replies = [_replies(path, prompts, options) for path in folders]
        pairs = [ReplyPair(prompt, b, a) for prompt, a, b in zip(prompts, *replies, strict=True)]
        write_jsonl(folder / "replies.jsonl", ({"prompt": one.prompt, first: one.b, second: one.a} for one in pairs))
        threads = _THREADS if options.endpoint else 1
        judged = judge_pairs(pairs, asked, Verdicts(named, folder / "verdicts.jsonl"), threads=threads)
        found = pairwise_scores(judged)
        players = [f"{path.name} {sha256(weights_file(path))[:8]}" for path in folders]  # as in people's choices
        scores = {"models": [first, second], "players": players, "judge": named, **found.as_dict()}
        write_json(folder / "scores.json", scores, sealed=True)
    for sentence in told(found, second, first):
        say(sentence)
    return scores


def told(found: PairwiseScores, model: str, other: str) -> list[str]:
    """Return the result as sentences: who won, at equal length too, and how far the judge can be trusted."""
    count = found.wins + found.ties + found.losses
    text = [
        f"{model} won {found.wins:,}, tied {found.ties:,} and lost {found.losses:,} of {count:,} against {other}: a "
        f"win rate of {_rate(found.win_rate)}, and of {_rate(found.length_controlled)} at equal length.",
    ]
    if found.first.mean == found.first.mean:
        text.append(
            f"The judge favored the reply shown first in {_rate(found.first)} of the pairs (0.5 = no bias, p = "
            f"{found.first_p:.3f}), and changed its verdict with the order in {_rate(found.inconsistent)}."
        )
    elif not found.unjudged:
        text.append("The judge was not asked, because the two replies of every pair are the same.")
    if found.unjudged:
        pairs = "1 pair has" if found.unjudged == 1 else f"{found.unjudged:,} pairs have"
        text.append(f"{pairs} no result: the judge named neither reply nor a tie.")
    return text


def _rate(value: Estimate) -> str:
    if value.mean != value.mean:
        return "unknown"
    return f"{value.mean:.2f}" + (f" ({value.low:.2f} to {value.high:.2f})" if value.low == value.low else "")


def _judge(life: Life, options: Judge) -> tuple[str, PairJudge]:
    """Return a name of the judge, which identifies its verdicts, and the judge."""
    if (options.reward is None) == (options.endpoint is None):
        raise UserError("sayso judge needs one judge: --reward NAME, or --endpoint ADDRESS with --judge NAME.")
    if options.reward is not None:
        for name in ("judge", "key"):
            if getattr(options, name):
                raise UserError(f"--{name} requires --endpoint, the address of the server; with --reward, omit it.")
        folder = resolve_model(life, options.reward)
        return f"reward {folder}", reward_judge(open_scorer([folder]))
    assert options.endpoint is not None
    if not options.judge:
        raise UserError("--endpoint needs --judge, the name of the model that judges there.")
    return f"{options.judge} at {options.endpoint}", endpoint_judge(
        Endpoint(options.endpoint, options.judge, options.key)
    )


def _prompts(life: Life, options: Judge) -> list[Messages]:
    """Return the prompts, as conversations that end with the user. Raises `UserError` if there are none."""
    if options.prompts is None:
        talks = talk_sample(life.data("chat") / "test.jsonl", options.n)
        found = [talk.prompt() for talk in talks if talk.prompt()]
        if not found:
            raise UserError(
                "The life has no held-out conversations to take prompts from; give some with --prompts FILE."
            )
        return found
    bad = BadRows()
    rows = [bad.attempt(f"{options.prompts}:{n}", _prompt, row) for n, row in read_rows(options.prompts, bad)]
    bad.check()
    found = [row for row in rows if row][: options.n]
    if not found:
        raise UserError(f"--prompts must have at least one row; '{options.prompts}' has none.")
    return found


def _prompt(row: dict[str, Any]) -> Messages:
    """Return the prompt of a row."""
    prompt, messages = row.get("prompt"), row.get("messages")
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if (
        isinstance(messages, list)
        and messages
        and isinstance(messages[-1], dict)
        and messages[-1].get("role") == "user"
    ):
        return messages
    raise UserError("A row of prompts needs a prompt that is not empty, or messages that end with the user's.")


def _replies(folder: Path, prompts: Sequence[Messages], options: Judge) -> list[str]:
    """Return a model's reply to each prompt."""
    say(f"Replies of {folder.name}")
    replier = Replier(*load_model(folder, pick_device(options.device).kind))
    if not replier.converses:
        raise UserError(f"The model '{folder.name}' has no chat template, so it cannot reply to prompts.")
    sampling = Sampling(temperature=options.temperature, max_tokens=options.max_tokens, seed=options.seed)
    return [reply.text.strip() for reply in replier.replies(prompts, sampling)]
