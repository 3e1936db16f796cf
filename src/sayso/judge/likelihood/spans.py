"""Log-probabilities of spans of tokens, given the tokens before them.

Takes groups of spans, such as the choices of a question. What the spans of a batch begin with alike is read once: the
tokens that all spans of a group share are the trunk of a tree, the rest of each is a branch, and trees with the same
beginning share its positions. Positions are packed without padding, and logits are computed only at scored ones, so
that the choices of one token cost a single position. T positions of a batch, N scored tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor

from sayso.model import Transformer
from sayso.model.linear import ROW_MULTIPLE
from sayso.model.segments import Trees

_POSITIONS = {"cpu": 1 << 11, "cuda": 1 << 15}  # of a batch, about; on a CPU, activations then stay in the cache
_LOGITS = {"cpu": 1 << 23, "cuda": 1 << 26}  # maximum number of logits in memory: 32 MB in float32, for the same reason


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


@dataclass
class _Batch:
    """Packed positions: the token at each, the trees that they make up, and what is predicted where."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    sources: list[list[int]] = field(default_factory=list)
    """Positions in the batch of each tree, a trunk and then its branches."""
    branches: list[list[int]] = field(default_factory=list)
    """Branch of each of them, from 1; 0 in the trunk."""
    places: list[int] = field(default_factory=list)
    """Position in the batch whose output predicts each scored token."""
    targets: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Index of the span of each scored token, over all groups."""
    known: dict[tuple[int, int], int] = field(default_factory=dict)
    """Position of a token that follows a position (-1: none)."""

    def add(self, spans: Sequence[Span], owners: Sequence[int], *, share: bool) -> None:
        """Add a tree; with `share`, positions that the batch already has are used again."""
        read = [span.ids[:-1] for span in spans]
        paths = [self._path(ids, share=share) for ids in read]
        trunk = len(_common(read))
        source, branches = paths[0][:trunk], [0] * trunk
        for branch, path in enumerate(paths, 1):
            source += path[trunk:]
            branches += [branch] * (len(path) - trunk)
        self.sources.append(source)
        self.branches.append(branches)
        for span, path, owner in zip(spans, paths, owners, strict=True):
            self.places += path[span.start - 1 :]
            self.targets += span.ids[span.start :]
            self.owners += [owner] * (len(span.ids) - span.start)

    def _path(self, ids: Sequence[int], *, share: bool) -> list[int]:
        """Return the position of each token of a text, adding those that are new."""
        path, before = [], -1
        for number, token in enumerate(ids):
            place = self.known.get((before, token)) if share else None
            if place is None:
                place = self.known[before, token] = len(self.ids)
                self.ids.append(token)
                self.positions.append(number)
            path.append(before := place)
        return path

    def fill(self) -> None:
        """Add positions that nothing attends to, up to a multiple of rows for which products are fast."""
        count = -len(self.ids) % ROW_MULTIPLE
        self.sources[-1] += range(len(self.ids), len(self.ids) + count)
        for part, value in ((self.ids, 0), (self.positions, 0), (self.branches[-1], -1)):
            part += [value] * count


def score_spans(
    model: Transformer, groups: Sequence[Sequence[Span]], progress: Callable[[int], None] = lambda _: None
) -> list[list[SpanScore]]:
    """Return the score of each span, in the order given; `progress` receives the number of spans done with each batch.

    A span longer than the model's context loses tokens from its beginning.
    """
    count = sum(map(len, groups))
    logprobs, greedy = torch.zeros(count, dtype=torch.double), torch.ones(count, dtype=torch.bool)
    with torch.inference_mode():
        for batch in _batches(model, groups):
            values, best = _read(model, batch)
            owners = torch.tensor(batch.owners)
            logprobs.index_add_(0, owners, values)
            greedy[owners[~best]] = False
            progress(len({*batch.owners}))
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


def _batches(model: Transformer, groups: Sequence[Sequence[Span]]) -> Iterator[_Batch]:
    """Yield one tree for each group, or for each span if the model cannot share positions, those alike together.

    Windows, n-grams and the token shift are measured in columns, which in a branch are not those of the text.
    """
    share = not any(model.config.windows) and not model.config.reach
    owners = iter(range(sum(map(len, groups))))
    trees = [[(_fitting(model, span), next(owners)) for span in group] for group in groups]
    if not share:
        trees = [[one] for tree in trees for one in tree]
    most = _POSITIONS.get(model.device.type, _POSITIONS["cpu"])
    batch = _Batch()
    for tree in sorted(filter(None, trees), key=lambda tree: list(tree[0][0].ids)):
        batch.add(*zip(*tree, strict=True), share=share)
        if len(batch.ids) >= most:
            yield batch
            batch = _Batch()
    if batch.ids:
        yield batch


def _common(sequences: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest common beginning."""
    columns = takewhile(lambda column: len({*column}) == 1, zip(*sequences, strict=False))
    return [column[0] for column in columns]


def _read(model: Transformer, batch: _Batch) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each scored token of a batch [N] in float64, and whether it is the likeliest."""
    batch.fill()
    ids, positions = (torch.tensor(part, device=model.device)[None] for part in (batch.ids, batch.positions))
    trees = Trees(batch.sources, batch.branches).to(model.device)
    hidden = model.hidden(ids, positions=positions, mask=trees)[0]
    return _chosen(model, hidden, torch.tensor(batch.places), torch.tensor(batch.targets))


def _chosen(model: Transformer, hidden: Tensor, where: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each target, and whether it is the likeliest token there.

    `hidden` is [T, C], `where` [N] the row of each target; logits are computed once where several are predicted.
    """
    places, back = where.unique(return_inverse=True)
    order = back.argsort(stable=True)
    back, targets, device = back[order], targets[order].to(hidden.device), hidden.device
    logprobs, best = [], []
    most = _LOGITS.get(device.type, _LOGITS["cpu"]) // model.config.vocab_size
    chunk = max(1, most // ROW_MULTIPLE * ROW_MULTIPLE or most)
    for start in range(0, len(places), chunk):
        some = _whole(places[start : start + chunk])
        logits = model.head(hidden[some.to(device)]).float()
        inside = (back >= start) & (back < start + chunk)
        line, chosen = (back[inside] - start).to(device), targets[inside.to(device)]
        values, (largest, likeliest) = logits[line, chosen], logits.max(-1)
        # softmax adds up a vocabulary in one go, and is off by 1e-5 a token; sum adds up parts
        beyond = logits.sub_(largest[:, None]).exp_().sum(-1).log()
        logprobs.append((values.double() - largest[line] - beyond[line]).cpu())
        best.append((likeliest[line] == chosen).cpu())
    back = order.argsort()
    return torch.cat(logprobs)[back], torch.cat(best)[back]


def _whole(places: Tensor) -> Tensor:
    """Return the places with the last one repeated up to a multiple of rows that a product is fast for."""
    rest = -len(places) % ROW_MULTIPLE
    return torch.cat((places, places[-1:].expand(rest)))
