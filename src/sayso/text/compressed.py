"""Open a path or URL as bytes, decompressed if its name ends in .gz or .zst; truncated or damaged files are detected.

The stream reader of zstandard silently accepts a truncated file; `Frames` checks that the last frame is complete.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from sayso.base.errors import UserError, require

READ_BLOCK = 1 << 20  # bytes read at a time
COMPRESSED = (".gz", ".zst")


def open_bytes(where: str) -> IO[bytes]:
    """Open a path or an fsspec URL for reading, without decompression."""
    try:
        if "://" in where:
            return cast(IO[bytes], require("fsspec", "data").open(where, "rb").open())
        return Path(where).open("rb")
    except FileNotFoundError as error:
        raise UserError(f"There is no file '{where}'.") from error
    except (OSError, ImportError) as error:
        raise UserError(f"'{where}' cannot be read: {error}.") from error


@contextmanager
def open_decompressed(where: str) -> Iterator[IO[bytes]]:
    """Open a path or URL for reading its decompressed content. Raises `UserError` if it is damaged."""
    with open_bytes(where) as raw:
        kinds: tuple[type[BaseException], ...] = ()
        decompressed: Any = raw
        if where.lower().endswith(".gz"):
            kinds = (gzip.BadGzipFile, EOFError, zlib.error)
            decompressed = gzip.GzipFile(fileobj=raw)
        elif where.lower().endswith(".zst"):
            zstandard = require("zstandard", "data")
            kinds = (EOFError, zstandard.ZstdError)
            decompressed = io.BufferedReader(Frames(raw, zstandard.ZstdDecompressor()), READ_BLOCK)
        try:
            yield decompressed
        except kinds as error:
            raise UserError(
                f"'{where}' is damaged or does not match its extension ({error}); download it again."
            ) from error


class Frames(io.RawIOBase):
    """Reads Zstandard frames, one after another; raises `EOFError` if the last one is truncated."""

    def __init__(self, raw: IO[bytes], decompressor: Any) -> None:
        self.raw, self.decompressor = raw, decompressor
        self.frame: Any = None
        self.ready = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill the buffer with decompressed bytes and return their number; 0 at the end."""
        while not self.ready:
            data = (self.frame.unused_data if self.frame and self.frame.eof else b"") or self.raw.read(READ_BLOCK >> 3)
            if not data:
                if self.frame and not self.frame.eof:
                    raise EOFError("the last frame is truncated")
                return 0
            if self.frame is None or self.frame.eof:
                self.frame = self.decompressor.decompressobj()
            self.ready = memoryview(self.frame.decompress(data))
        count = min(len(target), len(self.ready))
        target[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count
