"""What a dictionary compressor makes of new text after old: the bits that `xz -9` adds.

Old text and samples of new text enter, bits for each sample leave. The old text is compressed once, in a process of its
own, which is then forked for each sample: a compressor's state cannot be copied in any other way, and reading tens of
megabytes again for every sample is most of the work.
"""

import lzma
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

from sayso.base.ended import ended
from sayso.base.errors import UserError

DICTIONARY = 3 << 29  # liblzma's largest, 1.5 GiB


def xz_bits(train: bytes, samples: Sequence[bytes]) -> list[int]:
    """For each sample, size(train + sample) - size(train) in bits, both as `xz -9` would have them.

    The preset's dictionary of 64 MiB is enlarged, where needed, to reach back to the first byte (up to 1.5 GiB).
    """
    if not hasattr(os, "fork"):
        reach = len(train) + max(map(len, samples), default=0)
        whole = xz_size([train], reach)
        return [8 * (xz_size([train, sample], reach) - whole) for sample in samples]
    frames = b"".join(len(part).to_bytes(8) + part for part in (train, *samples))
    done = subprocess.run([sys.executable, "-m", __name__], input=frames, capture_output=True, check=False)
    if done.returncode:
        if b"MemoryError" in done.stderr:
            raise MemoryError
        raise UserError(f"The process that compresses for the xz baseline {ended(done.returncode)}; run it again.")
    return [int(line) for line in done.stdout.split()]


def xz_size(parts: Sequence[bytes], reach: int) -> int:
    """Bytes of the parts as one stream without a container, the dictionary reaching back at least `reach` bytes."""
    encoder = compressor(reach)
    return sum(len(encoder.compress(part)) for part in parts) + len(encoder.flush())


def compressor(reach: int) -> lzma.LZMACompressor:
    """Preset 9; a dictionary that holds all the data loses nothing by being smaller, and takes less memory."""
    size = min(max(reach, 1 << 16), DICTIONARY)
    return lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": size}])


def serve_sizes(source: BinaryIO, target: int) -> None:
    """Read frames (length, bytes) to the end: the training text, then samples; write the bits of each on a line."""
    parts = []
    while head := source.read(8):
        parts.append(source.read(int.from_bytes(head)))
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
    whole = size + len(encoder.flush())
    os.write(target, "".join(f"{8 * (one - whole)}\n" for one in sizes).encode())


if __name__ == "__main__":
    serve_sizes(sys.stdin.buffer, sys.stdout.fileno())
