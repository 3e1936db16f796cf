"""Where in a text the neurons of a layer are most active: takes held-out documents, returns places in them.

N rows of T tokens, F neurons.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sayso.judge.held_out import held_out
from sayso.lens.examples import max_examples
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

BYTES, LENGTH = 20_000, 64
"""Held-out text of each kind that is read, and tokens of a row."""
EXAMPLES, BEFORE, AFTER = 5, 10, 5
"""Places of a neuron, and the tokens before and after each that are shown."""


def text_rows(folder: Path, tokenizer: Tokenizer, rows: int) -> Tensor | None:
    """Return at most `rows` rows of ids [N, T] from a folder's held-out documents; None if they do not fill one."""
    ids: list[int] = []
    samples = held_out(folder, "val", BYTES).values() if rows else ()
    for text in (text for sample in samples for text in sample.texts):
        ids += [tokenizer.specials[BOS], *tokenizer.encode(text)]
    count = min(rows, len(ids) // LENGTH)
    return torch.tensor(ids[: count * LENGTH]).view(count, LENGTH) if count else None


def examples_panel(view: "View", layer: int, neuron: int) -> Panel:
    """Return the places in the view's corpus where a neuron is most active, at most one of each row.

    meta["examples"] is None if there is no corpus.
    """
    layer, neuron = view.layer(layer), view.neuron(neuron)
    corpus = view.corpus
    if corpus is None:
        return Panel({"examples": None})
    if view.examples is None or view.examples[0] != layer:
        view.examples = layer, max_examples(view.network, corpus, f"blocks.{layer}.mlp.hook_post", EXAMPLES)
    found = view.examples[1]
    places = zip(*(part[neuron].tolist() for part in (found.values, found.rows, found.positions)), strict=True)
    examples = []
    for value, row, at in places:
        first = max(0, at - BEFORE)
        tokens = [view.text(token) for token in corpus[row, first : at + AFTER + 1].tolist()]
        examples.append({"value": value, "row": row, "position": at, "tokens": tokens, "at": at - first})
    meta = {"examples": examples, "share": found.share[neuron].item(), "tokens": corpus.numel()}
    return Panel({"layer": layer, "neuron": neuron, **meta})
