"""Act: what prediction is worth on a text: Markov models beside networks, surprisal, memory, and samples."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.made import new_file
from sayso.base.output import console
from sayso.base.ranges import Options, Range, Seed
from sayso.law.perplexity import Surprisal, bits_by_context, counted_bits, surprisal
from sayso.law.shannon import Unit, approximation
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.weights.folder import load_model
from sayso.weights.models import called, newest_model

HELD_OUT = 0.1  # share of the text, at its end, that is predicted if no example is given
SHOWN = 120  # tokens that are shown with their surprisal
SAMPLES: tuple[tuple[int, Unit], ...] = (
    *((order, "letters") for order in range(6)), (1, "words"), (2, "words"), (3, "words"),
)  # fmt: skip


@dataclass(frozen=True)
class Perplexity(Options):
    """Options of `sayso law perplexity`."""

    text: Path
    """Text file to predict, in UTF-8."""
    models: tuple[str, ...] = ()
    """Models: names of the life's models, or paths of model folders; those of one name are shown by their paths."""
    _: KW_ONLY
    example: Path | None = None
    """Text in which n-grams are counted. Default: the first nine tenths of the text; the last tenth is predicted."""
    targets: Annotated[int, Range(1, 10_000)] = 64
    """Tokens that are predicted with contexts of different lengths."""
    longest: Annotated[int, Range(1, 10**6)] | None = None
    """Longest context for that, in tokens. Default: the model's."""
    seed: Seed = 0
    """Random seed of the samples and of the tokens that are predicted."""
    out: Path | None = None
    """SVG file to draw the comparison and the value of memory into."""
    replace: bool = False
    """Overwrite the file if it exists."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    life: Path = Path("life")
    """Folder of the life."""


@dataclass(frozen=True)
class Measured:
    """Bits per byte of each model, and of each network the surprisals, and the bits of a token by context."""

    bits_per_byte: Mapping[str, float]
    surprisals: Mapping[str, Surprisal] = field(default_factory=dict)
    by_context: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


def perplexity(options: Perplexity) -> Measured:
    """Measure what prediction is worth on a text."""
    if options.out is not None:
        new_file(options.out, "--out", options.replace)
    example, text = _texts(options)
    found = counted_bits(example, text)
    surprisals, by_context, perplexities = {}, {}, {}
    device = pick_device(options.device).kind
    folders = [newest_model(Life(options.life), name) for name in options.models]
    for called_so, folder in _named(folders, found).items():
        model, tokenizer = load_model(folder, device)
        read = surprisals[called_so] = surprisal(model, tokenizer, text)
        found[called_so], perplexities[called_so] = read.bits_per_byte, read.perplexity
        if len(read.ids) >= 3:
            by_context[called_so] = bits_by_context(
                model, tokenizer, text, targets=options.targets, longest=options.longest, seed=options.seed
            )
    _show(found, perplexities, len(text.encode()))
    for name, read in surprisals.items():
        _show_text(name, read)
    for name, bits in by_context.items():
        _show_memory(name, bits)
    _show_samples(example, options.seed)
    if options.out is not None:
        write_atomic(options.out, drawn(found, by_context))
        say(f"Saved {options.out}.")
    return Measured(found, surprisals, by_context)


def _named(folders: Sequence[Path], taken: Collection[str]) -> dict[str, Path]:
    """Return each folder once, by its name, or by its whole path if another folder or one of `taken` has that name."""
    once = dict[Path, Path]()
    for folder in folders:
        once.setdefault(folder.resolve(), folder)
    names = [*taken, *map(called, once.values())]
    return {str(path) if names.count(called(folder)) > 1 else called(folder): path for path, folder in once.items()}


def _texts(options: Perplexity) -> tuple[str, str]:
    """Return the example and the text to predict."""
    text = _read(options.text)
    if options.example is not None:
        return _read(options.example), text
    cut = len(text) - max(1, round(HELD_OUT * len(text)))
    return text[:cut], text[cut:]


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"There is no file '{path}'.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not text in UTF-8 (byte {error.start}); convert it first.") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
    if not text.strip():
        raise UserError(f"'{path}' is empty, so there is nothing to predict.")
    return text


def _show(bits: Mapping[str, float], perplexities: Mapping[str, float], size: int) -> None:
    table = Table("model", "bits per byte", "size of the text", "perplexity per token", box=None)
    for name, value in bits.items():
        shown = f"{perplexities[name]:,.1f}" if name in perplexities else ""
        table.add_row(Text(name), f"{value:.3f}", f"{value / 8:.1%}", shown)
    say(f"Predicting {size:,} bytes:")
    console().print(table)


def _show_text(name: str, read: Surprisal) -> None:
    """Print the beginning of the text, each token in a shade of its surprisal."""
    line = Text()
    for text, bits in list(zip(read.texts, read.bits, strict=True))[:SHOWN]:
        level = min(5, int(bits / 2.5))
        line.append(text, style=("dim", "", "yellow", "dark_orange", "red", "bold red")[level])
    say(f"How surprising each token was to {name}, from dim (less than 2.5 bits) to bold red (more than 12.5):")
    console().print(line)


def _show_memory(name: str, bits: Mapping[int, float]) -> None:
    table = Table("tokens seen", *map(str, bits), box=None)
    table.add_row("bits per token", *(f"{value:.2f}" for value in bits.values()))
    table.add_row("perplexity", *(f"{2**value:,.0f}" for value in bits.values()))
    say(f"What memory is worth to {name}:")
    console().print(table)


def _show_samples(example: str, seed: int) -> None:
    table = Table("order", "what follows as often as in the text", box=None)
    for order, unit in SAMPLES:
        try:
            made = approximation(example, order, unit, seed=seed)
        except UserError:
            continue
        table.add_row(f"{order} {unit}", Text(repr(made)[1:-1]))  # brackets are no markup
    say("Shannon's approximations to the text:")
    console().print(table)


def drawn(bits: Mapping[str, float], by_context: Mapping[str, Mapping[int, float]]) -> str:
    """Return the comparison and the value of memory as an SVG file."""
    bars = [Series(name, [(number, value)], COLORS[number % len(COLORS)], "dots") for number, (name, value) in
            enumerate(bits.items())]  # fmt: skip
    panels = [Panel("Bits per byte, by model", "model", "bits per byte", bars, y_range=(0, 8))]
    lines: Sequence[Series] = [
        Series(name, list(enumerate(values.values())), COLORS[number % len(COLORS)], "both")
        for number, (name, values) in enumerate(by_context.items())
    ]
    if lines:
        panels.append(Panel("What memory is worth", "log2 of the tokens seen", "bits per token", lines))
    return picture("Prediction", panels)
