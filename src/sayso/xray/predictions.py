"""What is predicted: after each block, finally, and how surprising each token of the row was.

N residual streams, T tokens, V vocabulary, k tokens of each cell.
"""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from sayso.base.errors import UserError
from sayso.lens.positions import position_kinds
from sayso.lens.readout import lens_measures, logprobs_of
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

NO_TEXT = "This program attends in both directions, so that it cannot write on; compile it with --causal."
COLUMNS = 64
"""Positions of a piece of the map: a vocabulary of numbers for each is computed at once."""
CELL = 5
"""Tokens of a cell of the map."""


def tokens_panel(view: "View") -> Panel:
    """Return the model's shape, and of each token its text, surprisal in bits and rank when it was predicted.

    meta["parts"] names the parts of a compiled program, and is None for other models.
    The first token was not predicted; its surprisal is NaN, and its rank -1. So are those of all tokens if positions
    also see later ones.
    """
    config, ids = view.network.config, view.ids[0]
    surprisal, rank = torch.full((view.length,), math.nan), torch.full((view.length,), -1)
    with torch.no_grad():
        for first in () if view.network.looks_ahead else range(0, view.length - 1, COLUMNS):
            last = min(first + COLUMNS, view.length - 1)
            logprobs = logprobs_of(view.network, view.streams[-1, first:last])
            of_next = logprobs.gather(-1, ids[first + 1 : last + 1, None])
            surprisal[first + 1 : last + 1] = (-of_next[:, 0] / math.log(2)).cpu()
            rank[first + 1 : last + 1] = (logprobs > of_next).sum(-1).cpu()
    shape = {
        "layers": config.layers,
        "heads": config.heads,
        "kv_heads": config.kv_heads,
        "head_size": config.head_size,
        "width": config.width,
        "mlp": config.mlp,
        "mlp_width": config.mlp_width,
        "vocab_size": config.vocab_size,
        "context": config.context,
        "norm": config.norm,
        "attention_cap": config.attention_cap,
        "logit_cap": config.logit_cap,
        "parameters": sum(weight.numel() for weight in view.network.parameters()),
        "positions": list(position_kinds(view.network)),
        "looks_ahead": view.network.looks_ahead,
    }
    tokens = [[token, view.text(token)] for token in ids.tolist()]
    names = view.background.names
    parts = asdict(names) if names else None
    meta = {"name": view.name, "shape": shape, "tokens": tokens, "prompt": view.prompt, "parts": parts}
    return Panel(meta, {"surprisal": surprisal, "rank": rank})


def map_panel(view: "View", first: int = 0) -> Panel:
    """Return a piece of the map from position `first` on: what each residual stream would predict there.

    Arrays: top [N, t, k], their log-probabilities [N, t, k], entropy and KL from the final prediction [N, t], in bits.
    """
    first = view.position(first)
    part = view.streams[:, first : first + COLUMNS]
    with torch.no_grad():
        final = logprobs_of(view.network, part[-1])
        k = min(CELL, view.network.config.vocab_size)
        parts = [lens_measures(logprobs_of(view.network, x), final, final.argmax(-1), k) for x in part]
    top, logprobs, entropy, kl, *_ = (torch.stack(one) for one in zip(*parts, strict=True))
    bits = 1 / math.log(2)
    return Panel(
        {"first": first, "words": view.words(top)},
        {"top": top, "logprobs": logprobs, "entropy": entropy * bits, "kl": kl.clamp_min(0) * bits},
    )


def logits_panel(view: "View", position: int) -> Panel:
    """Return the logits [V] at a position, after a soft cap, and the texts of the largest ones."""
    position = view.position(position)
    with torch.no_grad():
        logits = view.network.head(view.network.norm(view.streams[-1, position])).float()
    top = logits.topk(min(60, len(logits))).indices
    return Panel({"position": position, "words": view.words(top)}, {"logits": logits})


def continued_panel(view: "View", count: int) -> Panel:
    """Return the text that the model writes after the row, greedily, in at most `count` tokens; [t] ids.

    Raises `UserError` for a model whose positions also see later ones.
    """
    if view.network.looks_ahead:
        raise UserError(NO_TEXT)
    sampling = Sampling(temperature=0, max_tokens=count)
    (made,) = generate(view.network, [view.ids[0].tolist()], sampling, view.tokenizer.stop_ids)
    return Panel({"text": view.tokenizer.decode(made.ids)}, {"ids": torch.tensor(made.ids, dtype=torch.int32)})


def words_panel(view: "View") -> Panel:
    """Return the text of every token of the vocabulary, in UTF-8, with NUL between them."""
    texts = (text.replace("\0", "\ufffd") for text in view.vocabulary.texts)
    return Panel({}, {"texts": torch.frombuffer(bytearray("\0".join(texts).encode()), dtype=torch.uint8)})
