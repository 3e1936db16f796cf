"""The cycle: from ratings to a promoted model as one command, which goes on wherever it was killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.made import work_in
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import Generation, Store
from sayso.model import ModelConfig, Transformer
from sayso.run.cycle import STEPS, _shown_store, advance, cycle, last_state, run_cycle
from sayso.run.cycle_options import Cycle
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.gather import Gather, gather
from sayso.run.promote import Promote, promote
from sayso.run.schedule import due, ratings_of, seconds_of
from sayso.token.train import train
from sayso.weights.folder import save_model
from sayso.weights.tensors import weights_file

TEXTS = [f"The {animal} went to the {place} and found {count} red apples." for count, animal, place in
         [(2, "fox", "hill"), (3, "cat", "mill"), (5, "hen", "barn"), (7, "owl", "wood")]] * 8  # fmt: skip
SMALL: dict[str, Any] = {"n": 1, "text_bytes": 300, "baseline_bytes": 2000, "replay": 0.0, "processes": 1}


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life whose `stable` is an untrained model, with edits and choices of people."""
    life = Life(tmp_path_factory.mktemp("born") / "life")
    texts = [{"text": text, "source": "test"} for text in TEXTS]
    write_jsonl(life.data("text") / "train-00000.jsonl", texts)
    write_jsonl(life.data("text") / "val-00000.jsonl", texts[:4])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    tokenizer = train("bpe", TEXTS, 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 48, context=96)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    save_model(model, tokenizer, life.model("tuned"), {"stage": "tuned", "name": "tuned"})
    store = Store(life.store)
    made = Generation("tuned", sha256(weights_file(life.model("tuned")))[:12], {}, "stop", 5, 3, 0.1)
    for number, text in enumerate(TEXTS[:4]):
        asked = store.say(store.new_conversation().id, f"Who went {number}?")
        first, second = (store.reply(asked.id, one, store.prompt(asked.id), made).id for one in (text, "Apples."))
        store.choose(first, second)
        store.edit(second, f"Nobody went {number}.")
    store.close()
    evaluate(Evaluate("tuned", life=life.root, n=1, text_bytes=300, baseline_bytes=2000))
    promote(Promote("tuned", life=life.root))
    return life


@pytest.fixture
def life(born: Life, tmp_path: Path) -> Life:
    shutil.copytree(born.root, tmp_path / "life")
    return Life(tmp_path / "life")


@pytest.fixture
def lenient(tmp_path: Path) -> Path:
    """A gate that only a model without any answer fails."""
    path = tmp_path / "gate.toml"
    path.write_text("[tasks]\nmargin = 0.99\n[bits_per_byte]\nreal = 99\nsmallworld = 99\n")
    return path


def named(life: Life) -> list[str]:
    """Return the models that the alias has named, in order."""
    store = Store(life.store)
    found = [entry.model for entry in Aliases(store).history("stable")]
    store.close()
    return found


def weights(life: Life, name: str) -> str:
    return sha256(weights_file(life.model(name)))


def test_a_cycle_ends_with_a_promoted_model(life: Life, lenient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And killed between any two of its steps, it goes on and ends with the same weights."""
    other = Life(life.root.with_name("other"))
    shutil.copytree(life.root, other.root)
    state = cycle(Cycle(life=life.root, gate=lenient, **SMALL))
    assert (state["parent"], state["candidate"], state["verdict"]) == ("tuned", "cycle-1", "passed")
    assert (state["conversations"], state["pairs"]) == (4, 8)
    made_of = read_object(life.data("feedback") / "manifest.json")["made_of"]
    assert made_of["pairs on policy"] == 8, "the parent made these replies"
    assert named(life) == ["tuned", "cycle-1"]
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("Cycle 1: 4 conversations and 8 pairs from 8 ratings made 'cycle-1', which passed the gate")
    for step in STEPS:
        assert "ended" not in (last_state(other) or {})
        assert named(other) == ["tuned"]
        assert advance(Cycle(life=other.root, gate=lenient, **SMALL))["done"][-1] == step
    assert named(other) == ["tuned", "cycle-1"]
    assert [weights(one, "cycle-1") for one in (life, other)] == [weights(life, "cycle-1")] * 2
    assert weights(life, "cycle-1") != weights(life, "tuned")


def test_a_promotion_that_was_not_kept_is_not_repeated(life: Life, lenient: Path) -> None:
    """Killed after the alias moved and before the cycle knew."""
    options = Cycle(life=life.root, gate=lenient, **SMALL)
    run_cycle(options)
    path = life.run("cycle-1") / "cycle.json"
    state = read_object(path, "done")
    kept = {key: state[key] for key in state if key not in ("ended", "said", "verdict")}
    write_json(path, {**kept, "done": list(STEPS[:-1])}, sealed=True)
    assert advance(options)["verdict"] == "passed"
    assert named(life) == ["tuned", "cycle-1"]


def test_a_candidate_that_fails_the_gate_is_not_promoted(life: Life, tmp_path: Path) -> None:
    """The next cycle has the same parent and another name."""
    gate = tmp_path / "strict.toml"
    gate.write_text("[preference]\nrequired = true\n[bits_per_byte]\nreal = 99\n")
    options = Cycle(life=life.root, gate=gate, **SMALL)
    state = run_cycle(options)
    assert state["verdict"] == "not enough data"
    assert state["open"] == ["tasks", "preference"]  # one item of each task tells little
    told = "'cycle-1', which is not promoted (not enough data: tasks, preference); 'stable' still names 'tuned'."
    assert told in state["said"]
    assert named(life) == ["tuned"]
    again = advance(options)
    assert (again["cycle"], again["parent"], again["done"]) == (2, "tuned", ["scan"])


def thumbs_alone(life: Life) -> None:
    """Replace what people said by four replies, of which they liked two."""
    store = Store(life.store)
    for talk in store.conversations():
        store.delete(talk.id)
    made = Generation("tuned", "0" * 12, {}, "stop", 5, 3, 0.1)
    for number, text in enumerate(TEXTS[:4]):
        asked = store.say(store.new_conversation().id, f"Who went {number}?")
        store.thumb(store.reply(asked.id, text, store.prompt(asked.id), made).id, 1 if number % 2 else -1)
    store.close()


def test_a_candidate_with_its_parents_weights_is_said_to_be_unchanged(life: Life, lenient: Path) -> None:
    """It is neither evaluated nor brought before the gate, and nothing is said to be promoted."""
    thumbs_alone(life)
    state = run_cycle(Cycle(life=life.root, gate=lenient, rate=1000, **SMALL))  # every evaluation is worse
    assert (state["conversations"], state["pairs"], state["candidate"]) == (2, 0, "cycle-1")
    assert weights(life, "cycle-1") == weights(life, "tuned")
    assert (state["verdict"], state["findings"]) == ("unchanged", [])
    assert "made 'cycle-1' with the weights of 'tuned', which 'stable' still names" in state["said"]
    assert named(life) == ["tuned"]
    assert not life.run("evaluate-cycle-1").exists()


def test_without_feedback_there_is_no_candidate(life: Life) -> None:
    store = Store(life.store)
    for talk in store.conversations():
        store.delete(talk.id)
    store.close()
    state = run_cycle(Cycle(life=life.root, **SMALL))
    assert state["candidate"] is None
    assert "there is nothing to learn from yet, and 'stable' still names 'tuned'" in state["said"]
    assert not life.model("cycle-1").exists()


def test_a_cycle_that_was_killed_before_it_began_takes_no_number(life: Life) -> None:
    """Its folder was made, and what it is to do was not yet written."""
    work_in(life.run("cycle-1"))
    assert advance(Cycle(life=life.root, **SMALL))["cycle"] == 1


def test_an_interrupted_cycle_keeps_its_options(life: Life, lenient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it ends with, the text of its gate too; it says so, and which of the given ones are not used."""
    given: dict[str, Any] = {**SMALL, "epochs": 2.0}
    advance(Cycle(life=life.root, gate=lenient, **given))
    lenient.write_text("[preference]\nrequired = true\n")
    capsys.readouterr()
    state = run_cycle(Cycle(life=life.root, gate=None, **{**SMALL, "epochs": 3.0, "n": 2, "processes": None}))
    assert (state["verdict"], state["options"]["epochs"]) == ("passed", 2.0)
    plan = read_object(life.run("finetune-cycle-1-tuned") / "plan.json")
    assert plan["options"]["epochs"] == 2.0
    told = " ".join(capsys.readouterr().out.split())
    assert f"Cycle 1 goes on with the options that it was begun with: --epochs 2 --replay 0 --gate {lenient}" in told
    assert "Not used: --epochs 3 --n 2; add --restart to begin another cycle with that." in told


def test_another_cycle_is_begun_with_other_options(life: Life) -> None:
    """The unfinished one is left as it is."""
    advance(Cycle(life=life.root, epochs=2.0, **SMALL))
    restarted = advance(Cycle(life=life.root, restart=True, **SMALL))
    assert (restarted["cycle"], restarted["done"], restarted["options"]["epochs"]) == (2, ["scan"], 1.0)


def test_a_cycle_goes_on_with_its_own_store_only(life: Life, tmp_path: Path) -> None:
    shutil.copy(life.store, tmp_path / "other.sqlite")
    advance(Cycle(life=life.root, **SMALL))
    with pytest.raises(UserError, match=r"Cycle 1 was begun with the store of the life, without --store; go on with"):
        advance(Cycle(life=life.root, store=str(tmp_path / "other.sqlite"), **SMALL))
    assert (last_state(life) or {})["done"] == ["scan"]


@pytest.mark.parametrize(
    ("where", "shown"),
    [("there/store.sqlite", "there/store.sqlite"), ("postgresql://ann:secret@host/name", "postgresql://host/name")],
)
def test_a_store_is_kept_without_its_password(where: str, shown: str) -> None:
    assert _shown_store(Cycle(store=where)) == shown


def test_thumbs_alone_are_enough_for_kto(life: Life) -> None:
    """Which DPO cannot learn from: then the fine-tuned model is the candidate."""
    thumbs_alone(life)
    for loss, ran in (("dpo", False), ("kto", True)):
        options = Cycle(life=life.root, loss=loss, restart=True, **SMALL)  # type: ignore[arg-type]
        state = advance(options)
        for _ in STEPS[1:4]:
            state = advance(replace(options, restart=False))
        assert (state["pairs"], state["conversations"], state["done"][-1]) == (0, 2, "align")
        assert life.run(f"align-{state['candidate']}").exists() is ran


def test_each_training_has_its_own_options(life: Life, tmp_path: Path) -> None:
    """And adapters are trained in both; the replies of people's own detectors are flagged first."""
    own = tmp_path / "own.py"
    own.write_text("def apples(reply):\n    return reply.text == 'Apples.'\n")
    chosen = {
        "epochs": 2.0,
        "rate": 0.25,
        "align_epochs": 0.5,
        "align_rate": 0.01,
        "beta": 0.3,
        "tasks": 2,
        "parent_share": 0.25,
    }
    options = Cycle(life=life.root, lora_rank=2, detector=(f"{own}:apples",), **SMALL, **chosen)  # type: ignore[arg-type]
    state = advance(options)
    assert state["flags"] == 4
    for _ in STEPS[1:5]:
        state = advance(options)
    assert (state["done"][-1], state["candidate"]) == ("average", "cycle-1")
    plans = [
        read_object(life.run(name) / "plan.json")["options"]
        for name in ("finetune-cycle-1-tuned", "align-cycle-1-trained")
    ]
    names = ("epochs", "rate", "lora_rank")
    assert [[plan[name] for name in names] for plan in plans] == [[2.0, 0.25, 2], [0.5, 0.01, 2]]
    assert (plans[1]["beta"], plans[1]["tasks"], plans[1]["loss"]) == (0.3, 2, "dpo")
    assert all((life.model(name) / "adapter").is_dir() for name in ("cycle-1-tuned", "cycle-1-trained"))


@pytest.mark.parametrize(("rank", "rate"), [(None, 0.03), (2, 0.5)])
def test_adapters_are_trained_at_a_higher_rate(life: Life, rank: int | None, rate: float) -> None:
    """Unless --rate says otherwise."""
    for _ in STEPS[:3]:
        advance(Cycle(life=life.root, lora_rank=rank, **SMALL))
    assert read_object(life.run("finetune-cycle-1-tuned") / "plan.json")["options"]["rate"] == rate


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--gate", "none.toml"], "A gate must be readable TOML; 'none.toml' is not"),
        (["--detector", "lop"], "Did you mean 'loop'"),
        (["--detector", "judge: Is it rude?"], "A detector that is a question needs --endpoint and --judge"),
        (["--program", "own.py"], "--program must be file.py:function or module:function; got 'own.py'."),
        (["--judge", "big"], "--endpoint and --judge are the server and its model"),
        (["--lora-alpha", "8"], "--lora-alpha requires --lora-rank"),
        (["--data", "there"], "--data requires --suites"),
    ],
)
def test_bad_options_are_refused_before_anything_is_done(
    words: list[str], rule: str, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cycle", *words, "--life", str(life.root)]) == 2
    assert rule in capsys.readouterr().err
    assert last_state(life) is None


@pytest.mark.parametrize("marks", [("Gathered", "pairs come from gathered ratings")])
def test_a_killed_process_goes_on(
    marks: tuple[str, ...], life: Life, lenient: Path, born: Life, tmp_path: Path
) -> None:
    """SIGKILL in the middle of steps; the weights are those of a cycle that nobody killed."""
    words = [sys.executable, "-u", "-m", "sayso", "cycle", "--gate", str(lenient), "--n", "1", "--text-bytes", "300"]
    words += ["--baseline-bytes", "2000", "--replay", "0", "--processes", "1", "--life", str(life.root)]
    for mark in marks:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
            assert process.stdout is not None
            assert any(mark in line for line in process.stdout), f"it printed no '{mark}'"
            os.kill(process.pid, signal.SIGKILL)
    assert named(life) == ["tuned"]
    assert cycle(Cycle(life=life.root, gate=lenient, **SMALL))["verdict"] == "passed"
    whole = Life(tmp_path / "whole")
    shutil.copytree(born.root, whole.root)
    run_cycle(Cycle(life=whole.root, gate=lenient, **SMALL))
    assert weights(life, "cycle-1") == weights(whole, "cycle-1")
    assert named(life) == ["tuned", "cycle-1"]


@pytest.mark.parametrize(
    ("every", "count", "now", "ratings", "expected"),
    [
        (None, 200, 0, 209, False),
        (None, 200, 0, 210, True),
        (60.0, None, 59, 10, False),
        (60.0, None, 60, 10, True),
        (60.0, 5, 60, 14, False),
        (60.0, 5, 59, 99, False),
        (60.0, 5, 60, 15, True),
    ],
)
def test_a_cycle_is_due_when_time_and_ratings_say_so(
    every: float | None, count: int | None, now: float, ratings: int, expected: bool
) -> None:
    state = {"began": "1970-01-01T00:00:00+00:00", "ratings": 10}
    assert due(state, now, ratings, every, count) is expected


def test_the_first_cycle_waits_for_ratings_only() -> None:
    assert due(None, 0, 0, 60.0, None)
    assert not due(None, 0, 199, 60.0, 200)
    assert due(None, 0, 200, None, 200)


def test_a_schedule_runs_as_many_cycles_as_are_due(life: Life) -> None:
    """The ratings are enough for the first one at once; an unfinished one does not wait."""
    options = Cycle(life=life.root, when="8 ratings", cycles=1, **SMALL)
    assert cycle(options)["cycle"] == 1
    advance(Cycle(life=life.root, **SMALL))
    assert cycle(options)["cycle"] == 2


def test_a_schedule_waits_for_a_store_that_is_away(
    life: Life, lenient: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it waits for ratings, and when a cycle has begun; that one goes on."""
    away, looks = life.store.with_name("away.sqlite"), list[float]()

    def leave() -> None:
        life.store.rename(away)
        life.store.mkdir()  # cannot be opened

    def come_back(seconds: float) -> None:
        looks.append(seconds)
        if away.exists():
            life.store.rmdir()
            away.rename(life.store)
        elif len(looks) == 1:
            leave()
        else:
            store = Store(life.store)
            store.thumb(2, 1)
            store.close()

    def gather_and_leave(options: Gather) -> dict[str, Any]:
        made = gather(options)
        leave()
        return made

    monkeypatch.setattr("sayso.run.cycle.gather", gather_and_leave)
    monkeypatch.setattr("sayso.run.cycle.time", SimpleNamespace(sleep=come_back, time=time.time))
    state = cycle(Cycle(life=life.root, when="9 ratings", cycles=1, gate=lenient, **SMALL))
    assert (state["cycle"], state["verdict"], len(looks)) == (1, "passed", 4)
    told = capsys.readouterr().out
    assert told.count("Waiting for the next cycle.") == 2
    assert told.count("The cycle waits until it is back.") == 2


@pytest.mark.parametrize(("text", "expected"), [("90m", 5400), ("12h", 43_200), ("1d", 86_400), ("1.5 days", 129_600)])
def test_times_are_read(text: str, expected: float) -> None:
    assert seconds_of(text) == expected
    assert ratings_of("200 ratings") == 200
    assert ratings_of("1 rating") == 1


@pytest.mark.parametrize(
    ("parse", "text", "rule"),
    [
        (seconds_of, "1", "--every must be a time such as 90m, 12h, 1d or 1w; got '1'."),
        (seconds_of, "0d", "--every must be a time"),
        (seconds_of, "daily", "--every must be a time"),
        (ratings_of, "200", "--when must be a number of ratings such as '200 ratings'; got '200'."),
        (ratings_of, "0 ratings", "--when must be a number"),
    ],
)
def test_a_bad_schedule_is_refused(parse: Callable[[str], object], text: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        parse(text)


def test_without_an_alias_there_is_nothing_to_improve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cycle", "--life", str(tmp_path / "none")]) == 2
    assert "'stable' names no model yet, so there is nothing to improve" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_parent_that_is_gone_is_named(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(life.model("tuned"))
    assert run(["cycle", "--life", str(life.root)]) == 2
    assert (
        "'stable' names 'tuned', whose folder is gone or has other weights now; restore it." in capsys.readouterr().err
    )
    assert last_state(life) is None
