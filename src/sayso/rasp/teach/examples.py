"""Inputs of a program with its values, as batches of ids: what a model is taught, and what it is tested on.

B rows of T positions, a beginning token first. The target of a position is the id of the program's value there.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.batch.batch import IGNORED, PADDING, SHARED, Batch
from sayso.loss.next_token import IGNORE
from sayso.loss.term import Term
from sayso.model import Transformer
from sayso.rasp.compile.program import Vocabulary, mask_of
from sayso.rasp.expression import SOp
from sayso.rasp.teach.inputs import KINDS, check_size
from sayso.rasp.tensors import run_batch
from sayso.rasp.values import Value, shown
from sayso.token.tokenizer import BOS

BLOCK = 16  # batches that are computed at once, in a fraction of the time
MOST_RESULTS = 1_000
SAMPLE = 1_000  # training inputs whose values the vocabulary has
TESTED = 64  # inputs of each length


@dataclass(frozen=True)
class Example:
    """An input, the value at each position, and the first position that counts."""

    tokens: list[Value]
    values: list[Value]
    start: int


@dataclass(frozen=True)
class Lesson:
    """A program, and the inputs that it is taught and tested on."""

    program: SOp
    causal: bool
    kind: str
    alphabet: tuple[Value, ...]
    """The tokens of which inputs are drawn, without those that the kind adds."""
    longest_taught: int
    longest: int
    """The largest size that is tested; a size is that of the prompt, or of the whole input if there is no answer."""
    seed: int = 0

    @property
    def tokens(self) -> tuple[Value, ...]:
        """All tokens that an input may have."""
        return tuple(dict.fromkeys((*self.alphabet, *KINDS[self.kind].ends)))

    @property
    def sizes(self) -> list[int]:
        """The sizes that are tested: quarters of the longest one that is taught, and so on beyond it."""
        step = max(1, self.longest_taught // 4)
        return sorted({*range(step, self.longest, step), self.longest_taught, self.longest})

    def draw(self, name: str, sizes: Sequence[int]) -> list[Example]:
        """Return an example of each size; `name` selects the random numbers.

        Raises `UserError` if the program has no value for one of the inputs.
        """
        rng = random.Random(f"{self.seed}/{name}")
        drawn = [KINDS[self.kind].draw(rng, size, self.alphabet) for size in sizes]
        try:
            found = run_batch(self.program, [tokens for tokens, _ in drawn], causal=self.causal)
        except UserError as error:
            raise UserError(f"The program has no value for an input of kind '{self.kind}'. {error}") from error
        return [Example(tokens, values, start) for (tokens, start), values in zip(drawn, found, strict=True)]

    def taught(self, name: str, count: int) -> list[Example]:
        """Return examples of random sizes up to the longest one that is taught."""
        rng = random.Random(f"{self.seed}/{name}/sizes")
        return self.draw(name, [rng.randint(1, self.longest_taught) for _ in range(count)])

    def tests(self) -> dict[int, list[Example]]:
        """Return held-out examples of each size that is tested."""
        check_size(self.kind, self.longest, self.alphabet)
        return {size: self.draw(f"test {size}", [size] * TESTED) for size in self.sizes}

    def results(self, tests: Sequence[Example]) -> list[Value]:
        """Return the values that the program gives, those of some tests among them.

        Raises `UserError` if they are too many for a vocabulary.
        """
        examples = [*tests, *self.taught("vocabulary", SAMPLE)]
        found = {(isinstance(value, bool), value): value for one in examples for value in one.values[one.start :]}
        if len(found) > MOST_RESULTS:
            raise UserError(
                f"A model is taught at most {MOST_RESULTS:,} values, and this program has more, such as "
                f"{shown(list(found.values())[-1])}; lower --longest, or round what it computes."
            )
        return list(found.values())


@dataclass(frozen=True)
class Answers(Batch):
    """A batch whose positions may begin anywhere, and which may see later ones."""

    positions: Tensor
    """[B, T]"""
    causal: bool = field(metadata=SHARED)


class Encoder:
    """Turns examples into batches of ids."""

    def __init__(self, vocabulary: Vocabulary, *, causal: bool) -> None:
        self.vocabulary, self.causal = vocabulary, causal
        self.results = {(isinstance(value, bool), value): index for index, value in vocabulary.results.items()}

    def batch(self, examples: Sequence[Example], offsets: Sequence[int] | None = None) -> Answers:
        """Return examples as a batch; a value outside the vocabulary has no target.

        Positions are counted from the `offsets`, 0 by default.
        """
        time = 1 + max(len(one.tokens) for one in examples)
        ids = torch.full((len(examples), time), self.vocabulary.tokenizer.specials[BOS])
        targets, documents = torch.full_like(ids, IGNORED), torch.full_like(ids, PADDING, dtype=torch.int32)
        for row, one in enumerate(examples):
            end = 1 + len(one.tokens)
            documents[row, :end] = 0
            ids[row, 1:end] = torch.tensor([self.vocabulary.tokens[token] for token in one.tokens])
            known = [self.results.get((isinstance(value, bool), value), IGNORED) for value in one.values[one.start :]]
            targets[row, 1 + one.start : end] = torch.tensor(known)
        first = torch.tensor(offsets if offsets is not None else [0] * len(examples))
        return Answers(ids, targets, documents, first[:, None] + torch.arange(time), self.causal)


class Batches:
    """Batches of new examples as a function of the step."""

    def __init__(self, lesson: Lesson, encoder: Encoder, rows: int, context: int, *, shifted: bool) -> None:
        """`shifted` is whether rows begin at random positions of the context, so that all of them are trained."""
        self.lesson, self.encoder, self.rows = lesson, encoder, rows
        self.room = context if shifted else 0
        self._block = lru_cache(maxsize=2)(self._drawn)

    def batch(self, step: int) -> Answers:
        """Return the batch of a step."""
        first = step % BLOCK * self.rows
        examples = self._block(step // BLOCK)[first : first + self.rows]
        rng = random.Random(f"{self.lesson.seed}/offsets {step}")
        offsets = [rng.randint(0, max(0, self.room - 1 - len(one.tokens))) for one in examples]
        return self.encoder.batch(examples, offsets)

    def _drawn(self, block: int) -> list[Example]:
        return self.lesson.taught(f"train {block}", BLOCK * self.rows)


def logits_of(model: Transformer, batch: Answers) -> Tensor:
    """Return the logits [B, T, V] of a batch, whose padding no position sees."""
    lengths = (batch.documents != PADDING).sum(1).tolist()
    mask = mask_of(lengths, batch.ids.shape[1], batch.causal).to(model.device)
    return model(batch.ids.to(model.device), positions=batch.positions.to(model.device), mask=mask)


def answer_loss(model: Transformer, batch: Batch) -> Term:
    """Return the negative log-likelihood of the program's values as a `Term`."""
    assert isinstance(batch, Answers)
    logits = logits_of(model, batch).flatten(0, 1).float()
    targets = batch.targets.flatten().to(logits.device)
    loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    return Term(loss, batch.trained, int((batch.documents != PADDING).sum()))
