"""Simon Willison's `llm`: its command line with the model in extra-openai-models.yaml."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import MODEL, PETS, SCHEMA, expect, run

TOOL = "def feed(pet: str) -> str:\n    'Feeds a pet.'\n    return 'fed'\n"


def llm(base_url: str, *arguments: str) -> str:
    """Return what the command prints, run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return llm_in(folder, base_url, *arguments)


def llm_in(folder: str, base_url: str, *arguments: str) -> str:
    """Return what the command prints, run in a folder that keeps its conversations."""
    if not (Path(folder) / "extra-openai-models.yaml").exists():
        entries = [
            f"- model_id: sayso\n  model_name: {MODEL}\n  api_base: {base_url}\n  supports_schema: true\n"
            "  supports_tools: true\n",
            f"- model_id: sayso-text\n  model_name: {MODEL}\n  api_base: {base_url}\n  completion: true\n",
        ]
        (Path(folder) / "extra-openai-models.yaml").write_text("".join(entries))
    environment = os.environ | {"LLM_USER_PATH": folder, "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-m", "llm", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    expect(done.returncode == 0, done.stderr)
    return done.stdout


def prompt(base_url: str) -> None:
    """A streamed reply, and the same whole."""
    options = ("-m", "sayso", "hello", "-s", "Be short.", "-o", "max_tokens", "8", "-o", "temperature", "0")
    streamed = llm(base_url, *options)
    expect(streamed == llm(base_url, *options, "--no-stream"), streamed)


def conversation(base_url: str) -> None:
    """A conversation that is continued."""
    with tempfile.TemporaryDirectory() as folder:
        llm_in(folder, base_url, "-m", "sayso", "hello", "-o", "max_tokens", "8")
        expect(llm_in(folder, base_url, "-c", "more", "-o", "max_tokens", "8"), "nothing")


def schema(base_url: str) -> None:
    """A reply in a schema."""
    found = json.loads(llm(base_url, "-m", "sayso", "hello", "--schema", json.dumps(SCHEMA), "-o", "max_tokens", "200"))
    expect(found["pet"] in PETS, found)


def tools(base_url: str) -> None:
    """A tool offered to the model."""
    expect(llm(base_url, "-m", "sayso", "hello", "--functions", TOOL, "-o", "max_tokens", "8") is not None, TOOL)


def completion(base_url: str) -> None:
    """A raw completion."""
    expect(llm(base_url, "-m", "sayso-text", "the cat", "-o", "max_tokens", "8"), "nothing")


if __name__ == "__main__":
    run("llm", prompt, conversation, schema, tools, completion)
