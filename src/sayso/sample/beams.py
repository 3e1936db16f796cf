"""Beam search: find the likeliest complete replies with a fixed number of hypotheses, instead of sampling one.

Hypotheses share the cache blocks of their common prefix (Kwon et al. 2023); one that splits copies its last, partly
filled block. W hypotheses in parallel, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sayso.base.errors import UserError
from sayso.model.transformer import Transformer
from sayso.sample.blocks import BLOCK, Blocks, blocks_for
from sayso.sample.engine import room
from sayso.sample.native.choose import runner_for
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk
from sayso.sample.sampling import Sampling

MOST_BEAMS = 64


@dataclass(frozen=True)
class Beam:
    """One reply found by the search."""

    ids: list[int]
    """The new tokens, without the stop id."""
    logprob: float
    """Natural log-probability of the whole reply with its stop id."""
    score: float
    """The log-probability divided by length ** length_penalty, including the stop id (Wu et al. 2016)."""
    finish: str
    """"stop" or "length"."""


@dataclass(frozen=True)
class Hypothesis:
    """An unfinished reply: its tokens, the cache blocks of its processed tokens, and its log-probability."""

    ids: tuple[int, ...]
    blocks: list[int]
    logprob: float


@torch.inference_mode()
def beam_search(
    model: Transformer,
    prompt: Sequence[int],
    width: int,
    max_tokens: int,
    stop_ids: frozenset[int] = frozenset(),
    *,
    length_penalty: float = 1.0,
) -> list[Beam]:
    """Return up to `width` replies, best first.

    Each step considers the 2 W likeliest continuations: those with a stop id among the first W are finished, the
    first W others continue. The search ends when W replies are finished and no hypothesis can still improve, or at
    `max_tokens`. Raises `UserError` for a width out of range, or a prompt that is empty or leaves no room.
    """
    if not 1 <= width <= MOST_BEAMS:
        raise UserError(f"A beam search must have from 1 to {MOST_BEAMS} beams; got {width}.")
    most = room(model, prompt, Sampling(max_tokens=max_tokens))
    search = Search(model, len(prompt) + most, width)
    active = [search.begin(prompt)]
    logits, finished = search.forward(active, prompt), list[Beam]()
    for length in range(1, most + 1):
        logprobs = logits.float().log_softmax(-1) + torch.tensor(
            [[hypothesis.logprob] for hypothesis in active], device=logits.device
        )
        best = logprobs.flatten().topk(min(2 * width, logprobs.numel()))
        children: list[tuple[Hypothesis, int, float]] = []
        for rank, (place, logprob) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True)):
            parent, token = active[place // logprobs.shape[1]], place % logprobs.shape[1]
            if token not in stop_ids:
                children.append((parent, token, logprob))
            elif rank < width:
                finished.append(Beam(list(parent.ids), logprob, logprob / length**length_penalty, "stop"))
        children = children[:width]
        finished = sorted(finished, key=lambda beam: -beam.score)[:width]
        reach = most if length_penalty > 0 else length
        if not children or (len(finished) == width and finished[-1].score >= children[0][2] / reach**length_penalty):
            return finished
        if length == most:
            cut = [
                Beam([*parent.ids, token], logprob, logprob / length**length_penalty, "length")
                for parent, token, logprob in children
            ]
            return sorted([*finished, *cut], key=lambda beam: -beam.score)[:width]
        active = search.split(active, children, len(prompt) + length - 1)
        logits = search.forward(active, prompt)
    return finished


class Search:
    """The cache and the runner of one search."""

    def __init__(self, model: Transformer, tokens: int, width: int) -> None:
        # While hypotheses split, the last blocks of both old and new ones exist.
        self.blocks = Blocks((width + 1) * (blocks_for(tokens) + 1))
        self.pages = Pages(model.config, self.blocks.count, model.device, model.dtype)
        self.runner = runner_for(model, self.pages)

    def begin(self, prompt: Sequence[int]) -> Hypothesis:
        """Return the empty hypothesis."""
        return Hypothesis((), self._allocate(blocks_for(len(prompt))), 0.0)

    def forward(self, active: Sequence[Hypothesis], prompt: Sequence[int]) -> torch.Tensor:
        """Process the hypotheses' last tokens, or the prompt; return logits [W, V]."""
        chunks = [
            Chunk(one.ids[-1:], len(prompt) + len(one.ids) - 1, one.blocks) if one.ids else Chunk(prompt, 0, one.blocks)
            for one in active
        ]
        ends = torch.tensor([len(chunk.ids) for chunk in chunks]).cumsum(0) - 1
        hidden = self.runner.hidden(chunks)
        return self.runner.head(hidden[ends.to(hidden.device)])

    def split(
        self, active: Sequence[Hypothesis], children: Sequence[tuple[Hypothesis, int, float]], cached: int
    ) -> list[Hypothesis]:
        """Return the children as hypotheses with room for one more token; `cached` tokens of each parent are kept."""
        full, grown = cached // BLOCK, []
        for parent, token, logprob in children:
            self.blocks.hold(parent.blocks[:full])
            own = self._allocate(1)
            if cached % BLOCK:
                self.pages.copy(parent.blocks[full], own[0])
            grown.append(Hypothesis((*parent.ids, token), [*parent.blocks[:full], *own], logprob))
        for one in active:
            self.blocks.release(one.blocks)
        return grown

    def _allocate(self, count: int) -> list[int]:
        blocks = [self.blocks.take() for _ in range(count)]
        self.pages.clear(blocks)
        return blocks
