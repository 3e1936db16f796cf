"""Edits of the logits, before the temperature: logits [B, V] -> edited logits [B, V].

Constraint, allowed ids, bias, bans and penalties, in this order. Each touches only the entries concerned, in all rows
that request it at once; rows have different settings and do not affect each other. B rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.json_words import either_of
from sayso.sample.dry import penalties
from sayso.sample.filters import EXCLUDED
from sayso.sample.request import Request
from sayso.sample.rules import Rules, make_rules


class NothingLeftError(UserError):
    """No token can follow, because the settings of `request` exclude all."""

    def __init__(self, request: Request) -> None:
        sampling = request.sampling
        forbidding = {
            "constraint": request.constraint is not None,
            "allowed_ids": sampling.allowed_ids,
            "banned": sampling.banned,
            "min_tokens": len(request.ids) < sampling.min_tokens,
        }
        self.request, self.position = request, len(request.ids)
        self.settings = tuple(name for name, is_set in forbidding.items() if is_set)
        """Names of the settings that exclude tokens at this position."""
        super().__init__(self.named(self.settings))

    def named(self, settings: Sequence[str]) -> str:
        """Return the message with these names of the settings."""
        names = either_of([f"'{name}'" for name in settings], "and")
        exclude, them = ("together exclude", "one of them") if len(settings) > 1 else ("excludes", "it")
        return f"{names} {exclude} all tokens at position {self.position} of the reply; relax {them}."


@dataclass(frozen=True)
class EditedRow:
    """One row of a batch that requests edits."""

    index: int
    request: Request
    rules: Rules


def edit(logits: Tensor, requests: Sequence[Request]) -> Tensor:
    """Return float32 logits [B, V] as edited by each request's settings; `logits` unchanged if there are no edits.

    Raises `UserError` for an id beyond the vocabulary, `NothingLeftError` if all tokens of a row are excluded.
    """
    edited = [row for row, request in enumerate(requests) if request.constraint is not None or request.sampling.edits]
    if not edited:
        return logits
    rows = [EditedRow(row, requests[row], _updated_rules(requests[row], logits.shape[-1])) for row in edited]
    scores = logits.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    restrict(scores, rows)
    add_bias(scores, rows)
    ban(scores, rows)
    penalize(scores, rows)
    penalize_repetitions(scores, rows)
    return scores


def _updated_rules(request: Request, vocabulary: int) -> Rules:
    """Return the request's rules, created at its first token, with its history brought up to date."""
    if request.rules is None:
        request.rules = make_rules(request.sampling, request.prompt, request.stop_ids, vocabulary)
    if request.rules.history:
        request.rules.history.update(request.ids)
    return request.rules


def restrict(scores: Tensor, rows: Sequence[EditedRow]) -> None:
    """Exclude ids outside the constraint or the allowed ids.

    A constraint may cover fewer ids than there are logits, if a head is padded: other ids are excluded.
    """
    for row in rows:
        if row.request.constraint is not None:
            allowed = row.request.constraint.allowed().to(scores.device)
            scores[row.index, : len(allowed)].masked_fill_(~allowed, EXCLUDED)
            scores[row.index, len(allowed) :] = EXCLUDED
        if len(row.rules.allowed):
            ids = row.rules.allowed.to(scores.device)
            kept = scores[row.index, ids]
            scores[row.index] = EXCLUDED
            scores[row.index, ids] = kept


def add_bias(scores: Tensor, rows: Sequence[EditedRow]) -> None:
    """Add each row's biases."""
    rows = [row for row in rows if len(row.rules.bias)]
    if rows:
        bias = torch.cat([row.rules.bias for row in rows]).to(scores.device)
        scores.view(-1)[_places(rows, [row.rules.bias_ids for row in rows], scores)] += bias


def ban(scores: Tensor, rows: Sequence[EditedRow]) -> None:
    """Exclude the last ids of banned sequences, and the stop ids while a reply is below its minimum length.

    Raises `NothingLeftError` if nothing remains.
    """
    ends = [torch.tensor(list(banned_ends(row.request)), dtype=torch.long) for row in rows]
    for place, row in enumerate(rows):
        if len(row.request.ids) < row.request.sampling.min_tokens:
            ends[place] = torch.cat((ends[place], row.rules.stop_ids))
    if any(len(ids) for ids in ends):
        scores.view(-1)[_places(rows, ends, scores)] = EXCLUDED
    empty = (scores.amax(-1) == EXCLUDED).tolist() if any(forbids(row.request) for row in rows) else []
    for row in rows:
        if empty and empty[row.index]:
            raise NothingLeftError(row.request)


def forbids(request: Request) -> bool:
    """Whether a request can exclude tokens before the temperature."""
    sampling = request.sampling
    return request.constraint is not None or any((sampling.allowed_ids, sampling.banned, sampling.min_tokens))


def banned_ends(request: Request) -> set[int]:
    """Return the ids that would complete a banned sequence, given the prompt and the reply so far."""
    banned = request.sampling.banned
    longest = max(map(len, banned), default=1) - 1
    reply = request.ids[-longest:] if longest else []
    missing = longest - len(reply)
    text = (*(request.prompt[-missing:] if missing else ()), *reply)
    return {sequence[-1] for sequence in banned if text[len(text) - len(sequence) + 1 :] == tuple(sequence[:-1])}


def penalize(scores: Tensor, rows: Sequence[EditedRow]) -> None:
    """Apply the repetition penalty over prompt and reply, then presence and frequency penalties over the reply."""
    rows = [row for row in rows if row.rules.history]
    if not rows:
        return
    histories = [row.rules.history for row in rows if row.rules.history]
    seen = [torch.from_numpy(np.array(history.seen, dtype=np.int64)) for history in histories]
    counts = torch.from_numpy(np.concatenate([np.array(history.counts, dtype=np.float32) for history in histories]))
    samplings = [row.request.sampling for row in rows]
    each = torch.tensor([[s.repetition_penalty, s.presence_penalty, s.frequency_penalty] for s in samplings])
    each = each.repeat_interleave(torch.tensor([len(ids) for ids in seen]), dim=0)
    subtracted = (each[:, 2] * counts + each[:, 1] * (counts > 0)).to(scores.device)
    repetition = each[:, 0].to(scores.device)
    flat, places = scores.view(-1), _places(rows, seen, scores)
    found = flat[places]
    flat[places] = torch.where(found > 0, found / repetition, found * repetition) - subtracted


def penalize_repetitions(scores: Tensor, rows: Sequence[EditedRow]) -> None:
    """Subtract the DRY penalty from tokens that would continue a repetition."""
    ids, losses, penalized = [], [], []
    for row in rows:
        sampling, history = row.request.sampling, row.rules.history
        if sampling.dry_multiplier and history:
            following, penalty = penalties(history, sampling, row.request.stop_ids)
            penalized.append(row)
            ids.append(torch.from_numpy(following))
            losses.append(torch.from_numpy(penalty))
    if penalized:
        scores.view(-1)[_places(penalized, ids, scores)] -= torch.cat(losses).to(scores.device, torch.float32)


def _places(rows: Sequence[EditedRow], ids: Sequence[Tensor], scores: Tensor) -> Tensor:
    """Return the positions in the flattened scores [B * V] of each row's ids, row after row, int64 on their device."""
    starts = torch.tensor([row.index for row in rows]) * scores.shape[-1]
    starts = starts.repeat_interleave(torch.tensor([len(some) for some in ids]))
    return (torch.cat(list(ids)) + starts).to(scores.device, non_blocking=True)
