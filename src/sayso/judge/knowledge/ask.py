"""Ask a model questions: its greedy reply with its probability, and a few sampled replies.

Takes a model and facts; returns a row for each, which is kept in a file as the work goes, so that an interrupted run
continues.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Any

from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.judge.knowledge.facts import Fact, ended
from sayso.judge.knowledge.marking import Mark, claim_of, clusters, mark, semantic_entropy
from sayso.reply.conversation import Replier
from sayso.reply.text import token_bytes
from sayso.sample.generate import Completion, generate
from sayso.sample.sampling import Sampling

_AT_ONCE = 16  # questions between two writes
_TOKENS = 24
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Asking:
    """How a model is asked."""

    samples: int
    """Sampled replies to each question."""
    chat: bool
    """Whether it is asked in a message, or continues the beginning of a sentence."""
    seed: int = 0


@dataclass(frozen=True)
class AskedFact:
    """A question and a model's replies."""

    group: str
    fact: Fact
    reply: str
    probability: float
    """Geometric mean of the probabilities of the reply's tokens (Malinin and Gales 2021, arXiv 2002.07650)."""
    samples: tuple[str, ...]

    @property
    def mark(self) -> Mark:
        """The mark of the greedy reply."""
        return mark(self.fact, self.reply)

    @property
    def sample_marks(self) -> list[Mark]:
        """The mark of each sampled reply."""
        return [mark(self.fact, one) for one in self.samples]

    @property
    def agreement(self) -> float:
        """Share of the samples that claim the same as the greedy reply."""
        own, *others = clusters([claim_of(self.fact, one) for one in (self.reply, *self.samples)])
        return others.count(own) / len(others)

    @property
    def certainty(self) -> float:
        """1 - semantic entropy / log k of the k samples: 1 if all claim the same, 0 if all differ."""
        found = clusters([claim_of(self.fact, one) for one in self.samples])
        return max(0.0, 1 - semantic_entropy(found) / math.log(len(found)))

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with the mark."""
        return {**asdict(self), "mark": self.mark}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "AskedFact":
        """Return the row of a dict from `as_dict`."""
        fact = Fact(**{**row["fact"], "answers": tuple(row["fact"]["answers"])})
        return cls(row["group"], fact, row["reply"], row["probability"], tuple(row["samples"]))


def ask_facts(
    replier: Replier,
    questions: Sequence[tuple[str, Fact]],
    asking: Asking,
    path: Path,
    key: Mapping[str, Any],
    progress: Callable[[int], None] = lambda _: None,
) -> list[AskedFact]:
    """Return the replies to questions, each with its group; those in the file `path` are not asked for again.

    The file's first row is `asking_key` of `key`, which must name the model. `progress` receives the number of
    questions done so far.
    """
    key = asking_key(key, questions, asking)
    found = _kept(path, key)[: len(questions)]
    progress(len(found))
    while len(found) < len(questions):
        start = len(found)
        found += _ask(replier, questions[start : start + _AT_ONCE], asking, start)
        write_jsonl(path, [key, *(one.as_dict() for one in found)])
        progress(len(found))
    return found


def asking_key(key: Mapping[str, Any], questions: Sequence[tuple[str, Fact]], asking: Asking) -> dict[str, Any]:
    """Return what replies depend on: `key`, which names the model, the questions, and how they are asked."""
    rows = [[group, asdict(fact)] for group, fact in questions]
    return {**key, "questions": hash_of(json.dumps(rows).encode()).hexdigest(), **asdict(asking)}


def _kept(path: Path, key: Mapping[str, Any]) -> list[AskedFact]:
    """Return the replies that are kept under this key, in whole steps."""
    if not path.exists():
        return []
    first, *rows = read_jsonl(path)
    return [AskedFact.from_dict(row) for row in rows] if first == key else []


def _ask(replier: Replier, part: Sequence[tuple[str, Fact]], asking: Asking, start: int) -> list[AskedFact]:
    prompts = [
        replier.prompt_ids([{"role": "user", "content": fact.question}])
        if asking.chat
        else replier.text_ids(fact.cloze)
        for _, fact in part
    ]
    greedy = _generated(replier, prompts, Sampling(temperature=0, max_tokens=_TOKENS))
    drawn = Sampling(temperature=TEMPERATURE, max_tokens=_TOKENS, seed=asking.seed + start)
    samples = _generated(replier, [prompt for prompt in prompts for _ in range(asking.samples)], drawn)
    texts = [_text(replier, one.ids) for one in samples]
    return [
        AskedFact(
            group,
            fact,
            _text(replier, one.ids),
            math.exp(sum(one.logprobs) / len(one.logprobs)) if one.logprobs else 0.0,
            tuple(texts[number * asking.samples : (number + 1) * asking.samples]),
        )
        for number, ((group, fact), one) in enumerate(zip(part, greedy, strict=True))
    ]


def _generated(replier: Replier, prompts: Sequence[list[int]], sampling: Sampling) -> list[Completion]:
    """Return a completion of each prompt, of one sentence."""
    written: list[list[int]] = [[] for _ in prompts]

    def watch(row: int, token: int) -> bool:
        written[row].append(token)
        return ended(_decoded(replier, written[row]))

    return generate(replier.model, prompts, sampling, replier.stop_ids, watch=watch)


def _text(replier: Replier, ids: Sequence[int]) -> str:
    return _decoded(replier, ids).strip()


def _decoded(replier: Replier, ids: Sequence[int]) -> str:
    return b"".join(token_bytes(replier.tokenizer, token) for token in ids).decode("utf-8", "replace")
