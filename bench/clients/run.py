"""Run every client against `sayso serve`, each in an environment of its own that is thrown away afterwards.

    python -m bench.clients.run [openai llm ...]     # installs the clients by pip

Each `with_NAME.py` takes the base URL and the folder of the model, and prints one line of JSON. Prints a table on
standard error and one JSON object as the last line of standard output; fails if a client does. The model is small and
random: what is tested is the protocol.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.clients.checks import MODEL
from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import save_model

HERE = Path(__file__).parent
SECONDS = 900
PACKAGES = {
    "openai": ["openai"], "anthropic": ["anthropic"], "litellm": ["litellm"], "langchain": ["langchain-openai"],
    "llm": ["llm"], "inspect_ai": ["inspect-ai", "openai"], "open_webui": [],
    "lm_eval": ["lm-eval[api]", "transformers"],
}  # fmt: skip
"""What pip installs for each client."""
WITH_TORCH = {"lm_eval_hf": ["lm-eval[api,hf]"]}
"""The environment of `bench.clients.tasks`."""


def main() -> None:
    """Run the clients named, or all."""
    arguments = argparse.ArgumentParser(prog="clients", description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("clients", nargs="*", default=[], help=f"of {', '.join(PACKAGES)}; default: all")
    names = arguments.parse_args().clients or list(PACKAGES)
    if unknown := sorted(set(names) - set(PACKAGES)):
        arguments.error(f"unknown clients: {', '.join(unknown)}; choose from {', '.join(PACKAGES)}")
    with tempfile.TemporaryDirectory() as place, served(Path(place), save_random_model) as base_url:
        found = [ran(name, base_url, Path(place)) for name in names]
    say(f"{'client':12} {'version':12} {'ok':5} checks")
    for line in found:
        say(f"{line['client']:12} {line['version']:12} {line['ok']!s:5} {', '.join(line['checks'])}")
        for check, error in line.get("failed", {}).items():
            say(f"{'':12} {check}: {error}")
    print(json.dumps({"name": "clients", "ok": all(line["ok"] for line in found), "clients": found}))
    sys.exit(not all(line["ok"] for line in found))


def say(message: str) -> None:
    """Print progress on standard error."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def served(place: Path, save: Callable[[Life], None]) -> Iterator[str]:
    """Start `sayso serve` on a free port with the model that `save` puts into a life; yield the base URL."""
    life = Life(place / "life")
    save(life)
    command = [sys.executable, "-m", "sayso", "serve", "--life", str(life.root), "--model", MODEL, "--port", "0"]
    log = place / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=file, stderr=subprocess.STDOUT)
    try:
        yield f"{address(process, log)}/v1"
    finally:
        process.terminate()
        process.wait()


def address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Return the address that a starting server prints."""
    while True:
        if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text()):
            return found[0]
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"sayso serve ended:\n{log.read_text()}")


def save_random_model(life: Life) -> None:
    """Save a model with random weights and a context long enough for any of the prompts."""
    tokenizer = train("bpe", ["the cat sat on the mat and the dog said hello to the cat. " * 20], 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=4096)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    save_model(model.eval(), tokenizer, life.model(MODEL), {"stage": MODEL, "seed": 0})


def ran(name: str, base_url: str, place: Path) -> dict[str, Any]:
    """Install a client and run its script; return the line that it prints."""
    say(f"{name}: install {' '.join(PACKAGES[name]) or 'nothing'}")
    python = installed(name, place / "venv" / name)
    script = [python, str(HERE / f"with_{name}.py"), base_url, str(Life(place / "life").model(MODEL))]
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "OPENAI_API_KEY"}}
    clean |= {"HOME": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(script, capture_output=True, text=True, timeout=SECONDS, env=clean, cwd=place, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"client"')]
    if not lines:
        error = {"script": done.stderr[-2000:]}
        return {"client": name, "version": "?", "ok": False, "checks": [], "failed": error}
    line: dict[str, Any] = json.loads(lines[-1])
    return line


def installed(name: str, folder: Path) -> str:
    """Make an environment with a client; return its Python."""
    packages = (PACKAGES | WITH_TORCH)[name]
    venv.create(folder, with_pip=bool(packages))
    python = str(folder / "bin" / "python")
    if packages:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


if __name__ == "__main__":
    main()
