"""What the model would predict if one token of the text had not been there.

R tokens that are left out, one at a time.
"""

from typing import TYPE_CHECKING

import torch

from sayso.lens.tracing import trace
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

BUDGET = 1024
"""Tokens that are read again at most: all can be left out of a text of 32, and only the last ones of a longer text."""


def without_panel(view: "View", position: int, target: int) -> Panel:
    """Return the prediction after a position with each of the tokens up to it left out; those after it move up by one.

    A model that attends both ways reads the whole row but for one token, which is another one than that at the position
    and no control token.

    Arrays, [R] each: removed, the positions; share, the probability of `target` then; best and best_share, the
    likeliest token then and its probability. meta["share"] is the probability of `target` with all tokens. Nothing can
    be left out of a single token.
    """
    position, target = view.position(position), view.token(target)
    ids = view.ids[0].tolist() if view.network.looks_ahead else view.ids[0, : position + 1].tolist()
    removed = _removable(view, ids, position)[-max(1, BUDGET // len(ids)) :]
    logits = torch.zeros(0, view.network.config.vocab_size)
    with torch.no_grad():
        whole = view.network.head(view.network.norm(view.streams[-1, position])).float().softmax(-1)
        if removed:
            last = f"blocks.{view.network.config.layers - 1}.hook_resid_post"
            streams = trace(view.network, [ids[:at] + ids[at + 1 :] for at in removed], last)[last]
            moved = [max(0, position - (at <= position)) for at in removed]
            logits = view.network.head(view.network.norm(streams[range(len(removed)), moved])).float()
    shares = logits.softmax(-1)
    best = shares.argmax(-1)
    arrays = {
        "removed": torch.tensor(removed, dtype=torch.int32),
        "share": shares[:, target],
        "best": best,
        "best_share": shares.gather(-1, best[:, None])[:, 0],
    }
    return Panel({"position": position, "share": whole[target].item(), "words": view.words(best)}, arrays)


def _removable(view: "View", ids: list[int], position: int) -> list[int]:
    """Return the positions of the tokens that may be left out."""
    if not view.network.looks_ahead:
        return [*range(len(ids))] if position else []
    return [at for at, token in enumerate(ids) if at != position and token not in view.tokenizer.control]
