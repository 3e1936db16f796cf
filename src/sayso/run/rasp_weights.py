"""Acts: compile a RASP program into the weights of a model, and run a compiled program on an input."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol, TextIO

from sayso.base.errors import UserError
from sayso.base.life import Life, name_from
from sayso.base.lock import locked
from sayso.base.log import say
from sayso.base.made import check_replaceable
from sayso.base.ranges import Options, Range
from sayso.base.terminal import Terminal
from sayso.rasp.compile.circuit import Architecture
from sayso.rasp.compile.program import LONGEST, Compiled, compile_program
from sayso.rasp.compile.store import PROGRAM, lineage_of, load, save
from sayso.rasp.expression import Constant, Expression, Lookup, Map, Member, Select, SOp, ordered
from sayso.rasp.interpreter import run
from sayso.rasp.scope import Evaluated
from sayso.rasp.session import Session
from sayso.rasp.show import counted, evaluated_lines, sequence_text
from sayso.rasp.values import RELATIONS, Value, exact
from sayso.run.rasp import program_of, value_of
from sayso.weights.lineage import read_lineage
from sayso.weights.models import is_made, resolve_model
from sayso.weights.quantize.model import bits_of

TAUGHT = "taught"
"""Stage of a model that was trained on a program's values."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Compile(Options):
    """Options of `sayso rasp compile`."""

    file: str
    """Program to compile: a file, or the name of a program of the library."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    name: str | None = None
    """Name of the model. Default: that of the s-op."""
    out: Path | None = None
    """Folder to write the model to, instead of models/NAME in the life."""
    length: Annotated[int, Range(1, LONGEST)] = 64
    """Longest input, in tokens."""
    alphabet: str | None = None
    """Tokens that the input may have, each a character. Default: those that the program compares with, or a to z."""
    tokens: tuple[str, ...] = ()
    """Tokens that the input may have, such as 0 1 2, or words; numbers where they look like numbers."""
    result: str | None = None
    """Expression to compile. Default: the last s-op that the program defines."""
    causal: bool = False
    """Use the causal dialect, in which a position sees only itself and earlier positions; `sayso generate` can
    then run the model."""
    norm: Literal["none", "rms", "layer"] = "rms"
    """Norm before each sublayer. With layer and gelu or relu the model is a GPT-2, which other software opens."""
    mlp: Literal["relu", "gelu", "swiglu"] = "gelu"
    """Feed-forward layer."""
    replace: bool = False
    """Replace an existing model of this name."""


@dataclass(frozen=True)
class Weights:
    """A compiled program."""

    folder: Path
    heads: tuple[int, ...]
    """The number of heads in each layer."""
    width: int
    """Dimensions of the residual stream."""
    parameters: int
    finished_before: bool = False
    """Whether the model was already there."""


@dataclass(frozen=True)
class Run(Options):
    """Options of `sayso rasp run`."""

    model: str
    """Compiled program: a name in the life, or the path of a model folder."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    input: str | None = None
    """Input whose characters are the tokens."""
    values: tuple[str, ...] = ()
    """Input with a value per position, such as 3 1 2, or words; numbers where they look like numbers."""


@dataclass(frozen=True)
class Values:
    """What a compiled program computed."""

    values: list[Value]
    """One per position."""
    same: bool
    """Whether the interpreter gives the same."""


def compile_rasp(options: Compile) -> Weights:
    """Compile a RASP program into the weights of an ordinary model."""
    session = Session(causal=options.causal)
    name, program = program_of(session, session.file(options.file), options.result, f"'{options.file}'")
    if not isinstance(program, SOp):
        raise UserError(f"An s-op is compiled; '{name}' is a selector. Use it in aggregate or selector_width.")
    life = Life(options.life)
    folder = options.out or life.model(options.name or name_from(name))
    with locked(folder), session.placing():
        architecture = Architecture(options.norm, options.mlp)
        compiled = compile_program(
            program, alphabet_of(options, program), options.length, causal=options.causal, architecture=architecture
        )
        lineage = lineage_of(compiled, program, name)
        made = is_made(folder, lineage, replace=options.replace, absent={"norm": "rms", "mlp": "gelu"})
        if not made:
            check_replaceable(folder)
            save(compiled, folder, lineage)
    config = compiled.model.config
    parameters = sum(weight.numel() for weight in compiled.model.parameters())
    heads = f"{' + '.join(map(str, compiled.heads))} {'head' if compiled.heads == (1,) else 'heads'}"
    say(f"{counted(len(compiled.heads), 'layer')} with {heads} of size {config.head_size}, "
        f"{counted(config.width, 'dimension')}, {counted(config.mlp_width, 'hidden unit')}, "
        f"{counted(parameters, 'parameter')}.")  # fmt: skip
    say(f"'{folder}' has already been compiled." if made else f"Saved {folder}.")
    return Weights(folder, compiled.heads, config.width, parameters, made)


def run_rasp(options: Run, target: TextIO | None = None) -> Values:
    """Run a compiled or taught RASP program on an input, and compare with the interpreter."""
    if (options.input is None) == (not options.values):
        raise UserError("A compiled program needs one input: give --input or --values.")
    sequence = [value_of(word) for word in options.values] if options.input is None else list(options.input)
    loaded = load(folder := resolve_model(Life(options.life), options.model))
    loaded.compiled.ids(sequence)  # whose errors are about the input, and come first
    session = Session(causal=loaded.compiled.causal)
    _, program = program_of(session, session.text(loaded.text, str(folder / PROGRAM)), None, f"'{folder / PROGRAM}'")
    assert isinstance(program, SOp)
    expected = run(program, sequence, causal=loaded.compiled.causal)
    found = loaded.compiled(sequence)
    given = tuple(map(exact, sequence))
    Terminal(None, target).write("".join(f"{line}\n" for line in evaluated_lines(Evaluated(given, tuple(found)))))
    same = "the same" if found == expected else f"{sequence_text(expected)}, {_why(folder, loaded.compiled)}"
    say(f"The interpreter gives {same}.")
    return Values(found, found == expected)


def _why(folder: Path, compiled: Compiled) -> str:
    """Return why a model gives other values than the interpreter."""
    if read_lineage(folder).get("stage") == TAUGHT:
        return "which the model has not learned"
    bits = bits_of(compiled.model)
    return f"which rounding to {bits} bits has changed" if bits else "which is a mistake of the compiler"


class HasAlphabet(Protocol):
    """Options that may give an alphabet."""

    @property
    def alphabet(self) -> str | None:
        """Characters."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Words and numbers."""


def alphabet_of(
    options: HasAlphabet, program: SOp, usual: Sequence[Value] = (), ends: Sequence[Value] = ()
) -> Sequence[object]:
    """Return the tokens that an input may have: those given, the `usual` ones, or those that the program suggests.

    Those that every input has, the `ends`, are not suggested.
    """
    if options.alphabet is not None and options.tokens:
        raise UserError("An alphabet is either --alphabet or --tokens; omit one of them.")
    if options.tokens:
        return [value_of(word) for word in options.tokens]
    if options.alphabet is not None:
        return options.alphabet
    if usual:
        return usual
    found = "".join(one for one in mentioned(program) if one not in ends) or LETTERS
    say(f"Alphabet: {found} (choose another with --alphabet or --tokens)")
    return found


def mentioned(program: SOp) -> list[str]:
    """Return the characters that a program compares with."""
    compared = (value for one in ordered(program) for value in _compared(one))
    return list(dict.fromkeys(value for value in compared if isinstance(value, str) and len(value) == 1))


def _compared(one: Expression) -> Sequence[Value]:
    """Return the constants that an expression compares with."""
    if isinstance(one, Member):
        return one.members
    if isinstance(one, Lookup):
        return [key for key, _ in one.table]
    if isinstance(one, Select) or (isinstance(one, Map) and one.operation in RELATIONS):
        return [inner.value for inner in one.inputs if isinstance(inner, Constant)]
    return []
