"""What a model would have predicted in the course of its training: the same row, from gibberish to fluent.

S models, from the untrained one to the last, T tokens, k likeliest tokens.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sayso.lens.readout import logprobs_of
from sayso.lens.tracing import trace
from sayso.model import Transformer
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.weights.folder import load_weights
from sayso.xray.pack import Panel

if TYPE_CHECKING:
    from sayso.xray.view import View

LIKELY = 5
PIECE = 64
"""Positions whose vocabularies of numbers are computed at once."""
WRITTEN = 20
"""Tokens that each model writes after the row."""


@dataclass(frozen=True)
class _Predicted:
    """What one model predicts."""

    top: Tensor
    """The likeliest tokens after each position [T, k]."""
    logprobs: Tensor
    """Their log-probabilities [T, k]."""
    followed: Tensor
    """The log-probabilities of given tokens [T, k]."""
    surprisal: Tensor
    """Bits of each token of the row, NaN for the first [T]."""
    said: str
    """How it goes on."""


@dataclass(frozen=True)
class Final:
    """What the model of a view itself predicts."""

    followed: Tensor
    """The tokens that are followed through training, its likeliest ones [T, k]."""
    predicted: _Predicted


def final_of(view: "View") -> Final:
    """Return what the model of a view predicts itself: the part of the panel for which that model is run."""
    with torch.no_grad():
        streams = view.streams[-1]
        followed = torch.cat([_likely(logprobs_of(view.network, x))[0] for x in streams.split(PIECE)])
        return Final(followed, _predicted(view, view.network, streams, followed))


def training_panel(view: "View") -> Panel:
    """Return what each model that was kept in training, and the final one, predicts at each position and writes.

    Arrays: top and their logprobs [S, T, k]; followed [T, k], the likeliest tokens of the final model, and their
    followed_logprobs [S, T, k]; surprisal [S, T] of the row's tokens in bits, NaN for the first. meta["steps"] has the
    steps of all but the final model, none if no weights were kept; meta["folders"] has the folder of each, from that in
    which the life is.
    """
    return view.learned


def learned_of(view: "View") -> Panel:
    """Return the panel. Only its final part runs the view's model; see `final_of`."""
    snapshots, place = view.background.snapshots, view.background.place
    if not snapshots:
        return Panel({"steps": []})
    followed = view.final.followed
    with torch.no_grad():
        models = (load_weights(folder, view.network.device.type) for folder in snapshots.values())
        found = [_predicted(view, model, _last_stream(view, model), followed) for model in models]
        found.append(view.final.predicted)
    names = {"top": "top", "logprobs": "logprobs", "followed_logprobs": "followed", "surprisal": "surprisal"}
    arrays = {name: torch.stack([getattr(one, part) for one in found]) for name, part in names.items()}
    meta = {
        "steps": [*snapshots],
        "folders": [_named(folder, place) for folder in snapshots.values()],
        "said": [one.said for one in found],
        "words": view.words(torch.cat((arrays["top"].flatten(), followed.flatten()))),
    }
    return Panel(meta, {**arrays, "followed": followed})


def _named(folder: Path, place: Path | None) -> str:
    """Return a folder from the place in which the life is; only its name if that is unknown."""
    return (folder.relative_to(place) if place else Path(folder.name)).as_posix()


def _last_stream(view: "View", model: Transformer) -> Tensor:
    name = f"blocks.{model.config.layers - 1}.hook_resid_post"
    return trace(model, view.ids, name)[name][0]


def _likely(logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest tokens, and their log-probabilities."""
    top = logprobs.topk(min(LIKELY, logprobs.shape[-1]))
    return top.indices, top.values


def _predicted(view: "View", model: Transformer, streams: Tensor, followed: Tensor) -> _Predicted:
    """Return what a model predicts from its last streams [T, C]."""
    ids = view.ids[0]
    following = torch.cat((ids[1:], ids[:1]))  # nothing follows the last one
    parts = []
    for x, tokens, own in zip(streams.split(PIECE), followed.split(PIECE), following.split(PIECE), strict=True):
        logprobs = logprobs_of(model, x)
        parts.append((*_likely(logprobs), logprobs.gather(-1, tokens), logprobs.gather(-1, own[:, None])[:, 0]))
    top, values, of_followed, of_next = (torch.cat(part) for part in zip(*parts, strict=True))
    surprisal = torch.cat((torch.full((1,), math.nan), (-of_next[:-1] / math.log(2)).cpu()))
    return _Predicted(top, values, of_followed, surprisal, _continued(view, model))


def _continued(view: "View", model: Transformer) -> str:
    """Return what a model writes after the row, greedily; nothing if the row fills its context."""
    room = min(WRITTEN, model.config.context - view.length)
    if room < 1:
        return ""
    sampling = Sampling(temperature=0, max_tokens=room)
    (made,) = generate(model, [view.ids[0].tolist()], sampling, view.tokenizer.stop_ids)
    return view.tokenizer.decode(made.ids)
