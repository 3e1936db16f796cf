"""Score SmolLM2 on lm-eval's own tasks through a server, and by lm-eval's `hf` backend on the same weights.

    python -m bench.clients.tasks DATA [--limit 20]      # DATA has eval/ and instruct/

The tasks are those of the installed package: prompts, stop lists, filters and metrics; only their rows are read from
local files, since a hub may be out of reach. Prints a table on standard error and one JSON object as the last line:
for each task the figures of both backends, how many texts are equal, and the largest difference of a log-probability.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.clients.checks import MODEL
from bench.clients.run import installed, say, served
from bench.smollm2 import smollm2
from sayso.base.life import Life
from sayso.weights.folder import save_model

TASKS = {
    "arc_easy": "arc/arc_easy.yaml", "lambada_openai": "lambada/lambada_openai.yaml",
    "triviaqa": "triviaqa/default.yaml", "qa_wikidata": "bigbench/generate_until/qa_wikidata.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
}  # fmt: skip
"""The file of each task in lm-eval's package."""
SCORED = {"arc_easy", "lambada_openai"}
"""Tasks of log-probabilities; the others generate until a stop text."""
CHOSEN = "ABCDEFGH"
Row = dict[str, Any]


def main() -> None:
    """Run each backend on the same rows and compare."""
    arguments = argparse.ArgumentParser(prog="tasks", description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("data", type=Path, help="folder with eval/ and instruct/")
    arguments.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS), help="default: all")
    arguments.add_argument("--limit", type=int, default=20, help="rows per task (20)")
    arguments.add_argument("--tokens", type=int, default=256, help="longest reply (256, as lm-eval's own)")
    arguments.add_argument("--python", help="Python of an environment that has lm-eval[api,hf]; default: make one")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        python = given.python or installed("lm_eval_hf", place / "venv")
        write_tasks(python, given.data, place / "tasks", given.limit)
        with served(place, save_smollm2) as base_url:
            folder = Life(place / "life").model(MODEL)
            harness = Harness(python, place, given.limit, given.tokens, folder, base_url)
            found = harness.compared("completions", given.tasks)
            found += harness.compared("chat", [task for task in given.tasks if task not in SCORED])
    for line in found:
        say(json.dumps(line))
    print(json.dumps({"name": "client_tasks", "limit": given.limit, "tasks": found}))
    sys.exit(any(line["largest_difference"] > 1e-3 for line in found))


def save_smollm2(life: Life) -> None:
    """Save SmolLM2-135M-Instruct under the name that is served."""
    save_model(*smollm2(), life.model(MODEL), {"stage": MODEL})


class Harness:
    """lm-eval in its environment, with the folder of a model and the base URL at which it is served."""

    def __init__(self, python: str, place: Path, limit: int, tokens: int, folder: Path, base_url: str) -> None:
        self.python, self.place, self.folder, self.base_url = python, place, folder, base_url
        self.limits = ["--limit", str(limit), "--gen_kwargs", f"max_gen_toks={tokens}"]

    def compared(self, route: str, tasks: list[str]) -> list[Row]:
        """Return the comparison of each task by the completions or the chat route."""
        more = ["--apply_chat_template"] if route == "chat" else []
        url = f"{self.base_url}/{'chat/' * bool(more)}completions"
        model = f"local-{'chat-' * bool(more)}completions"
        given = f"model={MODEL},base_url={url},tokenizer={self.folder},num_concurrent=8,max_length=2047"
        theirs = self.ran(f"{route}-hf", "hf", f"pretrained={self.folder},dtype=float32,max_length=2047", tasks, more)
        ours = self.ran(f"{route}-served", model, given, tasks, more)
        return [comparison(task, route, ours[task], theirs[task]) for task in tasks]

    def ran(self, name: str, model: str, given: str, tasks: list[str], more: list[str]) -> dict[str, Row]:
        """Return the figures and samples of each task by a backend."""
        say(f"{name}: {', '.join(tasks)}")
        out = self.place / name
        command = [self.python, "-m", "lm_eval", "--model", model, "--model_args", given, *self.limits]
        command += ["--tasks", ",".join(f"local_{task}" for task in tasks), "--include_path", str(self.place / "tasks")]
        command += ["--output_path", str(out), "--log_samples", *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        [results] = out.rglob("results*.json")
        figures = json.loads(results.read_text())["results"]
        return {task: {"figures": numbers(figures[f"local_{task}"]), "replies": replies(out, task)} for task in tasks}


def numbers(result: Row) -> dict[str, float]:
    """Return a task's metrics without their standard errors."""
    kept = {name: value for name, value in result.items() if "," in name and "_stderr" not in name}
    return {name: round(value, 4) for name, value in kept.items() if isinstance(value, float | int)}


def replies(out: Path, task: str) -> list[Any]:
    """Return the model's answers of a task: texts, or pairs of a log-probability and whether it is greedy."""
    [file] = out.rglob(f"samples_local_{task}_*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows.sort(key=lambda row: (row["doc_id"], row["filter"]))
    return [reply[0] for row in rows for reply in row["resps"]]


def comparison(task: str, route: str, ours: Row, theirs: Row) -> Row:
    """Return the figures side by side, the number of equal answers, and the largest difference of a number."""
    pairs = list(zip(ours["replies"], theirs["replies"], strict=True))
    scored = [(a, b) for a, b in pairs if isinstance(a, list)]
    equal = sum(a == b if isinstance(a, str) else a[1] == b[1] for a, b in pairs)
    apart = max((abs(float(a[0]) - float(b[0])) for a, b in scored), default=0.0)
    return {
        "task": task, "route": route, "served": ours["figures"], "hf": theirs["figures"],
        "equal": f"{equal} of {len(pairs)}", "largest_difference": round(apart, 6),
    }  # fmt: skip


def write_tasks(python: str, data: Path, folder: Path, limit: int) -> None:
    """Write a task file that includes the package's own, with the first rows of the local data."""
    folder.mkdir()
    where = "import importlib.util; print(importlib.util.find_spec('lm_eval').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    for task, path in TASKS.items():
        rows = folder / f"{task}.jsonl"
        rows.write_text("".join(f"{json.dumps(row)}\n" for row, _ in zip(ROWS[task](data), range(limit), strict=False)))
        shots = data / "instruct" / "gsm8k_train.jsonl" if task == "gsm8k" else rows
        files = {"train": str(shots), "validation": str(rows), "test": str(rows), "default": str(rows)}
        local = {"include": f"{package}/tasks/{path}", "task": f"local_{task}", "dataset_path": "json"}
        local |= {"dataset_name": None, "tag": None, "dataset_kwargs": {"data_files": files}}  # type: ignore[dict-item]
        (folder / f"{task}.yaml").write_text(json.dumps(local))  # JSON is YAML


def lines_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSONL file."""
    with path.open() as file:
        yield from map(json.loads, file)


def arc_rows(data: Path) -> Iterator[Row]:
    """Yield ARC's rows as on the hub."""
    for row in lines_of(data / "eval/tasks/world_knowledge/arc_easy.jsonl"):
        labels = list(CHOSEN[: len(row["choices"])])
        yield {
            "question": row["query"].removeprefix("Question: "), "answerKey": labels[row["gold"]],
            "choices": {"text": row["choices"], "label": labels},
        }  # fmt: skip


def lambada_rows(data: Path) -> Iterator[Row]:
    """Yield LAMBADA's texts, whose last word is to be predicted."""
    for row in lines_of(data / "eval/tasks/language_understanding/lambada_openai.jsonl"):
        yield {"text": f"{row['context']} {row['continuation'].strip()}"}


def trivia_rows(data: Path) -> Iterator[Row]:
    """Yield TriviaQA's questions."""
    for row in lines_of(data / "eval/tasks/world_knowledge/triviaqa_small.jsonl"):
        question = row["context"].removeprefix("Question: ").removesuffix("\nAnswer:")
        yield {"question": question, "answer": {"value": row["answer"], "aliases": row["aliases"]}}


def gsm8k_rows(data: Path) -> Iterator[Row]:
    """Yield GSM8K's test."""
    return lines_of(data / "instruct" / "gsm8k_test.jsonl")


def wikidata_rows(data: Path) -> Iterator[Row]:
    """Yield BIG-bench's questions about Wikidata."""
    for row in lines_of(data / "eval/tasks/world_knowledge/bigbench_qa_wikidata.jsonl"):
        yield {"inputs": row["context"], "targets": [row["continuation"].strip()]}


ROWS = {
    "arc_easy": arc_rows, "lambada_openai": lambada_rows, "triviaqa": trivia_rows, "gsm8k": gsm8k_rows,
    "qa_wikidata": wikidata_rows,
}  # fmt: skip

if __name__ == "__main__":
    main()
