"""Reference models: the summed log-probability of each row's reply under the model that training started from.

The reference is a frozen copy, the policy with its adapters disabled, or a table computed before training, which saves
memory and a forward pass. No gradients are computed.
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

CONTENT = "content"  # key of the hash of the tables


class PreferenceReference(Protocol):
    """Interface of a reference model."""

    def logprobs(self, policy: Transformer, batch: Batch, sides: Tensor) -> Tensor:
        """Return the log-probability of each row's reply [B]; `sides` [B] is 0 or 1, its side of the pair or rating."""
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
        """Return the log-probability of each row's reply."""
        with self.model(policy) as reference:
            return reply_logprobs(reference, batch)


@dataclass(frozen=True)
class Cached:
    """Log-probabilities computed before training."""

    table: Tensor
    """[N, 2]: for pairs, of the chosen and the rejected reply; for ratings, of the rated and the mismatched reply."""

    def logprobs(self, policy: Transformer, batch: Batch, sides: Tensor) -> Tensor:
        """Return the log-probability of each row's reply, looked up by the row's number."""
        return self.table[batch.documents[:, 0].long(), sides].to(policy.device)


@torch.no_grad()
def reply_kl(policy: Transformer, reference: Frozen, replies: Sequence[tuple[list[int], list[int]]]) -> float:
    """Return KL(policy || reference) in nats per reply, given the prompt and reply ids of samples of the policy.

    The KL is exact at each position, a sum over the vocabulary; only the replies are random.
    """
    total = 0.0
    for prompt, reply in replies:
        ids = torch.tensor([[*prompt, *reply]], device=policy.device)
        positions = slice(len(prompt) - 1, len(prompt) + len(reply) - 1)
        p = policy(ids)[0, positions].float().log_softmax(-1)
        with reference.model(policy) as model:
            q = model(ids)[0, positions].float().log_softmax(-1)
        total += float((p.exp() * (p - q)).sum())
    return total / max(1, len(replies))


@torch.no_grad()
def table_of(model: Transformer, sides: Iterable[tuple[Batch, Batch]]) -> Tensor:
    """Return the table [N, 2] of a model's log-probabilities; `sides` are the two sides of each batch, in order."""
    return torch.cat([torch.stack([reply_logprobs(model, side).cpu() for side in both], 1) for both in sides])


def save_tables(path: Path, tables: Mapping[str, Tensor], marks: Mapping[str, str]) -> None:
    """Write tables with a hash of their contents; `marks` are the hashes of the weights and the comparisons."""
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
    if found.get(CONTENT) not in (None, _content(tables)):
        raise UserError(f"The log-probabilities in '{path}' are damaged; remove the file to recompute them.")
    return tables


def _content(tables: Mapping[str, Tensor]) -> str:
    """Return a hash of the tables' names, shapes and numbers."""
    digest = sha256()
    for name, table in sorted(tables.items()):
        digest.update(f"{name} {tuple(table.shape)} {table.dtype} ".encode())
        digest.update(table.contiguous().numpy().tobytes())
    return digest.hexdigest()
