"""Log-probabilities of spans of tokens, given the tokens before them.

Takes groups of spans, such as the choices of a question. The tokens that all spans of a group begin with are read once:
they are the trunk of a row, and the rest of each span is a branch, which attends to the trunk and to itself. Rows are
read in batches of similar length, and logits are computed only at scored positions, so that the choices of one token
cost a single position. B rows, T time, N scored tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from sayso.batch.by_length import by_length
from sayso.model import Transformer

_POSITIONS = {"cpu": 1 << 9, "cuda": 1 << 15}  # maximum in a batch; larger ones are slower on a CPU: more padding
_LOGITS = 1 << 24  # maximum number of logits in memory: 64 MB in float32


@dataclass(frozen=True)
class Span:
    """The tokens `ids[start:]`, to be scored given `ids[:start]`; `start` is at least 1."""

    ids: Sequence[int]
    start: int

    def __post_init__(self) -> None:
        assert 1 <= self.start < len(self.ids), f"a span needs a token before it and one in it; {self.start=}"


@dataclass(frozen=True)
class SpanScore:
    """The score of one span."""

    logprob: float
    """Natural log of the probability of all its tokens."""
    greedy: bool
    """Whether each of its tokens is the most likely one, given the right tokens before it."""
    tokens: int
    """Number of its tokens."""
    cut: int
    """Number of tokens removed from the beginning, because the context was too short for all."""


@dataclass(frozen=True)
class _Row:
    """A trunk and its branches, as one row of a batch: the token at each column, and what is predicted where."""

    ids: list[int]
    positions: list[int]
    branches: list[int]
    """Number of the branch of each column, from 1; 0 in the trunk."""
    columns: list[int]
    """Column whose output predicts each scored token."""
    targets: list[int]
    owners: list[int]
    """Index of the span of each scored token, over all groups."""


def score_spans(
    model: Transformer, groups: Sequence[Sequence[Span]], progress: Callable[[int], None] = lambda _: None
) -> list[list[SpanScore]]:
    """Return the score of each span, in the order given; `progress` receives the number of spans done with each batch.

    A span longer than the model's context loses tokens from its beginning.
    """
    rows = list(_rows(model, groups))
    count = sum(map(len, groups))
    logprobs, greedy = torch.zeros(count, dtype=torch.double), torch.ones(count, dtype=torch.bool)
    with torch.inference_mode():
        for batch in by_length([len(row.ids) for row in rows], _POSITIONS.get(model.device.type, _POSITIONS["cpu"])):
            chosen = [rows[index] for index in batch]
            values, best = _read(model, chosen)
            owners = torch.tensor([owner for row in chosen for owner in row.owners])
            logprobs.index_add_(0, owners, values)
            greedy[owners[~best]] = False
            progress(sum(len({*row.owners}) for row in chosen))
    flat = iter(zip(logprobs.tolist(), greedy.tolist(), strict=True))
    return [
        [SpanScore(*next(flat), len(span.ids) - span.start, _cut(model, span)) for span in group] for group in groups
    ]


def _cut(model: Transformer, span: Span) -> int:
    """Return how many tokens a span loses: its last token is predicted, not read."""
    return max(0, len(span.ids) - 1 - model.config.context)


def _fitting(model: Transformer, span: Span) -> Span:
    cut = _cut(model, span)
    return Span(span.ids[cut:], max(1, span.start - cut)) if cut else span


def _rows(model: Transformer, groups: Sequence[Sequence[Span]]) -> Iterator[_Row]:
    """Yield one row for each group, or for each span if the model cannot share a trunk.

    Windows, n-grams and the token shift are measured in columns, which in a branch are not those of the text.
    """
    shares = not any(model.config.windows) and not model.config.reach
    first = 0
    for group in groups:
        spans = [_fitting(model, span) for span in group]
        if shares:
            yield _row(spans, range(first, first + len(spans)))
        else:
            for number, span in enumerate(spans, first):
                yield _row([span], range(number, number + 1))
        first += len(group)


def _row(spans: Sequence[Span], owners: Sequence[int]) -> _Row:
    inputs = [list(span.ids[:-1]) for span in spans]
    trunk = len(_common(inputs))
    row = _Row(inputs[0][:trunk], list(range(trunk)), [0] * trunk, [], [], [])
    for branch, (span, read, owner) in enumerate(zip(spans, inputs, owners, strict=True), 1):
        shift = len(row.ids) - trunk  # from a position of the span to its column
        row.ids.extend(read[trunk:])
        row.positions.extend(range(trunk, len(read)))
        row.branches.extend([branch] * (len(read) - trunk))
        for position in range(span.start - 1, len(read)):
            row.columns.append(position if position < trunk else position + shift)
            row.targets.append(span.ids[position + 1])
            row.owners.append(owner)
    return row


def _common(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest common beginning."""
    columns = takewhile(lambda column: len({*column}) == 1, zip(*sequences, strict=False))
    return [column[0] for column in columns]


def _read(model: Transformer, rows: Sequence[_Row]) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each scored token of the rows [N] in float64, and whether it is the likeliest."""
    time, device = max(len(row.ids) for row in rows), model.device
    ids, positions = (torch.zeros(len(rows), time, dtype=torch.long) for _ in range(2))
    branches = torch.full((len(rows), time), -1)  # padding attends to itself alone
    for number, row in enumerate(rows):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        positions[number, :length] = torch.tensor(row.positions)
        branches[number, :length] = torch.tensor(row.branches)
    mask = _mask(branches).to(device) if (branches > 0).any() else None
    hidden = model.hidden(ids.to(device), positions=positions.to(device), mask=mask).flatten(0, 1)
    flat = torch.tensor([number * time + column for number, row in enumerate(rows) for column in row.columns])
    targets = torch.tensor([target for row in rows for target in row.targets])
    return _chosen(model, hidden, flat, targets)


def _mask(branches: Tensor) -> Tensor:
    """Return which columns each column attends to, bool [B, 1, T, T], for the branch of each column [B, T]."""
    time = branches.shape[1]
    causal = torch.ones(time, time, dtype=torch.bool).tril()
    visible = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return (visible & causal)[:, None]


def _chosen(model: Transformer, hidden: Tensor, where: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each target, and whether it is the likeliest token there.

    `hidden` is [B * T, C], `where` [N] the row of each target; logits are computed once where several are predicted.
    """
    places, back = where.unique(return_inverse=True)
    order = back.argsort(stable=True)
    back, targets, device = back[order], targets[order].to(hidden.device), hidden.device
    logprobs, best = [], []
    chunk = max(1, _LOGITS // model.config.vocab_size)
    for start in range(0, len(places), chunk):
        logits = model.head(hidden[places[start : start + chunk].to(device)]).float()
        inside = (back >= start) & (back < start + chunk)
        line, chosen = (back[inside] - start).to(device), targets[inside.to(device)]
        values = logits[line, chosen]
        logprobs.append((values - logits.logsumexp(-1)[line]).double().cpu())
        best.append((logits.argmax(-1)[line] == chosen).cpu())
    return torch.cat(logprobs)[order.argsort()], torch.cat(best)[order.argsort()]
