"""Curriculum: selects the prompts of each round, one difficulty level more than in the previous round."""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.align.rl.prompts import Prompt
from sayso.base.errors import UserError


@dataclass(frozen=True)
class Curriculum:
    """How the difficulty of the prompts increases by round."""

    field: str = ""
    """Field of a prompt's row with its difficulty; if empty, every round has all prompts."""
    first: float = 0.0
    """Highest difficulty in the first round."""

    def level(self, prompt: Prompt) -> float:
        """Return the difficulty of a prompt. Raises `UserError` if its row has none."""
        value = prompt.info.get(self.field) if self.field else 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(
                f"--curriculum {self.field} requires a number in the field '{self.field}' of every row; "
                f"line {prompt.number} has {value!r}."
            )
        return float(value)

    def of_round(self, prompts: Sequence[Prompt], number: int) -> list[Prompt]:
        """Return the prompts up to the difficulty of a round, which is counted from 1."""
        if not self.field:
            return list(prompts)
        harder = sorted({self.level(prompt) for prompt in prompts if self.level(prompt) > self.first})
        highest = ([self.first, *harder])[min(number - 1, len(harder))]
        return [prompt for prompt in prompts if self.level(prompt) <= highest]


def read_curriculum(text: str | None) -> Curriculum:
    """Parse FIELD=FIRST, such as digits=5; return an empty curriculum for None."""
    if text is None:
        return Curriculum()
    field, _, first = text.partition("=")
    try:
        return Curriculum(field, float(first))
    except ValueError as error:
        raise UserError(f"--curriculum must be FIELD=FIRST, such as digits=5; got '{text}'.") from error
