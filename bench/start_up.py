"""From a model folder to the first token: seconds and memory of a new process, against `transformers`.

SmolLM2-135M-Instruct in float32 safetensors. Each start is a process that has already imported its library; imports are
timed separately. Memory is the peak of the process above its memory after the imports, relative to the size of weights
and cache.

    make bench NAME=start_up
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import TINY, parser, result, say, sized

ROUNDS, NEW, CONTEXT = sized((5, 8, 512), (1, 2, 64))
WARM_UP = sized(1, 0)  # rounds that fill the disk cache, and compile
PROMPT = "The capital of France is"


def main() -> None:
    """Start each side in turns; with --side, be one of these processes."""
    arguments = parser("start_up")
    arguments.add_argument("--side", choices=("ours", "transformers"), help="for internal use")
    arguments.add_argument("--folder", type=Path, help="for internal use")
    options = arguments.parse_args()
    if options.side:
        print(json.dumps((ours if options.side == "ours" else theirs)(options.folder)))
        return
    from bench.smollm2 import smollm2
    from sayso.weights.folder import save_model

    model, tokenizer = smollm2()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save_model(model, tokenizer, folder, {})
        starts: dict[str, list[dict[str, float]]] = {"ours": [], "transformers": []}
        for number in range(WARM_UP + ROUNDS):
            for side in starts if number % 2 else reversed(starts):
                starts[side].append(started(side, folder))
    middle = {
        side: {key: median([one[key] for one in runs[WARM_UP:]]) for key in runs[0]} for side, runs in starts.items()
    }
    result(
        "start_up", "starts per minute, without imports", 60 / middle["ours"]["first_token_s"],
        60 / middle["transformers"]["first_token_s"], peer_name="transformers", sides=middle,
    )  # fmt: skip


def started(side: str, folder: Path) -> dict[str, float]:
    """Return the figures of one start of a side."""
    command = [sys.executable, "-m", "bench.start_up", "--side", side, "--folder", str(folder)]
    if TINY:
        figures = (ours if side == "ours" else theirs)(folder)
    else:
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures = json.loads(out.splitlines()[-1])
    say(f"{side}: {figures}")
    return figures


def ours(folder: Path) -> dict[str, float]:
    """Load with Sayso, and generate a few tokens."""
    began = time.perf_counter()
    import torch

    imported = time.perf_counter()
    from sayso.reply import Replier
    from sayso.sample import Sampling
    from sayso.sample.pages import bytes_per_token
    from sayso.weights.folder import load_model

    ready, held = time.perf_counter(), resident()
    replier = Replier(*load_model(folder))
    loaded = time.perf_counter()
    first = next(replier.stream_text(PROMPT, Sampling(temperature=0, max_tokens=NEW)))
    generated = time.perf_counter()
    assert first
    weights = sum(weight.numel() * weight.element_size() for weight in replier.model.parameters())
    needed = weights + CONTEXT * bytes_per_token(replier.model.config, torch.float32)
    return start_figures(imported - began, ready - imported, loaded - ready, generated - ready, held, needed)


def theirs(folder: Path) -> dict[str, float]:
    """Load with transformers, and generate a token."""
    began = time.perf_counter()
    import torch

    imported = time.perf_counter()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ready, held = time.perf_counter(), resident()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    loaded = time.perf_counter()
    with torch.inference_mode():
        model.generate(**tokenizer(PROMPT, return_tensors="pt"), do_sample=False, max_new_tokens=1)
    generated = time.perf_counter()
    needed = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return start_figures(imported - began, ready - imported, loaded - ready, generated - ready, held, needed)


def start_figures(
    torch_s: float, rest_s: float, load_s: float, first_s: float, held: int, needed: int
) -> dict[str, float]:
    """Return the figures of a start; memory in MB."""
    most = peak()
    return {
        "import_torch_s": round(torch_s, 2),
        "import_rest_s": round(rest_s, 2),
        "load_s": round(load_s, 2),
        "first_token_s": round(first_s, 2),
        "memory_mb": round((most - held) / 1e6),
        "needed_mb": round(needed / 1e6),
        "memory_ratio": round((most - held) / needed, 3),
    }


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Return the peak memory of this process in bytes; `getrusage` would include its parent's before the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def median(values: list[float]) -> float:
    """Return the (upper) median of some figures."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
