"""Curriculum: selects the prompts of each round, one difficulty level more than in the previous round."""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.align.rl.prompts import Prompt
from sayso.base.errors import UserError


@dataclass(frozen=True)
class Curriculum:
    """The field of a prompt's row that gives its difficulty, and the highest difficulty of the first round."""

    field: str = ""
    """Empty: every round has all prompts."""
    first: float = 0.0

    def level(self, prompt: Prompt) -> float:
        """Return a prompt's difficulty; a row without it is a `UserError` with its line."""
        value = prompt.info.get(self.field) if self.field else 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(
                f"--curriculum {self.field} needs a number of that name in every row; "
                f"line {prompt.number} has {value!r}."
            )
        return float(value)

    def of_round(self, prompts: Sequence[Prompt], number: int) -> list[Prompt]:
        """Return the prompts of a round, counted from 1: those up to its difficulty, easier ones too."""
        if not self.field:
            return list(prompts)
        harder = sorted({self.level(prompt) for prompt in prompts if self.level(prompt) > self.first})
        highest = ([self.first, *harder])[min(number - 1, len(harder))]
        return [prompt for prompt in prompts if self.level(prompt) <= highest]


def read_curriculum(given: str | None) -> Curriculum:
    """Parse FIELD=FIRST, such as digits=5; an empty curriculum if nothing is given."""
    if given is None:
        return Curriculum()
    field, _, first = given.partition("=")
    try:
        return Curriculum(field, float(first))
    except ValueError as error:
        raise UserError(f"--curriculum must be FIELD=FIRST, such as digits=5; got '{given}'.") from error
