"""Reference models: the summed log-probability of each row's reply under the model that training started from.

The reference is a frozen copy, or the policy with its adapters disabled, or a table computed before training, which
saves both memory and a forward pass. No gradients are computed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_file
from sayso.batch.batch import PADDING, Batch
from sayso.loss.next_token import token_logprobs
from sayso.model import Transformer
from sayso.model.adapters import without_adapters
from sayso.weights.tensors import read_tensors

CONTENT = "content"  # the key of the hash of the tables themselves


class PreferenceReference(Protocol):
    """Interface of a reference model."""

    def logprobs(self, policy: Transformer, batch: Batch, sides: Tensor) -> Tensor:
        """Return log r of each row's reply [B]; `sides` [B] says which of the two of its pair or rating it is."""
        ...


def reply_logprobs(model: Transformer, batch: Batch) -> Tensor:
    """Return the log-probability of each row's reply, summed over its tokens, [B].

    The rows are packed as documents of a single row, so that no computation is spent on padding.
    """
    real = batch.documents != PADDING
    rows = torch.arange(len(batch.ids))[:, None].expand_as(real)[real]
    logprobs = token_logprobs(model, batch.ids[real][None], batch.targets[real][None], rows.int()[None])
    summed = torch.zeros(len(batch.ids), dtype=logprobs.dtype, device=logprobs.device)
    return summed.index_add(0, rows.to(logprobs.device), logprobs[0])


@dataclass(frozen=True)
class Frozen:
    """A frozen model as reference."""

    copy: Transformer | None = None
    """A copy of the initial policy; if None, the policy without its adapters."""

    @contextmanager
    def model(self, policy: Transformer) -> Iterator[Transformer]:
        """Yield the reference model, without gradients."""
        with torch.no_grad(), nullcontext() if self.copy else without_adapters(policy):
            yield self.copy or policy

    def logprobs(self, policy: Transformer, batch: Batch, sides: Tensor) -> Tensor:  # noqa: ARG002 - a table needs them
        """Return log r of each row's reply."""
        with self.model(policy) as reference:
            return reply_logprobs(reference, batch)


@dataclass(frozen=True)
class Cached:
    """Log-probabilities computed before training."""

    table: Tensor
    """[N, 2]: of a pair's chosen and rejected reply; or of a rating's own and mismatched reply."""

    def logprobs(self, policy: Transformer, batch: Batch, sides: Tensor) -> Tensor:
        """Return log r of each row's reply, looked up by the row's number."""
        return self.table[batch.documents[:, 0].long(), sides].to(policy.device)


@torch.no_grad()
def reply_kl(policy: Transformer, reference: Frozen, said: Sequence[tuple[list[int], list[int]]]) -> float:
    """Return KL(policy || reference) in nats a reply, over replies that the policy sampled: prompt and reply ids.

    It is exact at each position, a sum over the vocabulary; only the sampled positions are random.
    """
    total = 0.0
    for prompt, reply in said:
        ids = torch.tensor([[*prompt, *reply]], device=policy.device)
        where = slice(len(prompt) - 1, len(prompt) + len(reply) - 1)
        ours = policy(ids)[0, where].float().log_softmax(-1)
        with reference.model(policy) as before:
            theirs = before(ids)[0, where].float().log_softmax(-1)
        total += float((ours.exp() * (ours - theirs)).sum())
    return total / max(1, len(said))


@torch.no_grad()
def table_of(model: Transformer, sides: Iterable[tuple[Batch, Batch]]) -> Tensor:
    """Return the table [N, 2] of a model's log-probabilities, for batches of both sides in order."""
    return torch.cat([torch.stack([reply_logprobs(model, side).cpu() for side in both], 1) for both in sides])


def save_tables(path: Path, tables: Mapping[str, Tensor], marks: Mapping[str, str]) -> None:
    """Write tables with a hash of their contents and the fingerprints of their inputs: weights and comparisons."""
    with atomic_file(path) as part:
        save_file(dict(tables), part, metadata={**marks, CONTENT: _content(tables)})


def load_tables(path: Path, marks: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tables of a file.

    Raises `UserError` if they are damaged, or were computed from other weights or comparisons.
    """
    tables = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        found = file.metadata() or {}
    for name, mark in marks.items():
        if found.get(name) != mark:
            raise UserError(
                f"The log-probabilities in '{path}' were computed for other {name} ({found.get(name, 'none')[:12]} "
                f"then, {mark[:12]} now); remove the file to recompute them."
            )
    if found.get(CONTENT, content := _content(tables)) != content:
        raise UserError(f"The log-probabilities in '{path}' are damaged; remove the file to recompute them.")
    return tables


def _content(tables: Mapping[str, Tensor]) -> str:
    """Return a hash of the tables' names, shapes and numbers."""
    digest = sha256()
    for name, table in sorted(tables.items()):
        digest.update(f"{name} {tuple(table.shape)} {table.dtype} ".encode())
        digest.update(table.contiguous().numpy().tobytes())
    return digest.hexdigest()
