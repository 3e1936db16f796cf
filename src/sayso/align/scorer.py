"""Reward models at work: prompts with replies enter, numbers leave; for reinforcement, best of n, and judging.

Several models are an ensemble: their mean, the least of them (worst case), or the mean less so much of their variance
(uncertainty-weighted; Coste et al. 2023), which a policy that looks for one model's mistakes finds harder to fool.
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

AT_ONCE = 8192  # tokens of a batch, padding among them
Combine = Literal["mean", "min", "cautious"]
Ids = Sequence[int]


@dataclass(frozen=True)
class Scorer:
    """One reward model or several, with the tokenizer of their parent."""

    models: Sequence[Transformer]
    tokenizer: Tokenizer
    combine: Combine = "mean"
    caution: float = 0.5
    """What is taken from the mean for each unit of the members' variance, when cautious."""

    def __call__(self, asked: Sequence[tuple[Any, str, Mapping[str, Any]]]) -> list[float]:
        """Return the score of each (prompt, reply, info); a prompt is a text or a list of messages.

        Raises `UserError`, with its number, for one that does not fit the context.
        """
        rows = [self.row(prompt, reply) for prompt, reply, _ in asked]
        return [float(score) for score in self.combined(self.members(rows))]

    def row(self, prompt: Any, reply: str) -> tuple[list[int], list[int]]:
        """Return the ids of a prompt and of a whole reply to it, its end among them."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        ids = prompt_ids(self.tokenizer, messages)
        return ids, reply_ids(self.tokenizer, reply)

    def members(self, rows: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
        """Return what each model gives each row of prompt and reply ids, [M, R]."""
        context = self.models[0].config.context
        for number, (prompt, reply) in enumerate(rows):
            if len(prompt) + len(reply) > context:
                raise UserError(
                    f"A reward model reads a prompt and its reply whole, up to {context} tokens; number {number} has "
                    f"{len(prompt) + len(reply)}: ask for shorter replies, or drop it."
                )
        return np.stack([scores_of(model, rows) for model in self.models])

    def combined(self, members: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the ensemble says [R] for what its members say [M, R]."""
        if self.combine == "min":
            return np.asarray(members.min(0))
        mean = np.asarray(members.mean(0))
        return mean - self.caution * members.var(0) if self.combine == "cautious" else mean


def open_scorer(
    folders: Sequence[Path], device: str = "cpu", combine: Combine = "mean", caution: float = 0.5
) -> Scorer:
    """Return the reward models of some folders as one scorer. Raises `UserError` for one that is no reward model."""
    opened = [load_model(folder, device, scores=True) for folder in folders]
    return Scorer([model for model, _ in opened], opened[0][1], combine, caution)


@torch.no_grad()
def scores_of(model: Transformer, rows: Sequence[tuple[Ids, Ids]]) -> NDArray[np.float64]:
    """Return the score of each row of prompt and reply ids [R], rows of like length together."""
    found = np.empty(len(rows))
    for taken in by_length([len(prompt) + len(reply) for prompt, reply in rows], AT_ONCE):
        batch = collate([JudgedPrompt(rows[number][0], [rows[number][1]]) for number in taken])
        found[taken] = batch_scores(model, batch).double().cpu().numpy()
    return found
