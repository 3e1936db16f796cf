"""The act that trains a reward model: what it learns from, what it tells, and that it goes on to the same weights."""

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
    """Sentences of some words each."""
    drawn = Random(seed)
    return [[" ".join(drawn.choices(WORDS, k=5)) for _ in range(3)] for _ in range(count)]


def pairs(count: int) -> list[dict]:
    """The reply that ends with fox is better, of equal length."""
    return [{"prompt": a, "chosen": f"{b} fox", "rejected": f"{c} dog"} for a, b, c in texts(count)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", [" ".join(WORDS) * 20 + " fox dog"], 300)


@pytest.fixture
def life(tokenizer: Tokenizer, tmp_path: Path) -> Life:
    """A life with a model of random weights that was tuned, as it says."""
    found = Life(tmp_path / "life")
    model = Transformer(CONFIG).initialise(torch.Generator().manual_seed(0))
    save_model(model, tokenizer, found.model("tuned"), {"stage": "tuned"})
    return found


def test_it_learns_which_replies_are_better(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held-out comparisons come out right where length tells nothing; its account is written, drawn and said."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(160))
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), epochs=3, held_out=0.2, **SMALL))
    told, log = capsys.readouterr().out, read_log(life.run("reward-reward") / "run.jsonl")
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["accuracy"]["mean"] > 0.9 > 0.75 > found["length_accuracy"]["mean"]
    assert found["above_length"]["low"] > 0
    assert {"truncated", "repeated", "empty"} == found["spoiled"].keys()
    assert (life.run("reward-reward") / "reliability.svg").read_text().startswith("<svg")
    assert "Accuracy of length alone" in told
    steps = [line for line in log if line["event"] == "step"]
    assert steps[-1]["accuracy"] > steps[0]["accuracy"]
    assert all(0 < line["mfu"] < 1 for line in steps)
    assert {"chosen", "rejected", "margin", "score"} <= steps[0].keys()
    judged = [line["held_out_loss"] for line in log if line["event"] == "val"]
    assert len(judged) >= 6
    scores = open_scorer([life.model("reward")])([("the fox", f"a dog {end}", {}) for end in ("fox", "dog")])
    assert scores[0] > scores[1]
    assert read_json(life.model("reward") / "sayso.json")["metrics"]["accuracy"] == found["accuracy"]["mean"]


def test_a_model_that_knows_only_length_is_told_of(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the better reply is always the longer one, a warning says what a policy would learn."""
    rows = [{"prompt": a, "chosen": f"{b} {c}", "rejected": b} for a, b, c in texts(80)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), epochs=2, held_out=0.3, **SMALL))
    assert "not significantly better than length alone" in capsys.readouterr().out
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["length_accuracy"]["mean"] == 1.0


@pytest.mark.parametrize("kind", ["good", "rating"])
def test_ratings_teach_as_well(kind: str, life: Life, tmp_path: Path) -> None:
    """Good and bad, or numbers of any scale, of single replies; judged by every two that were rated apart."""
    given = {"good": (True, False), "rating": (5, 2.5)}[kind]
    rows = [{"prompt": a, "reply": f"{b} {'fox' if n % 2 else 'dog'}", kind: given[1 - n % 2]}
            for n, (a, b, _) in enumerate(texts(160))]  # fmt: skip
    write_jsonl(tmp_path / "ratings.jsonl", rows)
    reward(Reward(life=life.root, ratings=(tmp_path / "ratings.jsonl",), epochs=4, held_out=0.2, **SMALL))
    found = read_json(life.run("reward-reward") / "reward.json")
    assert found["accuracy"]["mean"] > 0.9
    assert bool(found["bins"]) == (kind == "good")


def test_an_interrupted_run_ends_with_the_same_weights(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle, an adapter's run goes on by the same command to the weights of one that was not."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(40))
    options = {"life": life.root, "pairs": (tmp_path / "pairs.jsonl",), "lora_rank": 2, **SMALL}
    reward(Reward(name="straight", **options))
    from sayso.align.pairs import reward_model as act

    whole, calls = act.reward_loss, [0]

    def stop(*given: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return whole(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(act, "reward_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            reward(Reward(name="stopped", save_seconds=0.0, **options))
    reward(Reward(name="stopped", save_seconds=0.0, **options))
    one, other = (load_weights(life.model(name)).state_dict() for name in ("straight", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_members_differ_and_reference_replies_score_0_and_1(life: Life, tmp_path: Path) -> None:
    """An ensemble is a model a seed; each is turned so that what the reference says has mean 0 and deviation 1."""
    write_jsonl(tmp_path / "pairs.jsonl", pairs(100))
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), members=2, **{**SMALL, "samples": 12}))
    one, other = (read_json(life.model(name) / "sayso.json") for name in ("reward", "reward-2"))
    assert (one["seed"], other["seed"]) == (0, 1)
    assert one["metrics"]["reference_std"] > 0
    scores = open_scorer([life.model("reward"), life.model("reward-2")])([("the fox", "a dog", {})])
    assert len(scores) == 1


def test_rows_of_one_prompt_are_one_question() -> None:
    """Its replies are read once; several ratings of one are their mean; ties and margins stay."""
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
    """Prompts of one group are held out together, the same ones each time, about as many as asked."""
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
    """Its pairs or ratings evaluate the model; their prompts are not trained on."""
    rows = pairs(40)
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    ratings = [{"prompt": row["prompt"], "reply": row["chosen"], "rating": 2.0 + n % 2} for n, row in enumerate(rows)]
    write_jsonl(tmp_path / "held.jsonl", (ratings if rated else rows)[:10])
    reward(Reward(life=life.root, pairs=(tmp_path / "pairs.jsonl",), held_out=tmp_path / "held.jsonl", **SMALL))
    derived = read_json(life.run("reward-reward") / "plan.json")["derived"]
    assert (derived["prompts"], derived["held_out"]) == (30, 10)


def test_a_spoiled_reply_loses_against_itself() -> None:
    """Its first half, itself twice, or nothing; a reply of one word has no half."""
    assert spoiled("a b c d") == {"truncated": "a b", "repeated": "a b c d a b c d", "empty": ""}
    assert "truncated" not in spoiled("a")
    rows = [{"prompt": [{"role": "user", "content": "p"}], "chosen": "a b", "rejected": "c d"}]
    (more,) = spoil(questions(rows), 1.0, 0)
    assert more.comparisons[1].better == 0
    assert more.replies[more.comparisons[1].worse] in spoiled("a b").values()
    assert spoil(questions(rows), 0.0, 0) == questions(rows)


def test_what_was_said_settles_the_loss() -> None:
    """Ties have a width only where there are any; ratings that are not good or bad are turned to mean 0, std 1."""
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
    ("row", "said"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "pairs.jsonl:2: The two replies are the same"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "margin": "much"},
            "must be a number; got 'much'",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": " "}, "pairs.jsonl:2: The reply in .* is empty"),
    ],
)
def test_a_bad_row_is_named(row: dict, said: str, tmp_path: Path) -> None:
    """One sentence with the row's number."""
    write_jsonl(tmp_path / "pairs.jsonl", [pairs(1)[0], row])
    bad = BadRows()
    assert len(read_pairs(tmp_path / "pairs.jsonl", bad, ties=True)) == 1
    with pytest.raises(UserError, match=said):
        bad.check()


def test_ties_and_numbers_are_for_reward_models_alone(tmp_path: Path) -> None:
    """Where a preference is wanted, a tie is refused; a rating is a finite number."""
    write_jsonl(tmp_path / "pairs.jsonl", [pairs(1)[0] | {"tie": True}])
    assert read_pairs(tmp_path / "pairs.jsonl", BadRows(), ties=True)[0]["tie"]
    bad = BadRows()
    assert read_pairs(tmp_path / "pairs.jsonl", bad) == []
    assert "which only reward models can be trained on" in bad.first[0]
    (tmp_path / "ratings.jsonl").write_text(json.dumps({"prompt": "p", "reply": "a", "rating": "good"}) + "\n")
    assert read_ratings(tmp_path / "ratings.jsonl", bad, numbers=True) == []
    assert "\"rating\" must be a number; got 'good'" in bad.first[1]


def test_nothing_to_learn_from_is_a_sentence(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the two ways to bring judgements."""
    assert run(["reward", "--life", str(life.root)]) == 2
    assert "sayso gather" in capsys.readouterr().err
