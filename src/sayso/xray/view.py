"""A view of one row of tokens in a model: takes a model, its tokenizer and ids, returns the numbers of each panel.

    view = View(model.module, model.tokenizer, model.ids("The cat sat"))
    view.panel("head", layer=3, head=2)

Panels are computed when they are asked for, from what `sayso.lens` gives; the names of their values are the
parameters. T tokens, L layers, N residual streams (the input of the first block and the output of each), H heads,
D head size, C width, V vocabulary, K candidates.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from inspect import Parameter, signature
from itertools import takewhile
from typing import Any
from weakref import proxy

import torch
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.direct import Attribution, attributed, read_by_attribution
from sayso.lens.examples import Examples
from sayso.lens.names import select
from sayso.lens.readout import with_logits
from sayso.lens.tracing import Ids, Trace, at_position, rows_of, rows_seen, trace
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.xray.background import Background
from sayso.xray.circuit import circuit_panel, density_of
from sayso.xray.embeddings import embedding_panel, positions_panel, stream_panel
from sayso.xray.examples import examples_panel
from sayso.xray.heads import attention_of, head_panel, heads_panel, written_by_heads, written_panel
from sayso.xray.neurons import neurons_of, neurons_panel
from sayso.xray.opened import Vocabulary, text_of
from sayso.xray.pack import Panel
from sayso.xray.predictions import continued_panel, logits_panel, map_panel, tokens_panel, words_panel
from sayso.xray.training import Final, final_of, learned_of, training_panel
from sayso.xray.what_if import what_if_panel
from sayso.xray.why import by_token_panel, why_panel
from sayso.xray.without import without_panel

LONGEST = 2048
"""Tokens of a row: the pattern of a head has as many numbers as their square."""
SHORT = 32
"""Tokens of a row of which all activations are kept: with SmolLM2-135M they take 80 MB."""
KEPT = 8
"""Positions of which intermediate results are kept, at least as many as a saved page explains."""


class View:
    """One row of tokens in a model. `name` is what the page calls the model."""

    def __init__(
        self,
        network: Transformer,
        tokenizer: Tokenizer,
        ids: Ids,
        name: str = "model",
        prompt: int | None = None,
        background: Background | None = None,
    ) -> None:
        """Take a row of which the first `prompt` tokens were given, and the others generated; None = all were given.

        Raises `UserError` for ids that the model cannot take, for several or too long rows, and a reward model.
        """
        self.network, self.tokenizer, self.name = with_logits(network), tokenizer, name
        self.background = background or Background()
        self.ids = rows_of(self.network, ids)
        if len(self.ids) > 1:
            raise UserError(f"An x-ray shows one row of tokens; got {len(self.ids)}.")
        if self.length > LONGEST:
            raise UserError(f"An x-ray shows at most {LONGEST:,} tokens; got {self.length:,}.")
        self.prompt = self.length if prompt is None else prompt
        self.examples: tuple[int, Examples] | None = None
        """The layer whose examples were looked for last, with these."""
        own = proxy(self)  # what is kept on a view must not keep the view, or its model would outlive it
        self.read = lru_cache(KEPT)(partial(View._read, own))
        """Takes a position, returns what attribution reads for the prediction after it."""
        self.attribution = lru_cache(KEPT)(partial(View._attribution, own))
        """Takes a position and pairs of a token and its sign, returns what each part adds to their sum."""
        self.attention = lru_cache(1)(partial(attention_of, own))
        """Takes a layer, returns the parts of its attention, as `attention_of` does."""
        self.neurons = lru_cache(1)(partial(neurons_of, own))
        """Takes a layer, returns the activations of its neurons, as `neurons_of` does."""
        self.written = lru_cache(KEPT)(partial(written_by_heads, own))
        """Takes a layer and a position, returns what its heads write there, as `written_by_heads` does."""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.ids.shape[1]

    def panel(self, kind: str, **where: Any) -> Panel:
        """Return the numbers of a panel. Raises `UserError` for an unknown panel, and for places that do not exist."""
        if kind not in PANELS:
            raise UserError(f"A panel must be one of {', '.join(PANELS)}; got '{kind}'.{nearest(kind, PANELS)}")
        taken = signature(PANELS[kind]).parameters
        if other := [name for name in where if name not in taken or name == "view"]:
            raise UserError(f"The panel '{kind}' has no '{other[0]}'; it takes {', '.join([*taken][1:]) or 'nothing'}.")
        needed = [name for name, one in taken.items() if one.default is Parameter.empty and name != "view"]
        if missing := [name for name in needed if name not in where]:
            raise UserError(f"The panel '{kind}' needs '{missing[0]}'.")
        return PANELS[kind](self, **where)

    @cached_property
    def streams(self) -> Tensor:
        """The residual streams [N, T, C]."""
        found = self.trace("blocks.0.hook_resid_pre", "blocks.*.hook_resid_post")
        return torch.stack([found[name][0] for name in found])

    @cached_property
    def corpus(self) -> Tensor | None:
        """Rows of ids [N, T] in which examples are looked for, at most as long as the context."""
        rows = self.background.corpus()
        return None if rows is None else rows[:, : self.network.config.context].to(self.ids.device)

    def trace(self, *names: str) -> Trace:
        """Return activations of the row; those of a short one are computed once for all panels."""
        if self.length > SHORT:
            return trace(self.network, self.ids, names)
        return Trace({name: self._whole[name] for name in select(names, [*self._whole])}, self.ids)

    @cached_property
    def _whole(self) -> Trace:
        return trace(self.network, self.ids)

    @cached_property
    def scales(self) -> Tensor:
        """What the last norm divides by at each position [T, 1]."""
        return self.trace("ln_final.hook_scale")["ln_final.hook_scale"][0]

    @cached_property
    def final(self) -> Final:
        """What the model predicts itself, beside that of its earlier weights."""
        return final_of(self)

    @cached_property
    def learned(self) -> Panel:
        """The panel of training time. Once `final` is known, the model is not used, and any thread may ask for it."""
        return learned_of(self)

    @cached_property
    def density(self) -> float | None:
        """Share of the weights in the blocks that are not zero; None if they are quantized."""
        return density_of(self.network)

    def _read(self, position: int) -> Trace:
        wanted = partial(read_by_attribution, self.network)
        found = trace(self.network, rows_seen(self.network, self.ids, position), wanted)
        return at_position(found, position)

    def _attribution(self, position: int, *signs: tuple[int, int]) -> Attribution:
        weights = torch.zeros(1, self.network.config.vocab_size)
        for token, sign in signs:
            weights[0, token] += sign
        return attributed(self.network, self.read(position), weights)

    def text(self, token: int) -> str:
        """Return the text of a token, as `text_of` does."""
        return text_of(self.tokenizer, token)

    @property
    def vocabulary(self) -> Vocabulary:
        """The texts that the model's ids stand for."""
        return Vocabulary(self.tokenizer, self.network.config.vocab_size)

    def alike(self, text: str) -> list[int]:
        """Return the ids of another text, after the control tokens that this row begins with."""
        ids = self.ids[0].tolist()
        first = list(takewhile(lambda token: token in self.tokenizer.control, ids))
        return [*first, *self.tokenizer.encode(text)]

    def words(self, tokens: Tensor) -> dict[int, str]:
        """Return the text of each of some tokens by id."""
        return {token: self.text(token) for token in sorted({*tokens.flatten().tolist()})}

    def position(self, position: int) -> int:
        """Return a position, from 0. Raises `UserError` if the row has no such position."""
        return _within("position", position, self.length)

    def layer(self, layer: int) -> int:
        """Return a layer, from 0. Raises `UserError` if the model has no such layer."""
        return _within("layer", layer, self.network.config.layers)

    def head(self, head: int) -> int:
        """Return a head, from 0. Raises `UserError` if the model has no such head."""
        return _within("head", head, self.network.config.heads)

    def neuron(self, neuron: int) -> int:
        """Return a neuron of an MLP, from 0. Raises `UserError` if the layers have no such neuron."""
        return _within("neuron", neuron, self.network.config.mlp_width)

    def token(self, token: int) -> int:
        """Return a token id. Raises `UserError` if it is not in the vocabulary."""
        return _within("token", token, self.network.config.vocab_size)


def _within(what: str, value: int, count: int) -> int:
    if not 0 <= value < count:
        raise UserError(f"A {what} must be from 0 to {count - 1:,} here; got {value}.")
    return value


PANELS: dict[str, Callable[..., Panel]] = {
    "tokens": tokens_panel,
    "map": map_panel,
    "embedding": embedding_panel,
    "positions": positions_panel,
    "stream": stream_panel,
    "heads": heads_panel,
    "head": head_panel,
    "written": written_panel,
    "neurons": neurons_panel,
    "examples": examples_panel,
    "logits": logits_panel,
    "words": words_panel,
    "training": training_panel,
    "continued": continued_panel,
    "why": why_panel,
    "by_token": by_token_panel,
    "circuit": circuit_panel,
    "what_if": what_if_panel,
    "without": without_panel,
}
"""What each panel is computed by."""
