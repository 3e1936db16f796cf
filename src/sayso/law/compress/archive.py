"""Compresses files into files of the format, and back; any bytes, with memory for one block.

Each block is written by whichever is smallest of the model, xz, and the bytes themselves; those of the model are
decompressed again before they count, unless that is declined.
"""

import lzma
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import torch

from sayso.base.errors import UserError, require
from sayso.base.files import atomic_file, sha256
from sayso.law.compress.block import BlockCoder
from sayso.law.compress.container import (
    BLOCK,
    DIGEST,
    Block,
    Header,
    Method,
    read_blocks,
    read_header,
    write_block,
    write_header,
)
from sayso.law.compress.mix import Predictor
from sayso.law.compress.streams import check_native
from sayso.sample.native.build import version as native_version
from sayso.token.load import tokenizer_fingerprint
from sayso.token.tokenizer import BOS, pieces
from sayso.weights.folder import load_model
from sayso.weights.tensors import weights_file

STREAM_TOKENS, STREAMS = 1024, 16  # tokens that are worth a stream of their own, and most streams
TEXT = 0.5  # share of a block that must be text for the model to be tried
_NATIVE = "native pass"
_CHARACTER = 4  # most bytes of a character in UTF-8

_Progress = Callable[[str, int], None]
"""Receives what is done, and the bytes that are done so far."""


@dataclass(frozen=True)
class Packed:
    """What became of a file."""

    size: int
    compressed: int
    methods: Mapping[str, int]
    """Bytes of the original by the method that its block was stored with."""

    @property
    def ratio(self) -> float:
        """Size over compressed size."""
        return self.size / self.compressed


class Compressor:
    """A model folder as a compressor of bytes. Its model is loaded when first needed.

    `window`: most tokens that the model sees before the next; `mix`: whether it learns from the file on the way;
    `streams`: parts of a block that are read side by side (0: one for 1,024 tokens, at most 16); `verify`: whether a
    block is decompressed again before it counts.
    """

    def __init__(
        self, folder: Path, *, window: int = 2048, mix: bool = True, streams: int = 0, verify: bool = True
    ) -> None:
        require("constriction", "zip")
        self.folder, self.window, self.mix, self.streams, self.verify = folder, window, mix, streams, verify

    @cached_property
    def _opened(self) -> tuple[BlockCoder, Callable[[bytes], list[int]], Callable[[list[int]], bytes]]:
        model, tokenizer = load_model(self.folder)
        check_native(model)
        coder = BlockCoder(model, tokenizer.specials[BOS], self.window, mix=self.mix)
        return coder, tokenizer.encode, tokenizer.decode_bytes

    def header(self, size: int) -> Header:
        """Return the header of a file of `size` bytes."""
        weights, tokenizer = sha256(weights_file(self.folder)), tokenizer_fingerprint(self.folder)
        return Header(size, self.folder.resolve().name, weights, tokenizer, engine(), self.window, self.mix)

    def encode(
        self, data: bytes, learned: Predictor | None = None, progress: Callable[[str, float], None] = lambda *_: None
    ) -> tuple[Block, Predictor | None]:
        """Return the smallest block for some bytes, and what was learned with it from the model's blocks so far.

        `progress` receives what is done and the share that is.
        """
        digest = blake2b(data, digest_size=DIGEST).digest()
        packed = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME, check=lzma.CHECK_NONE)
        method, payload = min((Method.STORED, data), (Method.XZ, packed), key=lambda one: len(one[1]))
        best = Block(method, len(data), 0, 0, digest, payload)
        if sum(len(part.encode()) for part in pieces(data) if isinstance(part, str)) < TEXT * len(data):
            return best, learned
        coder, encode, decode = self._opened
        ids = encode(data)
        if decode(ids) != data or len(ids) > len(data):  # the tokenizer normalizes text
            return best, learned
        streams = min(self.streams or min(max(1, len(ids) // STREAM_TOKENS), STREAMS), len(ids))
        predictor = coder.predictor(learned, streams)
        payload = coder.encode(ids, streams, predictor, lambda done: progress("compressed", done / len(ids)))
        if len(payload) >= len(best.payload):
            return best, learned
        found = Block(Method.MODEL, len(data), len(ids), streams, digest, payload)
        if self.verify:
            predictor = coder.predictor(learned, streams)  # in place of the one that knows the block
            back = coder.decode(payload, len(ids), streams, predictor, lambda at: progress("verified", at / len(ids)))
            if back != ids:
                return best, learned
        return found, predictor.begun(streams)

    def decode(
        self, block: Block, learned: Predictor | None = None, progress: Callable[[str, float], None] = lambda *_: None
    ) -> tuple[bytes, Predictor]:
        """Return the bytes of a block of the model's, and what was learned with it from the model's blocks so far.

        The bytes are others if the model or the machine is another one.
        """
        coder, _, decode = self._opened
        predictor = coder.predictor(learned, block.streams)
        ids = coder.decode(
            block.payload, block.tokens, block.streams, predictor,
            lambda done: progress("decompressed", done / block.tokens),
        )  # fmt: skip
        return decode(ids), predictor.begun(block.streams)


def engine() -> dict[str, str]:
    """Return the versions of everything that the bits of a probability depend on."""
    packages = ("sayso", "torch", "numpy", "constriction")
    kernels = {"torch kernels": torch.backends.cpu.get_cpu_capability()}
    return {_NATIVE: native_version(), **kernels, **{name: version(name) for name in packages}}


def compress(source: Path, target: Path, compressor: Compressor, progress: _Progress = lambda *_: None) -> Packed:
    """Compress a file. Raises `UserError` if it changes meanwhile."""
    size, done = source.stat().st_size, 0
    whole, methods = blake2b(digest_size=DIGEST), dict.fromkeys(("model", "xz", "stored"), 0)
    learned: Predictor | None = None
    with source.open("rb") as file, atomic_file(target) as part, part.open("wb") as out:
        write_header(out, compressor.header(size))
        for data in _blocks_of(file):
            block, learned = compressor.encode(data, learned, _within(progress, done, len(data)))
            write_block(out, block)
            whole.update(data)
            methods[block.method.name.lower()] += len(data)
            done += len(data)
            progress("compressed", done)
        if done != size:
            raise UserError(f"'{source}' changed while it was compressed; try again.")
        write_block(out, Block(Method.END, 0, 0, 0, whole.digest(), b""))
    return Packed(size, target.stat().st_size, methods)


def decompress(
    source: Path, target: Path, find: Callable[[Header], Compressor], limit: int, progress: _Progress = lambda *_: None
) -> int:
    """Decompress a file and return its size. `find` returns a compressor with the model that the header asks for.

    Raises `UserError` for a file that is damaged or larger than `limit` bytes, and for another model or machine. No
    file is left then.
    """
    whole, done = blake2b(digest_size=DIGEST), 0
    with source.open("rb") as file:
        header = read_header(file, source)
        if header.size > limit:
            raise UserError(f"'{source}' holds {header.size:,} bytes, and --most allows {limit:,}; increase --most.")
        compressor: Compressor | None = None
        learned: Predictor | None = None
        with atomic_file(target) as part, part.open("wb") as out:
            for block in read_blocks(file, source):
                if block.method is Method.END:
                    if done != header.size or block.digest != whole.digest():
                        raise UserError(f"'{source}' is damaged: its parts do not make the original file.")
                    break
                if done + block.size > header.size:
                    raise UserError(f"'{source}' is damaged: it holds more than the {header.size:,} bytes it states.")
                if block.method is Method.MODEL:
                    if compressor is None:
                        _check_engine(header, source)
                        compressor = find(header)
                    data, learned = compressor.decode(block, learned, _within(progress, done, block.size))
                else:
                    data = block.payload if block.method is Method.STORED else _unpacked(block)
                if len(data) != block.size or blake2b(data, digest_size=DIGEST).digest() != block.digest:
                    raise _different(source, block, done)
                out.write(data)
                whole.update(data)
                done += len(data)
                progress("decompressed", done)
    return done


def _within(progress: _Progress, done: int, size: int) -> Callable[[str, float], None]:
    """Return a function that receives shares of a block, and passes on the bytes of the whole file."""
    return lambda what, share: progress(what, done + int(share * size))


def _different(path: Path, block: Block, done: int) -> UserError:
    """Return the error of a block that is not the original's."""
    if block.method is Method.MODEL:
        return UserError(
            f"'{path}' cannot be decompressed: the block at byte {done:,} differs from the original. The model or the "
            "machine calculates differently from where it was compressed."
        )
    return UserError(f"'{path}' is damaged: the block at byte {done:,} differs from the original. Copy it again.")


def _check_engine(header: Header, path: Path) -> None:
    """Raise `UserError` if probabilities may be rounded differently here."""
    here = engine()
    for name in ("sayso", "torch", "numpy", "constriction"):
        if here[name] != (wanted := header.engine.get(name)):
            raise UserError(
                f"'{path}' was compressed with {name} {wanted}, and this is {here[name]}, which may round differently; "
                f"decompress it with {name} {wanted}."
            )
    if here[_NATIVE] != header.engine.get(_NATIVE):
        raise UserError(
            f"'{path}' was compressed by another build of the native pass: with another compiler, or on another kind "
            "of processor, which may round differently; decompress it on a machine like that."
        )


def _unpacked(block: Block) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=1 << 28).decompress(block.payload, max_length=block.size + 1)
    except lzma.LZMAError:
        return b""


def _blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes in blocks that do not cut a character."""
    rest = b""
    while data := rest + file.read(BLOCK - len(rest)):
        cut = len(data) - (_cut(data) if len(data) == BLOCK else 0)
        yield data[:cut]
        rest = data[cut:]


def _cut(data: bytes) -> int:
    """Return the number of bytes at the end that are the beginning of a character."""
    for back in range(1, _CHARACTER):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return back if back < needed else 0
        if byte < 0x80:
            break
    return 0
