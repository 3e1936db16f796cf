"""lm-evaluation-harness: its API models on three small tasks of our own, as rows and YAML in a folder.

`local-completions` scores choices by log-probabilities and generates with six stop texts; `local-chat-completions`
generates with eight. The second argument is the folder of the served model, whose tokenizer the harness reads.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from checks import MODEL, expect, run

ROWS = [{"question": f"The {a} sat on the {b}.", "gold": n % 2} for n, (a, b) in enumerate([("cat", "mat")] * 6)]
_COMMON = (
    "dataset_path: json\ntest_split: test\ndataset_kwargs:\n  data_files:\n    test: {rows}\ndoc_to_text: question\n"
)
TASKS = {
    "choices": 'output_type: multiple_choice\ndoc_to_target: gold\ndoc_to_choice: ["the cat", "the dog"]\n'
    "metric_list:\n  - metric: acc\n",
    "generated": "output_type: generate_until\ndoc_to_target: gold\nmetric_list:\n  - metric: exact_match\n"
    'generation_kwargs:\n  until: ["\\n\\n", "Question:", "Q:", "</s>", "<|im_end|>", "###"]\n  max_gen_toks: 8\n',
    "chat": "output_type: generate_until\ndoc_to_target: gold\nmetric_list:\n  - metric: exact_match\n"
    'generation_kwargs:\n  until: ["\\n\\n", "Question:", "Q:", "</s>", "<|im_end|>", "###", "User:", "A:"]\n'
    "  max_gen_toks: 8\n",
}


def evaluate(model: str, url: str, task: str, *more: str) -> dict[str, Any]:
    """Return the results of a task by a model type of the harness."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        rows.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
        (folder / f"{task}.yaml").write_text(f"task: {task}\n{_COMMON.format(rows=rows)}{TASKS[task]}")
        given = f"model={MODEL},base_url={url},tokenizer={sys.argv[2]},num_concurrent=1,max_retries=1,max_length=1000"
        command = [sys.executable, "-m", "lm_eval", "--model", model, "--model_args", given, "--tasks", task]
        command += ["--include_path", name, "--output_path", str(folder / "out"), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, done.stderr[-800:])
        [found] = (folder / "out").rglob("results*.json")
        results: dict[str, Any] = json.loads(found.read_text())["results"][task]
        return results


def choices(base_url: str) -> None:
    """Log-probabilities of continuations, by token ids and `echo`."""
    found = evaluate("local-completions", f"{base_url}/completions", "choices")
    expect(0 <= found["acc,none"] <= 1, found)


def generated(base_url: str) -> None:
    """Text until one of six stop texts."""
    found = evaluate("local-completions", f"{base_url}/completions", "generated")
    expect(found["exact_match,none"] == 0, found)


def chat(base_url: str) -> None:
    """Replies until one of eight stop texts."""
    url = f"{base_url}/chat/completions"
    found = evaluate("local-chat-completions", url, "chat", "--apply_chat_template")
    expect(found["exact_match,none"] == 0, found)


if __name__ == "__main__":
    run("lm-eval", choices, generated, chat, package="lm_eval")
