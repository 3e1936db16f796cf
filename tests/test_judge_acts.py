"""The commands `sayso judge` and `sayso arena`: replies are compared by a judge, and models are ranked."""

import json
from pathlib import Path

import pytest
import torch

from sayso.align.scorer import open_scorer
from sayso.base.files import read_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.store import Generation, Store
from sayso.judge.arena.pairwise import JudgedPair, ReplyPair, pairwise_scores
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score
from sayso.run.arena import Arena, arena
from sayso.run.judge import Judge, judge, told
from sayso.token.train import train
from sayso.weights.folder import save_model


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with two chat models, a reward model, and prompts beside it."""
    found, tokenizer = Life(tmp_path / "life"), train("bpe", ["what is it? the cat sat on the mat. " * 9], 300)
    shape = ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 48, context=128)
    for number, name in enumerate(("one", "two", "reward")):
        torch.manual_seed(number)
        made = Transformer(shape)
        for weight in made.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        save_model(add_score(made) if name == "reward" else made, tokenizer, found.model(name), {"stage": name})
    rows = [{"prompt": f"what is {n}?"} for n in range(5)]
    rows.append({"messages": [{"role": "user", "content": "the cat?"}]})
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    return found


def test_a_reward_model_compares_two_models(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A win is a higher reward of the second model's reply; a second run asks the judge nothing."""
    options = Judge(("one", "two"), life=life.root, prompts=tmp_path / "prompts.jsonl", reward="reward", max_tokens=12)
    found = judge(options)
    folder = life.run("judge-one-two")
    rows, score = list(read_jsonl(folder / "replies.jsonl")), open_scorer([life.model("reward")])
    assert len(rows) == 6
    gaps = [score([(row["prompt"], row["two"], {})])[0] - score([(row["prompt"], row["one"], {})])[0] for row in rows]
    different = [row["one"] != row["two"] for row in rows]
    assert found["wins"] == sum(gap > 0 and other for gap, other in zip(gaps, different, strict=True))
    assert found["losses"] == sum(gap < 0 and other for gap, other in zip(gaps, different, strict=True))
    assert found["wins"] + found["ties"] + found["losses"] == 6
    assert f"two won {found['wins']}, tied" in capsys.readouterr().out
    log = (folder / "verdicts.jsonl").read_text()
    assert judge(options)["wins"] == found["wins"]
    assert (folder / "verdicts.jsonl").read_text() == log
    assert read_json(folder / "scores.json")["models"] == ["one", "two"]


def test_the_verdicts_and_choices_are_ranked(life: Life, tmp_path: Path) -> None:
    """Choices of people alone, or with the verdicts; both name a model by its name and its weights."""
    options = Judge(("one", "two"), life=life.root, prompts=tmp_path / "prompts.jsonl", reward="reward", max_tokens=12)
    scores = judge(options)
    one, two = scores["players"]
    store = Store(life.store)
    for _ in range(3):
        talk = store.new_conversation().id
        asked = store.say(talk, "Hello")
        turns = [{"role": "user", "content": "Hello"}]
        replies = []
        for player in (two, one):
            name, mark = player.split()
            made = Generation(name, f"{mark}0000", {}, "stop", 3, 2, 0.1)
            replies.append(store.reply(asked.id, f"I am {name}.", turns, made).id)
        store.choose(replies[0], replies[1], position="left")
    store.close()
    alone = arena(Arena(life=life.root))
    assert alone["games"] == 3
    assert [row["player"] for row in alone["standings"]] == [two, one]
    both = arena(Arena(life=life.root, judged=True, anchor=one if scores["wins"] and scores["losses"] else None))
    assert both["games"] == 3 + 6
    assert {row["player"] for row in both["standings"]} == {one, two}
    assert (life.run("arena") / "ranking.svg").read_text().startswith("<svg")


def test_the_result_is_told_in_sentences() -> None:
    judged = [
        JudgedPair(ReplyPair(f"p{n}", "x", "yy"), *pair) for n, pair in enumerate([("A", "B"), ("A", "A"), (None, "A")])
    ]
    first, bias, missing = told(pairwise_scores(judged), "two", "one")
    assert first.startswith("two won 1, tied 1 and lost 0 of 2 against one: a win rate of 0.75")
    assert "changed its verdict with the order in 0.50" in bias
    assert missing.startswith("1 pair has no result")
    same = [JudgedPair(ReplyPair("p", "x", "x"), "tie", "tie")]
    assert told(pairwise_scores(same), "two", "one")[1:] == [
        "The judge was not asked, because the two replies of every pair are the same."
    ]


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["one"], "compares two different models; got one"),
        (["one", "one", "--reward", "reward"], "compares two different models; got one, one"),
        (["one", "two"], "needs one judge: --reward NAME, or --endpoint"),
        (["one", "two", "--reward", "reward", "--endpoint", "http://x/v1"], "needs one judge"),
        (["one", "two", "--endpoint", "http://x/v1"], "--endpoint needs --judge"),
        (["one", "two", "--reward", "reward"], "has no held-out conversations"),
        (["one", "two", "--reward", "one", "--prompts", "prompts.jsonl"], "choose one that scores replies"),
        (
            ["one", "two", "--reward", "reward", "--prompts", "bad.jsonl"],
            "bad.jsonl:2: A row of prompts needs a prompt",
        ),
        (["one", "two", "--reward", "reward", "--prompts", "empty.jsonl"], "must have at least one row"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    words: list[str], rule: str, life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.jsonl").write_text(
        '{"prompt": "a"}\n' + json.dumps({"messages": [{"role": "assistant", "content": "x"}]})
    )
    Path("empty.jsonl").write_text("\n")
    assert run(["judge", *words, "--life", str(life.root)]) == 2
    assert rule in capsys.readouterr().err


def test_an_arena_without_games_is_refused(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["arena", "--life", str(life.root)]) == 2
    assert "There are no choices between the replies of two models" in capsys.readouterr().err
