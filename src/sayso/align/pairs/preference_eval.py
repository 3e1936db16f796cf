"""Evaluates an alignment run during training, on held-out comparisons and by sampling replies.

Takes a state; returns the loss, accuracy and margin on held-out comparisons, and of sampled replies the length, the
share that was not truncated, and the KL divergence from the reference in nats per reply.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sayso.align.pairs.comparisons import ComparisonRow
from sayso.align.pairs.preference import Preference, term_of
from sayso.align.pairs.reference import Frozen, PreferenceReference, reply_kl
from sayso.align.pairs.sources import Batches
from sayso.base.log import RunLog
from sayso.batch.batch import Batch
from sayso.judge.samples import Sample, Samples
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.sample.sampling import Sampling
from sayso.token.chat import prompt_ids, reply_ids
from sayso.token.tokenizer import Tokenizer
from sayso.train.best import Best
from sayso.train.loop import State
from sayso.train.session import Session
from sayso.train.step_log import Evaluation

_JUDGEMENTS = 4  # evaluations per run, after the first
PROMPTS = 8  # prompts sampled at each evaluation
_MAX_TOKENS = 120
_BEST = "held_out_accuracy"  # a squared loss grows with the spread of margins even while the accuracy improves


@dataclass(frozen=True)
class PreferenceEval:
    """Evaluation of one run."""

    preference: Preference
    held: Batches | None
    """Held-out comparisons; None if there are none."""
    samples: Samples
    reference: PreferenceReference | None
    measure: Callable[[Transformer], Mapping[str, Any]] = lambda _: {}
    """Returns further figures of a model."""

    def schedule(self, steps: int) -> Evaluation:
        """Return the evaluation of a run of `steps` steps; it selects the weights if comparisons are held out."""
        return Evaluation(self.judge, max(1, steps // _JUDGEMENTS), _BEST if self.held else "")

    def judge(self, state: State) -> dict[str, Any]:
        """Return the metrics of a state."""
        figures = self._sampled(state)
        if self.held:
            figures = held_out_figures(state.model, term_of(self.preference, self.reference), self.held) | figures
        return {**figures, **self.measure(state.model)}

    def first(self, model: Transformer) -> None:
        """Sample replies before training, if the first evaluation does not."""
        if not self.held and 0 not in self.samples.taken:
            self.samples.take(model, 0)

    def last(self, session: Session, state: State) -> None:
        """Show the first replies next to those of the final weights."""
        best = Best(session.folder, _BEST).read() if self.held else None
        if state.step not in self.samples.taken or (best and best["step"] != state.step):
            self.samples.take(state.model, state.step)
        self.samples.show()

    def _sampled(self, state: State) -> dict[str, float]:
        rows = self.samples.take(state.model, state.step)
        figures = {
            "length": sum(row.tokens for row in rows) / len(rows),
            "ended": sum(row.ended for row in rows) / len(rows),
        }
        if isinstance(self.reference, Frozen):
            figures["kl"] = self._kl(state.model, self.reference, rows)
        return figures

    def _kl(self, model: Transformer, reference: Frozen, rows: Sequence[Sample]) -> float:
        tokenizer = self.samples.tokenizer
        replies = [
            (prompt_ids(tokenizer, prompt), reply_ids(tokenizer, row.reply)[: None if row.ended else -1])
            for prompt, row in zip(self.samples.prompts, rows, strict=True)
        ]
        return reply_kl(model, reference, replies)


@torch.no_grad()
def held_out_figures(model: Transformer, term: Callable[[Transformer, Batch], Term], held: Batches) -> dict[str, float]:
    """Return the mean loss, accuracy and (for pairs) margin on held-out data."""
    terms = [term(model, batch) for batch in held.in_order()]
    figures = {"held_out_loss": float(sum(t.loss for t in terms)) / sum(t.items for t in terms)}
    for name in ("accuracy", "margin"):
        if name in terms[0].figures:
            figures[f"held_out_{name}"] = float(torch.cat([t.figures[name] for t in terms]).mean())
    return figures


def samples_of(tokenizer: Tokenizer, rows: Sequence[ComparisonRow], log: RunLog, seed: int) -> Samples:
    """Return the samples of a run: replies to the first few prompts of `rows`, sampled at temperature 1."""
    prompts = {json.dumps(row["prompt"]): row["prompt"] for row in rows}
    return Samples(
        tokenizer, list(prompts.values())[:PROMPTS], log, Sampling(temperature=1.0, max_tokens=_MAX_TOKENS, seed=seed)
    )
