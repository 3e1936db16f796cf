"""Save a compiled program as a model folder, and load it: the model's files, `program.rasp` and `rasp.json`.

`rasp.json` has what each id stands for and what each dimension, head and hidden unit of the model is in the program.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object, write_atomic, write_json
from sayso.rasp.compile.program import Compiled, Names, Vocabulary
from sayso.rasp.expression import SOp
from sayso.rasp.notation import statements
from sayso.rasp.values import Value
from sayso.token.load import load as load_tokenizer
from sayso.token.whole import WholeTokenizer
from sayso.weights.folder import BOTH_DIRECTIONS, load_weights, save_model

FACTS, PROGRAM = "rasp.json", "program.rasp"
NAMELESS = Names((), (), ())
"""The names of a model that was trained on a program's values."""


@dataclass(frozen=True)
class Loaded:
    """A compiled program and its text, as assignments whose last is the result."""

    compiled: Compiled
    text: str


def lineage_of(compiled: Compiled, program: SOp, name: str) -> dict[str, Any]:
    """Return what sayso.json records of a compiled program."""
    return {
        "stage": "compiled",
        "program": name,
        "statements": statements(program),
        "length": compiled.length,
        "alphabet": [_plain(value) for value in compiled.vocabulary.tokens],
        "norm": compiled.model.config.norm,
        "mlp": compiled.model.config.mlp,
        "attention": "earlier positions" if compiled.causal else BOTH_DIRECTIONS,
    }


def save(compiled: Compiled, folder: Path, lineage: dict[str, Any]) -> None:
    """Write a model folder with a compiled program; `lineage` is that of `lineage_of`."""
    vocabulary, names = compiled.vocabulary, compiled.names
    facts = {
        "length": compiled.length,
        "causal": compiled.causal,
        "tokens": [[_plain(value), index] for value, index in vocabulary.tokens.items()],
        "results": [[index, _plain(value)] for index, value in vocabulary.results.items()],
        "dimensions": names.dimensions,
        "heads": names.heads,
        "units": names.units,
    }

    def extra(part: Path) -> None:
        write_json(part / FACTS, facts)
        write_atomic(part / PROGRAM, lineage["statements"])

    save_model(compiled.model, vocabulary.tokenizer, folder, lineage, extra=extra)


def load(folder: Path) -> Loaded:
    """Return the compiled program in a model folder. Raises `UserError` if there is none, or it is damaged."""
    if not (folder / FACTS).is_file():
        raise UserError(f"'{folder}' is not a compiled program: it has no {FACTS}. Make one with: sayso rasp compile")
    facts = read_object(folder / FACTS, "tokens", "results")
    model, tokenizer = load_weights(folder), load_tokenizer(folder)
    try:
        if not isinstance(tokenizer, WholeTokenizer):
            raise TypeError("its tokenizer is another one")
        tokens = {_value(value): int(index) for value, index in facts["tokens"]}
        results = {int(index): _value(value) for index, value in facts["results"]}
        names = names_in(folder) or NAMELESS
        length, causal = int(facts["length"]), bool(facts["causal"])
        text = (folder / PROGRAM).read_text(encoding="utf-8")
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"'{folder / FACTS}' is damaged ({error!r}); compile the program again.") from error
    if max([*tokens.values(), *results]) >= model.config.vocab_size or model.config.context <= length:
        raise UserError(f"'{folder / FACTS}' does not belong to the model in its folder; compile the program again.")
    shape = tuple(map(len, names.heads)) or (model.config.heads,) * model.config.layers
    return Loaded(Compiled(model, Vocabulary(tokenizer, tokens, results), length, causal, shape, names), text)


def names_in(folder: Path) -> Names | None:
    """Return what the parts of the model in a folder are in its program; None if it is not compiled from one."""
    if not (folder / FACTS).is_file():
        return None
    facts = read_object(folder / FACTS, "dimensions", "heads", "units")
    if not facts["dimensions"]:  # it was trained on a program's values
        return None
    return Names(tuple(facts["dimensions"]), tuple(map(tuple, facts["heads"])), tuple(map(tuple, facts["units"])))


def _plain(value: Value) -> object:
    """Return a value for JSON; a fraction as the list of its two parts."""
    return [value.numerator, value.denominator] if isinstance(value, Fraction) else value


def _value(plain: Any) -> Value:
    return Fraction(*plain) if isinstance(plain, list) else plain
