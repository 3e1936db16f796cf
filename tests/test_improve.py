"""Self-improvement on a toy task: prompts with one correct letter, and a model that replies with any of four."""

import json
import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from sayso.base.files import read_json, sha256
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.report.alignment_log import alignment_runs
from sayso.token.whole import WholeTokenizer
from sayso.weights.folder import save_model

LETTERS = "abcd"
ANSWERS = {f"{key}?": letter for key, letter in zip("wxyz", LETTERS, strict=True)}
REWARD = """
def right(prompt, reply, info):
    return reply == info["answer"]

def broken(prompt, reply, info):
    return 1 / (info["level"] - 2)
"""


def turns(question: str, reply: str) -> dict:
    """Return a conversation."""
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}],
        "source": "toy",
    }


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life whose tuned model replies with any of four letters, or with the one in a hint."""
    life = Life(tmp_path_factory.mktemp("improve") / "life")
    tokenizer = WholeTokenizer("character", [])
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 64, context=32)
    base = Transformer(config).initialize(torch.Generator().manual_seed(0))
    save_model(base, tokenizer, life.model("base"), {"stage": "base"})
    plain = [turns(question, letter) for question, letter in product(ANSWERS, LETTERS)]
    hinted = [turns(f"{question}({letter})", letter) for question, letter in product(ANSWERS, LETTERS)]
    write_jsonl(life.data("chat") / "train.jsonl", plain + hinted)
    flags = ["--rows", "16", "--row-tokens", "32", "--steps", "150", "--rate", "1", "--processes", "1"]
    assert run(["finetune", "--life", str(life.root), *flags]) == 0
    rows = [
        {"prompt": question, "answer": letter, "level": level}
        for level in (1, 2)
        for question, letter in list(ANSWERS.items())[2 * (level - 1) : 2 * level]
    ]
    write_jsonl(life.root / "prompts.jsonl", rows)
    for row in rows:  # the same questions to the model, which does not see the name
        row["prompt"] = [{"role": "user", "content": row["prompt"], "name": "examiner"}]
    write_jsonl(life.root / "held_out.jsonl", rows)
    (life.root / "mine.py").write_text(REWARD)
    return life.root


def act(root: Path, name: str, inputs: Path | None = None, **flags: str) -> int:
    """Improve the tuned model with the prompts and the reward in `inputs`; return the exit code."""
    inputs = inputs or root
    given = {
        "life": root, "name": name, "prompts": inputs / "prompts.jsonl", "held_out": inputs / "held_out.jsonl",
        "reward": f"{inputs / 'mine.py'}:right", "max_tokens": 4, "replies": 16, "keep_replies": 1, "rounds": 2,
        "epochs": 40, "rows": 1, "rate": 0.5, "processes": 1, "device": "cpu",
    } | flags  # fmt: skip
    return run(
        ["improve", *(word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value)))]
    )


def rounds(root: Path, name: str) -> list[dict]:
    """Return the events of the rounds in the run's log."""
    return [line for line in read_log(root / "runs" / f"improve-{name}" / "run.jsonl") if line["event"] == "round"]


@pytest.fixture(scope="module")
def improved(tuned: Path) -> Path:
    """The life after rounds with a verifier."""
    assert act(tuned, "better") == 0
    return tuned


def test_the_model_learns_with_a_verifier_and_not_with_the_control(improved, capsys):
    """Tuned on its own correct replies it learns all four letters; tuned on as many random ones it does not."""
    events = rounds(improved, "better")
    assert [line["step"] for line in events] == [0, 1], "a second round finds no new replies"
    assert events[1]["kept_right"] == 1
    assert events[0]["score"] < 0.8
    assert events[1]["distinct"] <= 4 * 4 / events[1]["sampled"]
    assert events[1]["score"] == 1.0
    assert act(improved, "control", select="random") == 0
    control = rounds(improved, "control")
    assert control[1]["kept_right"] < 0.8
    assert control[1]["score"] < 0.8
    assert "held-out" in capsys.readouterr().out


def test_a_number_of_prompts_is_held_out(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, some of the prompts evaluate the rounds; a run without held-out prompts is refused."""
    assert act(tuned, "some", held_out="1", rounds="1") == 0
    events = rounds(tuned, "some")
    assert [line["prompts"] for line in events if "prompts" in line] == [3]
    assert act(tuned, "none", held_out="0") == 2
    assert "raise --held-out" in capsys.readouterr().err


def test_the_best_round_becomes_the_model(improved):
    """The models and the kept replies of all rounds remain on disk."""
    models = improved / "models"
    assert sha256(models / "better/model.safetensors") == sha256(models / "better-1/model.safetensors")
    assert read_json(models / "better-1/sayso.json")["stage"] == "improved"
    rows = list(read_jsonl(improved / "runs/improve-better/round-1.jsonl"))
    assert all(row["reward"] == 1 and row["messages"][-1]["role"] == "assistant" for row in rows)


def test_the_report_has_the_metrics_of_each_round(improved):
    """The held-out score by round, and replies of the first and the last."""
    run = next(run for run in alignment_runs(Life(improved)) if run.model == "better")
    assert [step for step, _ in run.judged["score"]] == [0, 1]
    assert set(run.samples) == {0, 1}


def test_an_interrupted_run_ends_with_the_same_weights(improved, tmp_path):
    """After a kill during the training of a round, the same command ends with bitwise equal weights."""
    killed = Path(shutil.copytree(improved, tmp_path / "life"))
    expected = sha256(improved / "models/better/model.safetensors")
    for gone in ("models/better", "models/better-1", "runs/improve-better-1"):
        shutil.rmtree(killed / gone)
    log = killed / "runs/improve-better/run.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    left = [line for line in lines if line["event"] != "end" and not (line["event"] == "round" and line["step"])]
    log.write_text("".join(json.dumps(line) + "\n" for line in left))
    assert act(killed, "better", improved) == 0
    assert sha256(killed / "models/better/model.safetensors") == expected
    assert [line["step"] for line in rounds(killed, "better")] == [0, 1]


def test_hints_yield_more_correct_replies_and_are_removed(tuned):
    """With one reply per prompt most are incorrect; those sampled with the hint are kept without it."""
    assert act(tuned, "hinted", replies="1", rounds="1", hint="({answer})") == 0
    event = rounds(tuned, "hinted")[1]
    assert event["rationalised"] >= 1
    assert event["kept"] > event["solved"] * event["prompts"]
    rows = list(read_jsonl(tuned / "runs/improve-hinted/round-1.jsonl"))
    assert all("(" not in row["messages"][0]["content"] for row in rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"reward": "MINE:broken"}, "line 3"),
        ({"hint": "{nothing}", "least": "2"}, "--hint names"),
        ({"replies": "0"}, "--replies"),
        ({"least": "2"}, "No reply was kept"),
        ({"curriculum": "depth=1"}, "line 1"),
    ],
)
def test_invalid_inputs_are_errors(tuned, flags, message, capsys):
    """A reward that raises an exception, a hint with an unknown field, no kept replies."""
    given = {name: value.replace("MINE", str(tuned / "mine.py")) for name, value in flags.items()}
    assert act(tuned, "wrong", **given) == 2
    assert message in capsys.readouterr().err
