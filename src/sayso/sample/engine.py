"""The engine: takes requests, returns tokens, decoded in parallel.

Continuous batching over a paged cache (Kwon et al. 2023; after vLLM and nano-vllm). In one step every decoding row
gets a token, and prompts are processed in chunks alongside, so that a long prompt does not block other rows
(chunked prefill; Agrawal et al. 2023). Computed prefixes are reused. When the cache is full, the youngest row gives
up its blocks and is resumed later. The output of a request does not depend on the others.
"""

from bisect import insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.model.transformer import Transformer
from sayso.sample.blocks import BLOCK, Blocks, blocks_for, names_after
from sayso.sample.native.choose import runner_for
from sayso.sample.pages import Pages, bytes_per_token
from sayso.sample.pick import tops
from sayso.sample.request import PromptLogprob, Request
from sayso.sample.row import Row
from sayso.sample.rules import make_rules
from sayso.sample.runner import Chunk, Runner
from sayso.sample.sampling import Sampling
from sayso.sample.speculate import Draft, Lookup, Proposer, check_draft
from sayso.sample.take import ActiveRow, take

ROWS = 64  # rows decoded in parallel
_PASS_TOKENS = 512  # tokens in one pass: limits how long a prompt chunk delays decoding rows
SPECULATED = 4  # tokens that a draft model proposes at once, by default
SPECULATED_ROWS = 8  # with more decoding rows, passes are full without proposals
MEMORY = 2**32  # default maximum of the cache in bytes; on a CPU only used pages take memory


@dataclass
class _Counts:
    """Counters of the engine since its start."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were already cached."""
    reply_tokens: int = 0
    proposals: int = 0
    proposed_tokens: int = 0
    """Tokens proposed by speculative decoding."""
    accepted_tokens: int = 0
    """Proposed tokens that the model picked too."""
    accepted_at: list[int] = field(default_factory=list)
    """Accepted tokens by their position in a proposal."""
    preemptions: int = 0
    steps: int = 0
    step_tokens: int = 0
    """Tokens processed by all steps, proposed ones included."""


class Engine:
    """Rows of requests over one model and one cache."""

    def __init__(
        self,
        model: Transformer,
        *,
        rows: int = ROWS,
        tokens: int | None = None,
        pass_tokens: int = _PASS_TOKENS,
        refill: int = 1,
        reuse: bool = True,
        speculate: int = 0,
        draft: Transformer | None = None,
        adapters: Mapping[str, Transformer] | None = None,
        cache_bits: int = 0,
        deterministic: bool = False,
    ) -> None:
        """Allocate room for `rows` parallel requests and `tokens` tokens of cache.

        Default of `tokens`: enough to fill the context of every row, within `MEMORY`. Waiting requests start when
        `refill` rows are free, or enough for all of them: prompts processed together cost less than one by one.
        `reuse`: whether to reuse prefixes. `speculate`: number of tokens proposed at once to each of a few rows, by the
        `draft` model or, without one, by prompt lookup. `adapters`: the same model with adapters added, by the names
        that requests use. `cache_bits`: 8 stores keys and values as integers (see `Pages`).
        `deterministic`: the bits of a reply depend neither on other requests nor on the contents of the cache.
        """
        config = model.config
        if tokens is None:
            most = max(config.context, MEMORY // bytes_per_token(config, model.dtype, cache_bits))
            tokens = min(rows * config.context, most)
        self.model, self.rows, self.pass_tokens, self.refill, self.reuse = model, rows, pass_tokens, refill, reuse
        self.blocks = Blocks(blocks_for(tokens))
        self.pages = Pages(config, self.blocks.count, model.device, model.dtype, cache_bits)
        self.deterministic = deterministic
        self.runners: dict[str, Runner] = {}
        for name, variant in {"": model, **(adapters or {})}.items():
            self.load_adapter(name, variant)
        self.waiting: deque[Request] = deque()  # in the order of their rounds
        self.round = 0  # of the last request that started
        self.running: list[Row] = []
        self.counts = _Counts()
        self.proposer: Proposer | None = None
        if draft is not None:
            check_draft(model, draft)
            self.proposer = Draft(draft, speculate or SPECULATED, self.blocks.count)
        elif speculate:
            self.proposer = Lookup(speculate)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running

    def load_adapter(self, name: str, model: Transformer) -> None:
        """Serve the same model with an adapter to requests that use `name`; "" is the model itself."""
        self.runners[name] = runner_for(model, self.pages, deterministic=self.deterministic)

    def unload_adapter(self, name: str) -> None:
        """Remove an adapter. Raises `UserError` while requests use it."""
        used = sum(request.adapter == name for request in (*self.waiting, *(row.request for row in self.running)))
        if used:
            raise UserError(f"The adapter '{name}' is used by {used} requests; unload it when they have ended.")
        del self.runners[name]

    def add(self, request: Request, place: int = 0) -> None:
        """Queue a request. Of requests that belong together, `place` is the number of those before this one.

        Callers take turns: the second request of one starts after the first ones of all that have come by then.

        Raises `UserError` for a prompt that is empty or leaves no room in the context or the cache, for an unknown
        adapter, and for settings with ids beyond the vocabulary.
        """
        if request.adapter not in self.runners:
            known = [name for name in self.runners if name]
            text = f"Adapters are {', '.join(known)}" if known else "This model was opened without adapters"
            raise UserError(f"{text}; got '{request.adapter[:100]}'.{nearest(request.adapter, known)}")
        if request.sampling.edits:
            request.rules = make_rules(request.sampling, request.prompt, request.stop_ids, self.model.config.vocab_size)
        request.room = room(self.model, request.prompt, request.sampling)
        needed = len(request.prompt) + request.room
        if blocks_for(needed) > self.blocks.count:
            raise UserError(
                f"A request must fit in the cache of {self.blocks.count * BLOCK} tokens; this one may need {needed}: "
                "lower max_tokens or shorten the prompt."
            )
        request.round = self.round + 1 + place
        insort(self.waiting, request, key=lambda other: other.round)

    def cancel(self, request: Request) -> None:
        """Stop a request in any state; its blocks are free at once."""
        if request in self.waiting:
            self.waiting.remove(request)
        for row in self.running:
            if row.request is request:
                self._remove(row)
                break
        request.finish = request.finish or "cancelled"

    def step(self) -> list[Request]:
        """Run one pass and return the requests that got a token or finished."""
        self._admit()
        plan = self._plan()
        if not plan:
            return []
        self.counts.steps += 1
        self.counts.step_tokens += sum(len(chunk.ids) for _, chunk in plan)
        hidden = self._hidden(plan)
        active, hidden_states, first = [], [], 0
        for (row, chunk), states in zip(plan, hidden.split([len(chunk.ids) for _, chunk in plan]), strict=True):
            if row.request.prompt_tops is not None and row.done < len(row.request.prompt):
                self._score(row, states)
            proposed: Sequence[int] = chunk.ids[row.length - row.done :]
            self._record_cached(row, min(row.done + len(chunk.ids), row.length))
            if row.done == row.length:
                active.append(ActiveRow(row, proposed, first))
                hidden_states.append(states[-1 - len(proposed) :])
                first += 1 + len(proposed)
        if active:
            self._pick(active, self.runners[""].head(torch.cat(hidden_states)))
        return [one.row.request for one in active]

    def _hidden(self, plan: list[tuple[Row, Chunk]]) -> Tensor:
        """Return the states [N, C] of all new tokens, computed by the runner of each row's adapter."""
        places: dict[str, list[int]] = {}
        for place, (row, _) in enumerate(plan):
            places.setdefault(row.request.adapter, []).append(place)
        parts: dict[int, Tensor] = {}
        for name, own in places.items():
            chunks = [plan[place][1] for place in own]
            hidden = self.runners[name].hidden(chunks)
            if len(places) == 1:
                return hidden
            parts |= zip(own, hidden.split([len(chunk.ids) for chunk in chunks]), strict=True)
        return torch.cat([parts[place] for place in range(len(plan))])

    def _admit(self) -> None:
        """Start waiting requests while rows and blocks are free."""
        free = self.rows - len(self.running)
        if self.running and free < min(self.refill, len(self.waiting)):
            return
        pending = {name for row in self.running if row.done < row.length for name in row.names[row.done // BLOCK :]}
        deferred: list[Request] = []
        while self.waiting and free > 0:
            request = self.waiting.popleft()
            row = Row(request)
            if self.reuse:
                row.names = names_after(row.origin, row.tokens(0, row.length))
            # The last token is always computed, because its logits are needed.
            known = self.blocks.find(row.names[: (row.length - 1) // BLOCK])
            if request.prompt_tops is not None and not request.ids:
                known = []  # the logits of every token are needed
            elif len(known) < len(row.names) and row.names[len(known)] in pending:
                deferred.append(request)  # another row is computing a prefix that this one can reuse
                continue
            self.blocks.hold(known)
            if blocks_for(row.length) - len(known) > self.blocks.free:
                self.blocks.release(known)
                self.waiting.appendleft(request)
                break
            row.blocks, row.done = known, len(known) * BLOCK
            self._grow(row, row.length)
            if self.reuse and (request.prompt_tops is None or request.ids):
                self._copy_partial_block(row)
            if not request.ids:
                request.reused = row.done
            pending.update(row.names[len(known) :])
            self.counts.prompt_tokens += row.length
            self.counts.reused_tokens += row.done
            self.running.append(row)
            self.round = max(self.round, request.round)
            free -= 1
        self.waiting.extendleft(reversed(deferred))

    def _copy_partial_block(self, row: Row) -> None:
        """Copy the tokens that another row shares of the block after the reused ones."""
        whole = row.done // BLOCK
        before = row.names[whole - 1] if whole else row.origin
        own, best, source = row.tokens(row.done, row.length - 1)[:BLOCK], 0, None
        for other in self.running:
            same_prefix = other.names[whole - 1 : whole] == [before] if whole else other.origin == before
            if same_prefix:
                pairs = zip(own, other.tokens(row.done, min(other.done, row.done + BLOCK)), strict=False)
                count = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                if count > best:
                    best, source = count, other
        if source is not None:
            self.pages.copy(source.blocks[whole], row.blocks[whole])
            row.done += best

    def _plan(self) -> list[tuple[Row, Chunk]]:
        """Return the chunks of this pass: one token per decoding row, then as much of the prompts as fits."""
        for row in list(self.running):
            if row in self.running and row.decodes:
                self._make_room(row)
        decoding = [row for row in self.running if row.decodes]
        proposals = self._propose(decoding)
        plan = [
            (row, Chunk([*row.tokens(row.done, row.length), *proposed], row.done, row.blocks))
            for row, proposed in zip(decoding, proposals, strict=True)
        ]
        left = max(self.pass_tokens - len(plan), 1)
        for row in self.running:
            if not row.decodes and left > 0:
                stop = min(row.length, row.done + left)
                plan.append((row, Chunk(row.tokens(row.done, stop), row.done, row.blocks)))
                left -= stop - row.done
        return plan

    def _propose(self, rows: list[Row]) -> list[list[int]]:
        """Return proposals for each row; none with many rows, since passes are then full without them."""
        if self.proposer is None or len(rows) > SPECULATED_ROWS or not rows:
            return [[] for _ in rows]
        eligible = []
        for row in rows:
            needed = row.length + self.proposer.count
            if blocks_for(needed) - len(row.blocks) <= self.blocks.free and needed <= self.model.config.context:
                self._grow(row, needed)
                eligible.append(row)
        found = dict(zip(eligible, self.proposer.propose(eligible), strict=True))
        cut = [found.get(row, [])[: row.request.room - len(row.request.ids) - 1] for row in rows]
        self.counts.proposals += sum(map(bool, cut))
        self.counts.proposed_tokens += sum(map(len, cut))
        return cut

    def _make_room(self, row: Row) -> None:
        """Allocate the block for a row's next token, preempting the youngest row if none is free."""
        while blocks_for(row.length) > len(row.blocks) + self.blocks.free:
            youngest = self.running[-1]
            self._remove(youngest)
            self.waiting.appendleft(youngest.request)
            self.counts.preemptions += 1
            if youngest is row:
                return
        self._grow(row, row.length)

    def _grow(self, row: Row, tokens: int) -> None:
        new = [self.blocks.take() for _ in range(blocks_for(tokens) - len(row.blocks))]
        if new:
            self.pages.clear(new)
            if self.proposer is not None:
                self.proposer.clear(new)
            row.blocks = [*row.blocks, *new]

    def _record_cached(self, row: Row, done: int) -> None:
        """Record that a row's first `done` tokens are in the cache; name the blocks that became full."""
        full = done // BLOCK
        if self.reuse and full > row.done // BLOCK:
            known = len(row.names)
            last = row.names[-1] if known else row.origin
            row.names += names_after(last, row.tokens(known * BLOCK, full * BLOCK))
            for place in range(row.done // BLOCK, full):
                self.blocks.name(row.blocks[place], row.names[place])
        row.done = done

    def _score(self, row: Row, states: Tensor) -> None:
        """Record the log-probabilities of the prompt tokens that follow those of these states [T, C]."""
        request, first = row.request, row.done + 1
        targets = request.prompt[first : first + len(states)]
        if targets and first == len(request.prompt_scores) + 1:  # a resumed row already has its scores
            logprobs = self.runners[""].head(states[: len(targets)]).log_softmax(-1, dtype=torch.float32)
            own = logprobs.gather(-1, torch.tensor(targets, device=logprobs.device)[:, None])
            ranks = (logprobs > own).sum(-1) + 1
            best = tops(logprobs, [request.prompt_tops or 0] * len(targets))
            request.prompt_scores += map(PromptLogprob, own[:, 0].tolist(), ranks.tolist(), best)

    def _pick(self, active: list[ActiveRow], logits: Tensor) -> None:
        """Pick a token for each row, and more while they match the proposals; remove finished rows."""
        matching, ahead = active, 0
        while matching:
            picked = take(matching, ahead, logits)
            self.counts.reply_tokens += len(picked)
            matching = [
                one for one, token in picked if list(one.proposed[ahead : ahead + 1]) == [token] and one.unfinished
            ]
            self._accept(len(matching), ahead)
            ahead += 1
        for one in active:
            self._record_cached(one.row, max(one.row.done, one.row.length - 1))  # including accepted proposals
            if one.row.request.finish:
                self._remove(one.row)

    def _accept(self, tokens: int, place: int) -> None:
        """Count accepted tokens at one position of the proposals."""
        counts = self.counts
        counts.accepted_tokens += tokens
        if tokens:
            counts.accepted_at += [0] * (place + 1 - len(counts.accepted_at))
            counts.accepted_at[place] += tokens

    def _remove(self, row: Row) -> None:
        self.running.remove(row)
        self.blocks.release(row.blocks)
        row.blocks = []


def room(model: Transformer, prompt: Sequence[int], sampling: Sampling) -> int:
    """Return how many tokens may follow a prompt: `max_tokens`, or fewer if the context has less room.

    Raises `UserError` for a prompt that is empty or leaves no room in the context.
    """
    context = model.config.context
    if not prompt:
        raise UserError("A prompt needs at least one token; got an empty one: add some text.")
    if len(prompt) >= context:
        raise UserError(
            f"The prompt must leave room for a reply in the model's context of {context} tokens; "
            f"it has {len(prompt)}: shorten it or omit earlier turns."
        )
    return min(sampling.max_tokens, context - len(prompt))
