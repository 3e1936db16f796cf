"""Beam search: the likeliest complete replies found with a fixed number of hypotheses, instead of a sampled one.

Takes a prompt, returns its best replies. Hypotheses share the blocks of their common prefix (Kwon et al. 2023); one
that splits copies its last, partly filled block. W hypotheses in parallel, V vocabulary.
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
    """One reply of the search."""

    ids: list[int]
    """The new tokens, without the stop id."""
    logprob: float
    """Natural log-probability of the whole reply with its stop id."""
    score: float
    """The log-probability divided by length ** length_penalty, the stop id counted (Wu et al. 2016)."""
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
    going = [search.begin(prompt)]
    logits, ended = search.read(going, prompt), list[Beam]()
    for length in range(1, most + 1):
        chances = logits.float().log_softmax(-1) + torch.tensor([[one.logprob] for one in going], device=logits.device)
        best = chances.flatten().topk(min(2 * width, chances.numel()))
        children: list[tuple[Hypothesis, int, float]] = []
        for rank, (place, logprob) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True)):
            parent, token = going[place // chances.shape[1]], place % chances.shape[1]
            if token not in stop_ids:
                children.append((parent, token, logprob))
            elif rank < width:
                ended.append(Beam(list(parent.ids), logprob, logprob / length**length_penalty, "stop"))
        children = children[:width]
        ended = sorted(ended, key=lambda beam: -beam.score)[:width]
        reach = most if length_penalty > 0 else length
        if not children or (len(ended) == width and ended[-1].score >= children[0][2] / reach**length_penalty):
            return ended
        if length == most:
            cut = [
                Beam([*parent.ids, token], logprob, logprob / length**length_penalty, "length")
                for parent, token, logprob in children
            ]
            return sorted([*ended, *cut], key=lambda beam: -beam.score)[:width]
        going = search.split(going, children, len(prompt) + length - 1)
        logits = search.read(going, prompt)
    return ended


class Search:
    """The cache of one search."""

    def __init__(self, model: Transformer, tokens: int, width: int) -> None:
        # While hypotheses split, the last blocks of both old and new ones exist.
        self.blocks = Blocks((width + 1) * (blocks_for(tokens) + 1))
        self.pages = Pages(model.config, self.blocks.count, model.device, model.dtype)
        self.runner = runner_for(model, self.pages)

    def begin(self, prompt: Sequence[int]) -> Hypothesis:
        """Return the empty hypothesis."""
        return Hypothesis((), self._taken(blocks_for(len(prompt))), 0.0)

    def read(self, going: Sequence[Hypothesis], prompt: Sequence[int]) -> torch.Tensor:
        """Process the hypotheses' last tokens, or the prompt; return logits [W, V]."""
        chunks = [
            Chunk(one.ids[-1:], len(prompt) + len(one.ids) - 1, one.blocks) if one.ids else Chunk(prompt, 0, one.blocks)
            for one in going
        ]
        ends = torch.tensor([len(chunk.ids) for chunk in chunks]).cumsum(0) - 1
        hidden = self.runner.hidden(chunks)
        return self.runner.head(hidden[ends.to(hidden.device)])

    def split(
        self, going: Sequence[Hypothesis], children: Sequence[tuple[Hypothesis, int, float]], read: int
    ) -> list[Hypothesis]:
        """Return the children as hypotheses with room for one more token; `read` tokens of each parent are kept."""
        whole, grown = read // BLOCK, []
        for parent, token, logprob in children:
            self.blocks.hold(parent.blocks[:whole])
            own = self._taken(1)
            if read % BLOCK:
                self.pages.copy(parent.blocks[whole], own[0])
            grown.append(Hypothesis((*parent.ids, token), [*parent.blocks[:whole], *own], logprob))
        for one in going:
            self.blocks.release(one.blocks)
        return grown

    def _taken(self, count: int) -> list[int]:
        blocks = [self.blocks.take() for _ in range(count)]
        self.pages.clear(blocks)
        return blocks
