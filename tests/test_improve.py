"""Self-improvement on a toy: prompts with a letter to learn, and a model that at first says any of four."""

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
ASKED = {f"{key}?": letter for key, letter in zip("wxyz", LETTERS, strict=True)}
REWARD = """
def right(prompt, reply, info):
    return reply == info["answer"]

def broken(prompt, reply, info):
    return 1 / (info["level"] - 2)
"""


def turns(asked: str, reply: str) -> dict:
    """One conversation."""
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}], "source": "toy"}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life whose tuned model replies with any of four letters, or with the one that a hint gives."""
    life = Life(tmp_path_factory.mktemp("improve") / "life")
    tokenizer = WholeTokenizer("character", [])
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 64, context=32)
    base = Transformer(config).initialise(torch.Generator().manual_seed(0))
    save_model(base, tokenizer, life.model("base"), {"stage": "base"})
    plain = [turns(asked, letter) for asked, letter in product(ASKED, LETTERS)]
    hinted = [turns(f"{asked}({letter})", letter) for asked, letter in product(ASKED, LETTERS)]
    write_jsonl(life.data("chat") / "train.jsonl", plain + hinted)
    flags = ["--rows", "16", "--row-tokens", "32", "--steps", "150", "--rate", "1", "--processes", "1"]
    assert run(["finetune", "--life", str(life.root), *flags]) == 0
    rows = [
        {"prompt": asked, "answer": letter, "level": level}
        for level in (1, 2)
        for asked, letter in list(ASKED.items())[2 * (level - 1) : 2 * level]
    ]
    write_jsonl(life.root / "prompts.jsonl", rows)
    (life.root / "mine.py").write_text(REWARD)
    return life.root


def act(root: Path, name: str, inputs: Path | None = None, **flags: str) -> int:
    """Improve the tuned model, by the prompts and the reward in `inputs`; return the exit code."""
    inputs = inputs or root
    given = {
        "life": root, "name": name, "prompts": inputs / "prompts.jsonl", "held_out": inputs / "prompts.jsonl",
        "reward": f"{inputs / 'mine.py'}:right", "max_tokens": 4, "replies": 16, "keep_replies": 1, "rounds": 2,
        "epochs": 40, "rows": 1, "rate": 0.5, "processes": 1, "device": "cpu",
    } | flags  # fmt: skip
    return run(
        ["improve", *(word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value)))]
    )


def rounds(root: Path, name: str) -> list[dict]:
    """What the run's log tells of each round."""
    return [line for line in read_log(root / "runs" / f"improve-{name}" / "run.jsonl") if line["event"] == "round"]


@pytest.fixture(scope="module")
def improved(tuned: Path) -> Path:
    """The life after rounds with a verifier."""
    assert act(tuned, "better") == 0
    return tuned


def test_a_verifier_makes_the_model_right_where_the_control_is_not(improved, capsys):
    """Tuned on its own right replies it learns all four letters; tuned on as many at random it does not."""
    told = rounds(improved, "better")
    assert [line["step"] for line in told] == [0, 1], "a second round would find nothing new"
    assert told[1]["kept_right"] == 1
    assert told[0]["score"] < 0.8
    assert told[1]["distinct"] <= 4 * 4 / told[1]["sampled"]
    assert told[1]["score"] == 1.0
    assert act(improved, "control", select="random") == 0
    control = rounds(improved, "control")
    assert control[1]["kept_right"] < 0.8
    assert control[1]["score"] < 0.8
    assert "held-out" in capsys.readouterr().out


def test_the_kept_model_is_that_of_the_best_round_and_every_round_can_be_opened(improved):
    """`models/NAME` has the weights of the best held-out round; each round's model and kept replies are on disk."""
    models = improved / "models"
    assert sha256(models / "better/model.safetensors") == sha256(models / "better-1/model.safetensors")
    assert read_json(models / "better-1/sayso.json")["stage"] == "improved"
    rows = list(read_jsonl(improved / "runs/improve-better/round-1.jsonl"))
    assert all(row["reward"] == 1 and row["messages"][-1]["role"] == "assistant" for row in rows)


def test_the_report_draws_each_rounds_figures(improved):
    """The life's story has the run with its held-out score by round, and replies of the first and the last."""
    run = next(run for run in alignment_runs(Life(improved)) if run.model == "better")
    assert [step for step, _ in run.judged["score"]] == [0, 1]
    assert set(run.samples) == {0, 1}


def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_weights(improved, tmp_path):
    """From a life as a kill in a round's training leaves it, the same command gives bitwise equal weights."""
    cut = Path(shutil.copytree(improved, tmp_path / "life"))
    whole = sha256(improved / "models/better/model.safetensors")
    for gone in ("models/better", "models/better-1", "runs/improve-better-1"):
        shutil.rmtree(cut / gone)
    log = cut / "runs/improve-better/run.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    left = [line for line in lines if line["event"] != "end" and not (line["event"] == "round" and line["step"])]
    log.write_text("".join(json.dumps(line) + "\n" for line in left))
    assert act(cut, "better", improved) == 0
    assert sha256(cut / "models/better/model.safetensors") == whole
    assert [line["step"] for line in rounds(cut, "better")] == [0, 1]


def test_a_hint_finds_replies_that_were_missed_and_is_not_learned(tuned):
    """With one reply a prompt most are missed; the hint finds them, and the kept rows are without it."""
    assert act(tuned, "hinted", replies="1", rounds="1", hint="({answer})") == 0
    told = rounds(tuned, "hinted")[1]
    assert told["rationalised"] >= 1
    assert told["kept"] > told["solved"] * told["prompts"]
    rows = list(read_jsonl(tuned / "runs/improve-hinted/round-1.jsonl"))
    assert all("(" not in row["messages"][0]["content"] for row in rows)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"reward": "MINE:broken"}, "line 3"),
        ({"hint": "{nothing}", "least": "2"}, "--hint names"),
        ({"replies": "0"}, "--replies"),
        ({"least": "2"}, "No reply was kept"),
        ({"curriculum": "depth=1"}, "line 1"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tuned, flags, said, capsys):
    """A reward that raises, a hint without its field, nothing kept: exit code 2, one sentence, and the line."""
    given = {name: value.replace("MINE", str(tuned / "mine.py")) for name, value in flags.items()}
    assert act(tuned, "wrong", **given) == 2
    assert said in capsys.readouterr().err
