"""Compress an English text with SmolLM2-135M, against xz and others, with and without the model's weights.

    python -m bench.law_compress [TEXT] [--bytes 150000] [--life FOLDER]

TEXT should be one that the model has not read; default: this project's own documentation, written later. `ours` is
original size over compressed size, without weights; `peer` the same of `xz -9e`. With a life, its base model also
compresses the small world's held-out documents, and the size from which on its weights pay is calculated.
"""

import bz2
import gzip
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import brotli
import torch
import zstandard

from bench.contenders import THREADS
from bench.harness import TINY, parser, result, say, sized
from bench.smollm2 import smollm2
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.judge.bits import bits_per_byte
from sayso.law.compress import Compressor, compress, decompress
from sayso.model import Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import save_model
from sayso.weights.tensors import weights_file

OTHERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9),
    "bzip2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd -19": lambda data: zstandard.ZstdCompressor(19).compress(data),
    "brotli -11": lambda data: brotli.compress(data, quality=11),
}
DOCS = Path(__file__).parent.parent / "docs"
CHECK = """
import sys, torch
from pathlib import Path
from sayso.law.compress import Compressor, decompress
torch.set_num_threads(int(sys.argv[4]))
decompress(Path(sys.argv[1]), Path(sys.argv[2]), lambda header: Compressor(
    Path(sys.argv[3]), window=header.window, mix=header.mix), 10**9)
"""


def main() -> None:
    """Compress, decompress in another process with one thread, and compare."""
    arguments = parser("law_compress", __doc__)
    arguments.add_argument("text", type=Path, nargs="?", help="text file; default: this project's documentation")
    arguments.add_argument("--bytes", type=int, default=sized(150_000, 3_000), help="bytes of it")
    arguments.add_argument("--skip", type=int, default=0, help="bytes to leave out at its beginning")
    arguments.add_argument("--life", type=Path, help="a life whose base model compresses the small world")
    given = arguments.parse_args()
    torch.set_num_threads(THREADS)
    whole = given.text.read_bytes() if given.text else documentation()
    data = whole[given.skip : given.skip + given.bytes].decode(errors="ignore").encode()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, tokenizer = smollm2()
        save_model(model, tokenizer, work / "smollm2", {"stage": "imported"})
        found = {"text": measured(data, work / "smollm2", work)}
        found["text"]["evaluated_bits_per_byte"] = evaluated(model, tokenizer, data)
        if given.life:
            found["small world"] = measured(small_world(Life(given.life)), Life(given.life).model("base"), work)
    sizes = {name: len(pack(data)) for name, pack in OTHERS.items()}
    ours, peer = found["text"]["ratio"], len(data) / sizes["xz -9e"]
    result(
        "law_compress", "original over compressed size", ours, round(peer, 3), peer_name="xz -9e", bytes=len(data),
        text=given.text.name if given.text else "documentation", others=sizes, found=found, threads=THREADS,
    )  # fmt: skip


def documentation() -> bytes:
    """Return the pages of the documentation that people wrote, one after the other."""
    generated = ("commands.md", "tree.md")
    pages = [path.read_bytes() for path in sorted(DOCS.rglob("*.md")) if path.name not in generated]
    return b"\n".join(pages)


def small_world(life: Life) -> bytes:
    """Return the held-out documents of the small world."""
    rows = [row for path in sorted(life.data("text").glob("test-*.jsonl")) for row in read_jsonl(path)]
    return "\n\n".join(row["text"] for row in rows if row["source"] == "smallworld").encode()


def evaluated(model: Transformer, tokenizer: Tokenizer, data: bytes) -> float:
    """Return the bits per byte of a text as `sayso evaluate` counts them."""
    return round(bits_per_byte(model, tokenizer, [data.decode()], 2048).mean, 4)


def measured(data: bytes, folder: Path, work: Path) -> dict[str, Any]:
    """Return sizes and speeds of some bytes under a model, alone and mixed with the file's own n-grams."""
    source, weights, found = work / "text", weights_file(folder).stat().st_size, {}
    source.write_bytes(data)
    for name, mix, verify in (
        ("mixed", True, False),
        ("mixed and verified", True, True),
        ("model alone", False, False),
    ):
        packed = work / f"{mix}-{verify}.sayso"
        began = time.perf_counter()
        one = compress(source, packed, Compressor(folder, mix=mix, verify=verify))
        seconds = time.perf_counter() - began
        found[name] = {
            "size": one.compressed, "ratio": round(one.ratio, 3), "bits_per_byte": round(8 / one.ratio, 4),
            "methods": dict(one.methods), "compressed_kb_s": round(len(data) / seconds / 1000, 2),
        }  # fmt: skip
        if not verify:
            found[name]["decompressed_kb_s"] = round(len(data) / back(packed, folder, work, data) / 1000, 2)
        say(f"{folder.name}, {name}: {found[name]}")
    xz = len(OTHERS["xz -9e"](data))
    saved = (xz - found["mixed"]["size"]) / len(data)
    return found["mixed"] | {
        "others": found, "bytes": len(data), "xz": xz, "weights": weights,
        "with_weights_ratio": round(len(data) / (found["mixed"]["size"] + weights), 4),
        "weights_pay_from_bytes": round(weights / saved) if saved > 0 else None,
    }  # fmt: skip


def back(packed: Path, folder: Path, work: Path, data: bytes) -> float:
    """Decompress twice, with one thread in another process and with all in this one; return the seconds of the last."""
    target = work / "back"
    if not TINY:
        subprocess.run([sys.executable, "-c", CHECK, packed, target, folder, "1"], check=True)
        assert target.read_bytes() == data, "another process gave other bytes"
    began = time.perf_counter()
    decompress(packed, target, lambda header: Compressor(folder, window=header.window, mix=header.mix), 10**9)
    assert target.read_bytes() == data
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
