"""Replies to a few fixed prompts during a run, so that the user sees the effect of training, not only metrics.

Takes a model and its tokenizer; the replies go to the run's log, and a table shows the first next to the last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from sayso.base.log import RunLog, read_log
from sayso.base.output import console
from sayso.model import Transformer
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages
from sayso.token.tokenizer import Tokenizer

_SHOWN = 300  # characters of a prompt or a reply in the table; the log has the full text


@dataclass(frozen=True)
class Sample:
    """One reply."""

    prompt: str
    """The last message."""
    reply: str
    tokens: int
    ended: bool
    """Whether it ended on its own, rather than being cut off."""
    score: float | None
    """Score by the checker or the reward, if there is one."""


@dataclass
class Samples:
    """The prompts of one run and their replies."""

    tokenizer: Tokenizer
    prompts: Sequence[Messages]
    log: RunLog
    sampling: Sampling
    score: Callable[[int, str], float] | None = None
    """Called with a prompt's number and the reply."""
    taken: dict[int, list[Sample]] = field(default_factory=dict)
    """Replies by step; those of a resumed run are read from its log."""

    def __post_init__(self) -> None:
        for event in read_log(self.log.path):
            if event["event"] == "samples":
                self.taken[event["step"]] = [Sample(**row) for row in event["rows"]]

    def take(self, model: Transformer, step: int) -> list[Sample]:
        """Reply to every prompt and log the replies; does nothing without prompts."""
        if not self.prompts:
            return []
        replies = Replier(model, self.tokenizer).replies(list(self.prompts), self.sampling)
        rows = [
            Sample(
                prompt=_text(messages[-1]),
                reply=reply.text,
                tokens=reply.completion_tokens,
                ended=reply.finish == "stop",
                score=self.score(number, reply.text) if self.score else None,
            )
            for number, (messages, reply) in enumerate(zip(self.prompts, replies, strict=True))
        ]
        self.taken[step] = rows
        self.log.write("samples", step=step, rows=[asdict(row) for row in rows])
        return rows

    def show(self) -> None:
        """Print the first replies next to the last."""
        if not self.taken:
            return
        first, last = min(self.taken), max(self.taken)
        table = Table("prompt", f"step {first}", f"step {last}", show_lines=True)
        for before, after in zip(self.taken[first], self.taken[last], strict=True):
            table.add_row(_cut(before.prompt), _told(before), _told(after))
        console().print(table, markup=False)


def _text(message: Mapping[str, Any]) -> str:
    return str(message["content"])


def _told(sample: Sample) -> str:
    marks = [] if sample.score is None else [f"{sample.score:.2f}"]
    marks += [] if sample.ended else ["cut"]
    return _cut(sample.reply) + (f"\n({', '.join(marks)})" if marks else "")


def _cut(text: str) -> str:
    """Cut out the middle of a long text: the end of a prompt often refers to its beginning."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}"
