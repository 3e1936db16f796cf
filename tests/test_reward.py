"""The act that trains a reward model: its data, its evaluation, and exact resuming."""

import json
from pathlib import Path
from random import Random

import pytest
import torch

from sayso.align.pairs.comparisons import read_pairs, read_ratings
from sayso.align.pairs.reward_data import best_reply, hold_out_questions, questions, spoil, spoiled
from sayso.align.pairs.reward_eval import loss_of
from sayso.align.scorer import open_scorer
from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.jsonl import BadRows, write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.judged import Comparison
from sayso.cli.main import run
from sayso.loss.reward import RewardLoss
from sayso.model import ModelConfig, Transformer
from sayso.run.reward import Reward, reward
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import load_weights, save_model

CONFIG = ModelConfig(vocab_size=300, layers=1, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=48, context=192)
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
SMALL = {"samples": 0, "processes": 1, "rate": 1.0, "rows": 8}


def texts(count: int, seed: int = 0) -> list[list[str]]:
    """Return triples of sentences of five words."""
    drawn = Random(seed)
    return [[" ".join(drawn.choices(WORDS, k=5)) for _ in range(3)] for _ in range(count)]


def pairs(count: int) -> list[dict]:
    """Return pairs of equal length; the reply that ends with fox is chosen."""
    return [{"prompt": a, "chosen": f"{b} fox", "rejected": f"{c} dog"} for a, b, c in texts(count)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", [" ".join(WORDS) * 20 + " fox dog"], 300)


@pytest.fixture
def life(tokenizer: Tokenizer, tmp_path: Path) -> Life:
    """A life with a tuned model of random weights."""
    found = Life(tmp_path / "life")
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    save_model(model, tokenizer, found.model("tuned"), {"stage": "tuned"})
    return found


def test_it_learns_which_replies_are_better(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The held-out accuracy is high where that of length is not; the evaluation is written, drawn and printed."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(160))
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), epochs=3, held_out=0.2, **SMALL))
    output, log = capsys.readouterr().out, read_log(life.run("reward-reward") / "run.jsonl")
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["accuracy"]["mean"] > 0.9 > 0.75 > found["length_accuracy"]["mean"]
    assert found["above_length"]["low"] > 0
    assert {"truncated", "repeated", "empty"} == found["spoiled"].keys()
    assert (life.run("reward-reward") / "reliability.svg").read_text().startswith("<svg")
    assert "Accuracy of length alone" in output
    steps = [line for line in log if line["event"] == "step"]
    assert steps[-1]["accuracy"] > steps[0]["accuracy"]
    assert all(0 < line["mfu"] < 1 for line in steps)
    assert {"chosen", "rejected", "margin", "score"} <= steps[0].keys()
    judged = [line["held_out_loss"] for line in log if line["event"] == "val"]
    assert len(judged) >= 6
    scores = open_scorer([life.model("reward")])([("the fox", f"a dog {end}", {}) for end in ("fox", "dog")])
    assert scores[0] > scores[1]
    assert read_json(life.model("reward") / "sayso.json")["metrics"]["accuracy"] == found["accuracy"]["mean"]


def test_a_model_that_only_measures_length_has_a_warning(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the chosen reply is always the longer one, length alone is as accurate."""
    rows = [{"prompt": a, "chosen": f"{b} {c}", "rejected": b} for a, b, c in texts(80)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), epochs=2, held_out=0.3, **SMALL))
    assert "not significantly better than length alone" in capsys.readouterr().out
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["length_accuracy"]["mean"] == 1.0


@pytest.mark.parametrize("kind", ["good", "rating"])
def test_a_reward_model_learns_from_ratings(kind: str, life: Life, tmp_path: Path) -> None:
    """Ratings of single replies are good or bad, or numbers on any scale."""
    values = {"good": (True, False), "rating": (5, 2.5)}[kind]
    rows = [{"prompt": a, "reply": f"{b} {'fox' if n % 2 else 'dog'}", kind: values[1 - n % 2]}
            for n, (a, b, _) in enumerate(texts(160))]  # fmt: skip
    write_jsonl(tmp_path / "ratings.jsonl", rows)
    reward(Reward(life=life.root, ratings=(tmp_path / "ratings.jsonl",), epochs=4, held_out=0.2, **SMALL))
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["accuracy"]["mean"] > 0.9
    assert bool(found["bins"]) == (kind == "good")


def test_an_interrupted_run_ends_with_the_same_weights(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle, a run with an adapter is resumed by the same command."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(40))
    options = {"life": life.root, "pairs": (tmp_path / "pairs.jsonl",), "lora_rank": 2, **SMALL}
    reward(Reward(name="straight", **options))
    from sayso.align.pairs import reward_model as act

    original, calls = act.reward_loss, [0]

    def stop(*given: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return original(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(act, "reward_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            reward(Reward(name="stopped", save_seconds=0.0, **options))
    reward(Reward(name="stopped", save_seconds=0.0, **options))
    one, other = (load_weights(life.model(name)).state_dict() for name in ("straight", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_members_of_an_ensemble_differ_and_are_normalized(life: Life, tmp_path: Path) -> None:
    """Each has its own seed; its scores are normalized by replies of the reference."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(100))
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), members=2, **{**SMALL, "samples": 12}))
    one, other = (read_json(life.model(name) / "sayso.json") for name in ("reward", "reward-2"))
    assert (one["seed"], other["seed"]) == (0, 1)
    assert one["metrics"]["reference_std"] > 0
    scores = open_scorer([life.model("reward"), life.model("reward-2")])([("the fox", "a dog", {})])
    assert len(scores) == 1


def test_rows_of_one_prompt_are_one_question() -> None:
    """Each reply occurs once; its ratings are averaged; ties and margins are kept."""
    rows = [
        {"prompt": [{"role": "user", "content": "p"}], "chosen": "a", "rejected": "b", "margin": 0.5},
        {"prompt": [{"role": "user", "content": "q"}], "chosen": "c", "rejected": "d", "group": "talk 7"},
        {"prompt": [{"role": "user", "content": "p"}], "chosen": "c", "rejected": "a", "tie": True},
        {"prompt": [{"role": "user", "content": "p"}], "reply": "b", "good": True},
        {"prompt": [{"role": "user", "content": "p"}], "reply": "b", "good": False},
    ]
    first, second = questions(rows)
    assert first.replies == ["a", "b", "c"]
    assert first.comparisons == [Comparison(0, 1, 0.5), Comparison(2, 0, tie=True)]
    assert [first.rating(n) for n in range(3)] == [None, 0.5, None]
    assert second.group == "talk 7"
    assert best_reply(first) == 0


def test_no_conversation_is_on_both_sides() -> None:
    """Prompts of a group are held out together, and the same ones each time."""
    rows = [{"prompt": [{"role": "user", "content": str(n)}], "chosen": "a", "rejected": "b", "group": str(n // 4)}
            for n in range(800)]  # fmt: skip
    train, held = hold_out_questions(questions(rows), [], 0.25)
    assert not {one.group for one in train} & {one.group for one in held}
    assert hold_out_questions(questions(rows), [], 0.25)[1] == held
    assert len(held) == 200
    assert len(hold_out_questions(questions(rows), [], 10)[1]) == 40
    assert hold_out_questions(questions(rows[:40]), [], 1)[1] == []


@pytest.mark.parametrize("rated", [False, True])
def test_a_file_may_be_held_out(life: Life, tmp_path: Path, rated: bool) -> None:
    """Its pairs or ratings are held out; their prompts are not trained on."""
    rows = pairs(40)
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    ratings = [{"prompt": row["prompt"], "reply": row["chosen"], "rating": 2.0 + n % 2} for n, row in enumerate(rows)]
    write_jsonl(tmp_path / "held.jsonl", (ratings if rated else rows)[:10])
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), held_out=tmp_path / "held.jsonl", **SMALL))
    derived = read_json(life.run("reward-reward") / "plan.json")["derived"]
    assert (derived["prompts"], derived["held_out"]) == (30, 10)


@pytest.mark.parametrize(("count", "message"), [(7, "at least 8 prompts .* got 7"), (40, "contains all prompts")])
def test_a_held_out_file_must_allow_evaluation_and_training(
    life: Life, tmp_path: Path, count: int, message: str
) -> None:
    """Its prompts are never trained on instead."""
    rows = pairs(40)
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    write_jsonl(tmp_path / "held.jsonl", rows[:count])
    options = Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), held_out=tmp_path / "held.jsonl", **SMALL)
    with pytest.raises(UserError, match=message):
        reward(options)
    assert not life.run("reward-reward").exists()


def test_degraded_versions_of_a_reply_lose_against_it() -> None:
    """They are its first half, the reply twice, and an empty one; a reply of one word has no first half."""
    assert spoiled("a b c d") == {"truncated": "a b", "repeated": "a b c d a b c d", "empty": ""}
    assert "truncated" not in spoiled("a")
    rows = [{"prompt": [{"role": "user", "content": "p"}], "chosen": "a b", "rejected": "c d"}]
    (more,) = spoil(questions(rows), 1.0, 0)
    assert more.comparisons[1].better == 0
    assert more.replies[more.comparisons[1].worse] in spoiled("a b").values()
    assert spoil(questions(rows), 0.0, 0) == questions(rows)


def test_the_data_determine_the_loss() -> None:
    """The tie width is 0 without ties; numeric ratings are normalized to mean 0 and standard deviation 1."""
    prompt = [{"role": "user", "content": "p"}]
    assert loss_of(0.5, 0.0, questions([{"prompt": prompt, "chosen": "a", "rejected": "b"}]))[0] == RewardLoss(
        0.0, 0.0, "binary"
    )
    tied = questions([{"prompt": prompt, "chosen": "a", "rejected": "b", "tie": True}])
    assert loss_of(0.5, 0.0, tied)[0].tie_width == 0.5
    rated = questions([{"prompt": prompt, "reply": str(n), "rating": n} for n in (1.0, 3.0)])
    assert loss_of(0.5, 0.0, rated)[1] == {"mean": 2.0, "std": 1.0}
    split = questions([{"prompt": prompt, "reply": "a", "good": good} for good in (True, False)])
    assert loss_of(0.5, 0.0, split)[0].ratings == "binary"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "pairs.jsonl:2: The two replies are the same"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "margin": "much"},
            "must be a number; got 'much'",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": " "}, "pairs.jsonl:2: The reply in .* is empty"),
    ],
)
def test_a_bad_row_is_an_error_with_its_line(row: dict, message: str, tmp_path: Path) -> None:
    """Equal replies, a margin that is not a number, an empty reply."""
    write_jsonl(tmp_path / "pairs.jsonl", [pairs(1)[0], row])
    bad = BadRows()
    assert len(read_pairs(tmp_path / "pairs.jsonl", bad, ties=True)) == 1
    with pytest.raises(UserError, match=message):
        bad.check()


def test_only_reward_models_accept_ties_and_numeric_ratings(tmp_path: Path) -> None:
    """Alignment refuses a tie; a rating must be a finite number."""
    write_jsonl(tmp_path / "pairs.jsonl", [pairs(1)[0] | {"tie": True}])
    assert read_pairs(tmp_path / "pairs.jsonl", BadRows(), ties=True)[0]["tie"]
    bad = BadRows()
    assert read_pairs(tmp_path / "pairs.jsonl", bad) == []
    assert "which only reward models can be trained on" in bad.first[0]
    (tmp_path / "ratings.jsonl").write_text(json.dumps({"prompt": "p", "reply": "a", "rating": "good"}) + "\n")
    assert read_ratings(tmp_path / "ratings.jsonl", bad, numbers=True) == []
    assert "\"rating\" must be a number; got 'good'" in bad.first[1]


def test_missing_data_is_an_error(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the ways to provide data."""
    assert run(["reward", "--life", str(life.root)]) == 2
    assert "sayso gather" in capsys.readouterr().err
