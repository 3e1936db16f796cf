"""From a model folder to the first token: seconds and memory of a fresh process, ours against `transformers`.

SmolLM2-135M-Instruct in float32 safetensors. Each start is a process of its own that has imported its library already;
importing is told apart. Memory is what the process holds at its most beyond that, over what weights and cache take.

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
FIRST = sized(1, 0)  # a round that fills the disk's cache, and compiles what is kept
PROMPT = "The capital of France is"


def main() -> None:
    """Start each side in turns, or be one start."""
    arguments = parser("start_up")
    arguments.add_argument("--side", choices=("ours", "transformers"))
    arguments.add_argument("--folder", type=Path)
    asked = arguments.parse_args()
    if asked.side:
        print(json.dumps((ours if asked.side == "ours" else theirs)(asked.folder)))
        return
    from bench.smollm2 import smollm2
    from sayso.weights.folder import save_model

    model, tokenizer = smollm2()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save_model(model, tokenizer, folder, {})
        starts: dict[str, list[dict[str, float]]] = {"ours": [], "transformers": []}
        for number in range(FIRST + ROUNDS):
            for side in starts if number % 2 else reversed(starts):
                starts[side].append(started(side, folder))
    middle = {
        side: {key: median([one[key] for one in runs[FIRST:]]) for key in runs[0]} for side, runs in starts.items()
    }
    result(
        "start_up", "starts a minute, without imports", 60 / middle["ours"]["first_token_s"],
        60 / middle["transformers"]["first_token_s"], peer_name="transformers", sides=middle,
    )  # fmt: skip


def started(side: str, folder: Path) -> dict[str, float]:
    """Return what a process of one side tells of its start."""
    command = [sys.executable, "-m", "bench.start_up", "--side", side, "--folder", str(folder)]
    if TINY:
        told = (ours if side == "ours" else theirs)(folder)
    else:
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        told = json.loads(out.splitlines()[-1])
    say(f"{side}: {told}")
    return told


def ours(folder: Path) -> dict[str, float]:
    """Load by ours, and say a few tokens."""
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
    spoken = time.perf_counter()
    assert first
    weights = sum(weight.numel() * weight.element_size() for weight in replier.model.parameters())
    needed = weights + CONTEXT * bytes_per_token(replier.model.config, torch.float32)
    return told(imported - began, ready - imported, loaded - ready, spoken - ready, held, needed)


def theirs(folder: Path) -> dict[str, float]:
    """Load by transformers, and say a few tokens."""
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
    spoken = time.perf_counter()
    needed = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return told(imported - began, ready - imported, loaded - ready, spoken - ready, held, needed)


def told(torch_s: float, rest_s: float, load_s: float, first_s: float, held: int, needed: int) -> dict[str, float]:
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
    """Return the bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Return the bytes that this process held at its most; `getrusage` would count its parent's before it, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def median(values: list[float]) -> float:
    """Return the middle of some figures."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
