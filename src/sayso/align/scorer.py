"""Scores replies with reward models, for reinforcement learning, best-of-n sampling and evaluation.

Several models form an ensemble, which is harder for a policy to exploit: its score is their mean, their minimum, or
their mean minus a multiple of their variance (Coste et al. 2023).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sayso.base.errors import UserError
from sayso.batch.by_length import by_length
from sayso.batch.judged import JudgedPrompt, collate
from sayso.loss.reward import batch_scores
from sayso.model import Transformer
from sayso.token.chat import prompt_ids, reply_ids
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model

AT_ONCE = 8192  # tokens per batch, including padding
Combine = Literal["mean", "min", "cautious"]
Ids = Sequence[int]


@dataclass(frozen=True)
class Scorer:
    """One or more reward models with the same tokenizer."""

    models: Sequence[Transformer]
    tokenizer: Tokenizer
    combine: Combine = "mean"
    caution: float = 0.5
    """For cautious: factor of the variance that is subtracted from the mean."""

    def __call__(self, items: Sequence[tuple[Any, str, Mapping[str, Any]]]) -> list[float]:
        """Return the score of each (prompt, reply, info); a prompt is a string or a list of messages.

        Raises `UserError` if a prompt with its reply exceeds the context.
        """
        rows = [self.row(prompt, reply) for prompt, reply, _ in items]
        return [float(score) for score in self.combined(self.members(rows))]

    def row(self, prompt: Any, reply: str) -> tuple[list[int], list[int]]:
        """Return the ids of a prompt and of a reply, including the end-of-turn token."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        ids = prompt_ids(self.tokenizer, messages)
        return ids, reply_ids(self.tokenizer, reply)

    def members(self, rows: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
        """Return each model's score of each row (prompt and reply ids), [M, R]."""
        context = self.models[0].config.context
        for number, (prompt, reply) in enumerate(rows):
            if len(prompt) + len(reply) > context:
                raise UserError(
                    f"A prompt and its reply must fit the reward model's context of {context}; number {number} has "
                    f"{len(prompt) + len(reply)}. Shorten the reply, or drop it."
                )
        return np.stack([scores_of(model, rows) for model in self.models])

    def combined(self, members: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combine the members' scores [M, R] into the ensemble's [R]."""
        if self.combine == "min":
            return np.asarray(members.min(0))
        mean = np.asarray(members.mean(0))
        return mean - self.caution * members.var(0) if self.combine == "cautious" else mean


def open_scorer(
    folders: Sequence[Path], device: str = "cpu", combine: Combine = "mean", caution: float = 0.5
) -> Scorer:
    """Load reward models as one scorer. Raises `UserError` for a folder that is not a reward model."""
    opened = [load_model(folder, device, scores=True) for folder in folders]
    return Scorer([model for model, _ in opened], opened[0][1], combine, caution)


@torch.no_grad()
def scores_of(model: Transformer, rows: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
    """Return the score of each row (prompt and reply ids), [R]; rows of similar length are batched together."""
    scores = np.empty(len(rows))
    for numbers in by_length([len(prompt) + len(reply) for prompt, reply in rows], AT_ONCE):
        batch = collate([JudgedPrompt(rows[number][0], [rows[number][1]]) for number in numbers])
        scores[numbers] = batch_scores(model, batch).double().cpu().numpy()
    return scores
