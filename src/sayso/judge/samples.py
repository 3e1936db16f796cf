"""Replies to a few fixed prompts during a run, which show the effect of training beyond metrics.

The replies are written to the run's log, and a table shows the first next to the last.
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

_SHOWN = 300  # maximum characters of a prompt or a reply in the table; the log has the full text


@dataclass(frozen=True)
class Sample:
    """One reply."""

    prompt: str
    """The last message."""
    reply: str
    tokens: int
    ended: bool
    """Whether the model ended it, rather than the token limit."""
    score: float | None
    """Score from the checker or the reward function, if any."""


@dataclass
class Samples:
    """The prompts of one run and their replies."""

    tokenizer: Tokenizer
    prompts: Sequence[Messages]
    log: RunLog
    sampling: Sampling
    score: Callable[[int, str], float] | None = None
    """Returns a reply's score, given the prompt's index and the reply."""
    taken: dict[int, list[Sample]] = field(default_factory=dict)
    """Replies by step; a resumed run reads the earlier ones from its log."""

    def __post_init__(self) -> None:
        for event in read_log(self.log.path):
            if event["event"] == "samples":
                self.taken[event["step"]] = [Sample(**row) for row in event["rows"]]

    def take(self, model: Transformer, step: int) -> list[Sample]:
        """Generate, log and return a reply to every prompt."""
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
            table.add_row(_shorten(before.prompt), _cell(before), _cell(after))
        console().print(table, markup=False)


def _text(message: Mapping[str, Any]) -> str:
    return str(message["content"])


def _cell(sample: Sample) -> str:
    notes = [] if sample.score is None else [f"{sample.score:.2f}"]
    notes += [] if sample.ended else ["cut off"]
    return _shorten(sample.reply) + (f"\n({', '.join(notes)})" if notes else "")


def _shorten(text: str) -> str:
    """Omit the middle of a long text, since the end of a prompt often refers to its beginning."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}"
