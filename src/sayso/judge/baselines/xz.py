"""Bits that `xz -9` needs for held-out text after the training text.

The training text is compressed once, in a separate process, which is then forked for each sample: a compressor's state
cannot be copied in another way, and compressing the training text again for each sample would take most of the time.
"""

import lzma
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

from sayso.base.errors import UserError
from sayso.base.exit_code import describe_exit

DICTIONARY = 3 << 29  # liblzma's largest, 1.5 GiB


def xz_bits(train: bytes, samples: Sequence[bytes]) -> list[int]:
    """Return size(train + sample) - size(train) in bits for each sample, with the sizes of `xz -9`.

    The dictionary reaches back to the first byte, so it may exceed the preset's 64 MiB (up to 1.5 GiB).
    """
    if not hasattr(os, "fork"):
        reach = len(train) + max(map(len, samples), default=0)
        alone = xz_size([train], reach)
        return [8 * (xz_size([train, sample], reach) - alone) for sample in samples]
    frames = b"".join(len(part).to_bytes(8) + part for part in (train, *samples))
    done = subprocess.run([sys.executable, "-m", __name__], input=frames, capture_output=True, check=False)
    if done.returncode:
        if b"MemoryError" in done.stderr:
            raise MemoryError
        raise UserError(f"The process that computes the xz baseline {describe_exit(done.returncode)}; run it again.")
    return [int(line) for line in done.stdout.split()]


def xz_size(parts: Sequence[bytes], reach: int) -> int:
    """Return the bytes of the parts compressed as one raw stream, with a dictionary of at least `reach` bytes."""
    encoder = compressor(reach)
    return sum(len(encoder.compress(part)) for part in parts) + len(encoder.flush())


def compressor(reach: int) -> lzma.LZMACompressor:
    """Return a compressor with preset 9 and a dictionary of about `reach` bytes, to save memory on small inputs."""
    size = min(max(reach, 1 << 16), DICTIONARY)
    return lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": size}])


def serve_sizes(source: BinaryIO, target: int) -> None:
    """Read frames (length, bytes) of the training text and the samples; write the bits of each sample on a line."""
    parts = []
    while header := source.read(8):
        parts.append(source.read(int.from_bytes(header)))
    train, *samples = parts
    encoder = compressor(len(train) + max(map(len, samples), default=0))
    size = len(encoder.compress(train))
    sizes = []
    for sample in samples:
        ours, theirs = os.pipe()
        if os.fork() == 0:
            os.write(theirs, (size + len(encoder.compress(sample)) + len(encoder.flush())).to_bytes(8))
            os._exit(0)
        sizes.append(int.from_bytes(os.read(ours, 8)))
        os.wait()
    alone = size + len(encoder.flush())
    os.write(target, "".join(f"{8 * (one - alone)}\n" for one in sizes).encode())


if __name__ == "__main__":
    serve_sizes(sys.stdin.buffer, sys.stdout.fileno())
