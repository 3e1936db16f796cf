"""`sayso cycle` on a tiny life, killed at random moments and started again until it ends (bench.kill_anytime)."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from bench.harness import TINY, say, sized
from bench.tiny import tiny_life
from sayso.base.files import read_object, sha256, write_json
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import Generation, Store
from sayso.weights.tensors import weights_file

GATE = "[tasks]\nmargin = 0.99\n[bits_per_byte]\nreal = 99\nsmallworld = 99\n"
SMALL = ("--n", "1", "--text-bytes", "300", "--baseline-bytes", "2000")
TRAINED = sized(("--epochs", "2"), ("--epochs", "0.5", "--processes", "1"))
STDERR = 2  # file descriptor: the last line of standard output is the result
MARK = "SAYSO_KILL_ANYTIME"  # in the environment of all processes that are started here, with the folder of the life
LEAVE = 10.0  # seconds for the processes of a killed command to end
SAME = ("cycle", "parent", "candidate", "verdict", "open", "ratings", "conversations", "pairs", "done")
"""What the state of every cycle must have in common."""


def kill_cycles(place: Path, moments: int, draw: random.Random) -> tuple[int, list[str], Counter[str]]:
    """Kill cycles `moments` times; return how often, one fault for each cycle that differs, and what was counted."""
    born = born_life(place / "born")
    whole, began = copied(born, place / "whole"), time.perf_counter()
    assert finish(whole) == 0, "a cycle that nobody killed failed"
    seconds, expected = time.perf_counter() - began, outcome(whole)
    say(f"a cycle that nobody killed took {seconds:.1f} s")
    faults, counts, left = list[str](), Counter[str](), moments
    while left:
        life, killed = copied(born, place / f"killed-{counts['cycles']}"), 0
        began = time.perf_counter()
        while killed < left and not ended_within(life, draw.uniform(0, seconds)):
            killed += 1
        if not killed:  # the machine is faster now
            seconds = time.perf_counter() - began
        left -= killed
        status = finish(life)
        found = outcome(life)
        names = [name for name in expected if found[name] != expected[name]]
        told = [f"{name}: {found[name]}, and without a kill {expected[name]}" for name in names]
        told += [f"it ended with status {status}"] if status else []
        told += [f"process {process} outlived a kill" for process in left_over(life)]
        if told:
            faults.append("; ".join(told))
        counts["cycles"] += 1
        say(f"cycle killed {killed} times: {told or 'the same result'}")
        shutil.rmtree(life.root)
    return moments, faults, counts


def born_life(root: Path) -> Life:
    """Return a life whose `stable` is a random model, with choices and corrections of people."""
    life = tiny_life(root)
    with closing(Store(life.store)) as store:
        made = Generation("tuned", sha256(weights_file(life.model("tuned")))[:12], {}, "stop", 5, 3, 0.1)
        for number in range(8):
            asked = store.say(store.new_conversation().id, f"How many apples are {number} and {number + 1}?")
            texts = f"There are {2 * number + 1} apples.", "Apples."
            first, second = (store.reply(asked.id, text, store.prompt(asked.id), made).id for text in texts)
            store.choose(first, second)
            store.edit(second, f"{2 * number + 1} apples.")
    (life.root / "gate.toml").write_text(GATE)
    write_json(life.data("text") / "manifest.json", {"sources": []})
    sayso("evaluate", "tuned", *SMALL, life=life)
    sayso("promote", "tuned", life=life)
    return life


def copied(life: Life, root: Path) -> Life:
    """Return a copy of a life."""
    shutil.copytree(life.root, root)
    return Life(root)


def words(life: Life) -> list[str]:
    """Return the command line of a cycle."""
    gate = str(life.root / "gate.toml")
    return ["cycle", "--gate", gate, "--replay", "0", *SMALL, *TRAINED]


def finish(life: Life) -> int:
    """Run a cycle to its end, if it has not ended; return its status."""
    if ended(life):
        return 0
    return sayso(*words(life), life=life, check=False)


def ended(life: Life) -> bool:
    """Whether the first cycle of a life has ended."""
    path = life.run("cycle-1") / "cycle.json"
    return path.exists() and "ended" in read_object(path)


def ended_within(life: Life, seconds: float) -> bool:
    """Start a cycle and kill it after some seconds; return whether it ended before."""
    if ended(life):
        return True
    command = [sys.executable, "-m", "sayso", *words(life), "--life", str(life.root)]
    with subprocess.Popen(command, stdout=STDERR, env=os.environ | {MARK: str(life.root)}) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.returncode >= 0


def sayso(*given: str, life: Life, check: bool = True) -> int:
    """Run a command on a life, as a user does; with `--tiny`, in this process. Return its status."""
    full = [*given, "--life", str(life.root)]
    if TINY:
        with redirect_stdout(sys.stderr):
            status = run(full)
    else:
        status = subprocess.run([sys.executable, "-m", "sayso", *full], stdout=STDERR, check=False).returncode
    assert not (check and status), f"sayso {given[0]} ended with {status}"
    return status


def outcome(life: Life) -> dict[str, Any]:
    """Return everything that must be the same however often a cycle was killed."""
    with closing(Store(life.store)) as store:
        history = [(entry.alias, entry.model, entry.fingerprint, entry.kind) for entry in Aliases(store).history()]
    states = {path.parent.name: read_object(path) for path in life.root.glob("runs/cycle-*/cycle.json")}
    return {
        "weights": {path.parent.name: sha256(path) for path in sorted(life.root.glob("models/*/model.safetensors"))},
        "gathered": {path.name: sha256(path) for path in sorted(life.data("feedback").glob("*.jsonl"))},
        "history": history,
        "states": {name: {key: state.get(key) for key in SAME} for name, state in states.items()},
        "left over": sorted(path.name for path in life.root.rglob(".*.sayso-*")),
    }


def left_over(life: Life) -> list[int]:
    """Return the processes of killed commands on a life that have not ended after some seconds."""
    until = time.monotonic() + LEAVE
    while (found := list(_marked(life))) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _marked(life: Life) -> Iterator[int]:
    wanted = f"{MARK}={life.root}\0".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes() + b"\0":
                yield int(path.parent.name)
