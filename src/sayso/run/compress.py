"""Acts: compress a file with a model, without loss, and decompress it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import Progress, say
from sayso.base.made import new_file
from sayso.base.ranges import Options, Positive, Range
from sayso.law.compress import archive
from sayso.law.compress.container import Header
from sayso.run.results import Written
from sayso.token.load import tokenizer_fingerprint
from sayso.weights.models import called, models, newest_model, resolve_model
from sayso.weights.tensors import weights_file

SUFFIX = ".sayso"


@dataclass(frozen=True)
class Compress(Options):
    """Options of `sayso compress`."""

    file: Path
    """File to compress: best a text of the kind that the model was trained on, but any bytes will do."""
    _: KW_ONLY
    model: str = "base"
    """Model of the life, or path of a model folder. Decompression needs the same model."""
    to: Path | None = None
    """Output file. Default: FILE.sayso."""
    window: Annotated[int, Range(2, 2**20)] = 2048
    """Most tokens that the model sees before the next; at most its context. More need more memory."""
    mix: bool = True
    """Mix the model's prediction with n-grams of the file itself and a bias, both learned on the way."""
    streams: Annotated[int, Range(0, 256)] = 0
    """Parts of each megabyte to read side by side; more are faster, fewer compress better. 0 = as suits its length."""
    verify: bool = True
    """Decompress each block again, and store it otherwise if it differs. Without it, damaged memory stays unnoticed."""
    replace: bool = False
    """Overwrite the output file if it exists."""
    life: Path = Path("life")
    """Folder of the life."""


@dataclass(frozen=True)
class Decompress(Options):
    """Options of `sayso decompress`."""

    file: Path
    """File that `sayso compress` wrote."""
    _: KW_ONLY
    model: str | None = None
    """Model of the life, or path of a model folder. Default: the life's model that the file was compressed with."""
    to: Path | None = None
    """Output file. Default: the name of the file without .sayso."""
    most: Positive = 10**9
    """Most bytes to write; a larger file is refused before it is decompressed."""
    replace: bool = False
    """Overwrite the output file if it exists."""
    life: Path = Path("life")
    """Folder of the life."""


def compress(options: Compress) -> Written:
    """Compress a file with a model, without loss."""
    _check_file(options.file)
    path = options.to or options.file.with_name(options.file.name + SUFFIX)
    _new(path, options.file, replace=options.replace)
    folder = newest_model(Life(options.life), options.model)
    compressor = archive.Compressor(
        folder, window=options.window, mix=options.mix, streams=options.streams, verify=options.verify
    )
    pick_device("cpu")
    with locked(path), _showing(options.file.stat().st_size) as show:
        _new(path, options.file, replace=options.replace)
        found = archive.compress(options.file, path, compressor, show)
    parts = ", ".join(f"{size / max(found.size, 1):.0%} {name}" for name, size in found.methods.items() if size)
    say(
        f"Saved {path}: {found.compressed:,} bytes of {found.size:,}, a ratio of {found.ratio:.2f}"
        + (f" ({parts})." if parts else ".")
    )
    if found.methods["model"]:
        versions = ", ".join(f"{name} {number}" for name, number in archive.engine().items() if name != "native pass")
        say(f"To decompress it, the model '{called(folder)}' is needed, a processor of this kind, and {versions}.")
    return Written(path, {"size": found.size, "compressed": found.compressed, "ratio": found.ratio, **found.methods})


def decompress(options: Decompress) -> Written:
    """Decompress a file with the model it was compressed with."""
    _check_file(options.file)
    if options.to is None and options.file.suffix != SUFFIX:
        raise UserError(f"Name the output file with --to; '{options.file}' does not end in {SUFFIX}.")
    path = options.to or options.file.with_suffix("")
    _new(path, options.file, replace=options.replace)
    pick_device("cpu")

    def find(header: Header) -> archive.Compressor:
        folder = _model_of(header, Life(options.life), options.model)
        return archive.Compressor(folder, window=header.window, mix=header.mix)

    with locked(path), _showing(None) as show:
        _new(path, options.file, replace=options.replace)
        size = archive.decompress(options.file, path, find, options.most, show)
    say(f"Saved {path}: {size:,} bytes, equal to the original by its checksums.")
    return Written(path, {"size": size})


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UserError(f"There is no file '{path}'.")
    if not path.is_file():
        raise UserError(f"'{path}' is not a regular file.")


def _new(path: Path, source: Path, *, replace: bool) -> None:
    if path.exists() and path.samefile(source):
        raise UserError(f"--to must be another file than the input; got '{path}'.")
    new_file(path, "--to", replace)


def _model_of(header: Header, life: Life, name: str | None) -> Path:
    """Return the folder of the model that a file needs."""
    if name is not None:
        folder = resolve_model(life, name)
        if sha256(weights_file(folder)) != header.weights or tokenizer_fingerprint(folder) != header.tokenizer:
            raise UserError(
                f"The file was compressed with the model '{header.model}' (weights {header.weights[:12]}); '{name}' "
                "has other weights or another tokenizer. Give that model with --model."
            )
        return folder
    for known in models(life):
        folder = life.model(known)
        if sha256(weights_file(folder)) == header.weights and tokenizer_fingerprint(folder) == header.tokenizer:
            return folder
    raise UserError(
        f"The file needs the model '{header.model}' (weights {header.weights[:12]}), and the life '{life.root}' has no "
        "model with these weights. Give the model's folder with --model."
    )


@contextmanager
def _showing(total: int | None) -> Iterator[Callable[[str, int], None]]:
    """Yield a function that shows what is done and how many bytes are."""
    with Progress(total, "byte") as line:
        yield lambda what, done: line.update(done, doing=what)
