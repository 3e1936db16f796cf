"""Reproducibility of a life: a killed and resumed run ends with identical weights, and transformers agrees on logits.

`check_resume` trains a small model twice in subprocesses; `check_export` opens a model folder in both libraries.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from sayso.base.errors import UserError, require
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.text.prepared import document_texts
from sayso.token.load import tokenizer_fingerprint
from sayso.train.workers import can_fork
from sayso.weights.folder import load_model

STEPS = 12
LOGIT_TOLERANCE = 1e-4
OF_LARGEST = 1e-5  # relative to the largest logit: a larger model has longer sums and larger logits


def check_resume(life: Life) -> dict[str, Any]:
    """Train a small model twice on the life's text, once killed with SIGKILL at a random step and resumed.

    Both run concurrently, with two processes each where supported. Returns whether the weights are bitwise equal.
    """
    with tempfile.TemporaryDirectory(prefix="sayso-verify-") as folder:
        whole, killed = (_small_life(life, Path(folder) / name) for name in ("whole", "killed"))
        victim = random.SystemRandom().randint(2, STEPS - 2)
        first, second = _start(whole), _start(killed)
        reached = _kill_after(second, killed.run("pretrain-base") / "run.jsonl", victim)
        _finish(_start(killed))
        _finish(first)
        hashes = [sha256(place.model("base") / "model.safetensors") for place in (whole, killed)]
        return {"identical": hashes[0] == hashes[1], "killed_after": reached, "steps": STEPS, "sha256": hashes}


@torch.inference_mode()
def check_export(life: Life, folder: Path) -> dict[str, Any]:
    """Return the largest difference between our logits and those of transformers for the folder, over real text."""
    transformers = require("transformers", "verify")
    transformers.utils.logging.disable_progress_bar()  # it would overwrite our own output
    model, tokenizer = load_model(folder, plain=True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    context, largest, apart, tokens = model.config.context, 0.0, 0.0, 0
    known = chain.from_iterable(document_texts(life.data("text"), split) for split in ("val", "train"))
    for text in islice(known, 8):
        ids = torch.tensor([[tokenizer.specials["<|bos|>"], *tokenizer.encode(text)][:context]])
        logits = model(ids)
        largest = max(largest, float(logits.abs().max()))
        apart = max(apart, float((logits - theirs(ids).logits).abs().max()))
        tokens += ids.numel()
    return {
        "max_logit_difference": apart,
        "largest_logit": largest,
        "tokens": tokens,
        "transformers": transformers.__version__,
    }


def allowed(largest: float) -> float:
    """Return the tolerance of logits for a given largest logit."""
    return max(LOGIT_TOLERANCE, OF_LARGEST * largest)


def _small_life(life: Life, root: Path) -> Life:
    """Return a temporary life that trains on the same tokens."""
    small = Life(root)
    shutil.copytree(life.tokenizer, small.tokenizer)
    mark = f"tokens-{tokenizer_fingerprint(life.tokenizer)[:12]}"
    small.data("text").mkdir(parents=True)
    (small.data("text") / mark).symlink_to((life.data("text") / mark).resolve())
    shutil.copy(life.data("text") / "manifest.json", small.data("text"))
    return small


def _start(life: Life) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sayso", "pretrain", "--life", str(life.root), "--depth", "2"]
    command += ["--steps", str(STEPS), "--rows", "2", "--context", "128", "--save-seconds", "0", "--device", "cpu"]
    if can_fork("cpu"):
        command += ["--processes", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _kill_after(process: subprocess.Popen[bytes], log: Path, step: int) -> int:
    """Kill the process once its log contains `step`; return the last step logged."""
    while process.poll() is None:
        steps = [event["step"] for event in read_log(log) if event["event"] == "step"]
        if steps and steps[-1] >= step:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return int(steps[-1])
        time.sleep(0.002)
    _finish(process)
    raise UserError(f"The run finished all {STEPS} steps before it could be killed; run verify again.")


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise UserError(f"A training run of the verification failed: {errors.decode(errors='replace').strip()}")
