"""Aliases: promoted through the gate or against it, rolled back, and looked up at any time; on a laptop's store."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.files import sha256, write_json
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.run.promote import ListAliases, Promote, Rollback, entry_named, folder_of, list_aliases, promote, rollback
from sayso.token.train import train
from sayso.weights.folder import save_model
from sayso.weights.tensors import weights_file

TOKENIZER = train("bpe", ["the cat sat on the mat. " * 9], 300)
GOOD, EQUAL, BAD = [1.0] * 400, [1.0, 0.0] * 200, [0.0] * 400


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with three evaluated models, and one that is not evaluated."""
    life = Life(tmp_path / "life")
    for seed, (name, right) in enumerate({"first": EQUAL, "better": GOOD, "worse": BAD}.items()):
        add(life, name, seed)
        evaluated(life, name, right)
    add(life, "new", 9)
    return life


def add(life: Life, name: str, seed: int, vocabulary: int = TOKENIZER.vocab_size) -> None:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(vocabulary, 1, 32, 2, 1, 16, 32, context=32))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    save_model(model, TOKENIZER, life.model(name), {"stage": "base", "name": name})


def evaluated(life: Life, name: str, right: Sequence[float], bits: float = 1.5) -> None:
    """Write what `evaluate` would have found."""
    key = {"weights": sha256(weights_file(life.model(name))), "baselines": "b", "asked": {"n": len(right), "seed": 0}}
    scores = {"key": key, "families": {"where": {"values": list(right)}}, "bpb": {"real": {"mean": bits}}}
    write_json(life.run(f"evaluate-{name}") / "scores.json", scores, sealed=True)


def to_stable(life: Life, name: str, *words: str) -> int:
    return run(["promote", name, "--life", str(life.root), *words])


def named(life: Life, when: str | None = None) -> str | None:
    store = Store(life.store)
    found = Aliases(store).current("stable", when)
    store.close()
    return found.model if found else None


def test_a_better_model_is_promoted_and_one_command_goes_back(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_stable(life, "first") == 0
    assert "names no model yet, so there is nothing to compare with" in capsys.readouterr().out
    assert to_stable(life, "better") == 0
    assert named(life) == "better"
    assert run(["rollback", "--life", str(life.root)]) == 0
    assert named(life) == "first"
    capsys.readouterr()
    assert run(["aliases", "--life", str(life.root)]) == 0
    shown = capsys.readouterr().out
    assert [shown.count(word) for word in ("promoted", "rolled back")] == [2, 1]
    assert run(["rollback", "--life", str(life.root)]) == 2
    assert "'stable' has named no model before 'first', so there is nothing to roll back to." in capsys.readouterr().err


def test_a_worse_model_is_refused_unless_a_person_says_why(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason and what the gate found are in the history; a passing gate needs no reason and keeps none."""
    assert to_stable(life, "first") == 0
    capsys.readouterr()
    assert to_stable(life, "worse") == 2
    assert "'worse' was not promoted: failed (tasks)." in capsys.readouterr().err
    assert named(life) == "first"
    made = promote(Promote("worse", life=life.root, reason="a demonstration"))
    assert (made["kind"], made["reason"], made["evidence"]["verdict"]) == ("overridden", "a demonstration", "failed")
    assert named(life) == "worse"
    made = promote(Promote("better", life=life.root, reason="not needed"))
    assert (made["kind"], made["reason"], made["evidence"]["verdict"]) == ("promoted", None, "passed")
    findings = {one["requirement"]: one["state"] for one in made["evidence"]["findings"]}
    assert findings == {"tasks": "passed", "bits per byte, real": "passed"}


def test_a_gate_of_ones_own_is_used(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = tmp_path / "gate.toml"
    gate.write_text("[preference]\nrequired = true\n")
    assert to_stable(life, "first") == 0
    assert to_stable(life, "better", "--gate", str(gate)) == 2
    assert "'better' was not promoted: not enough data (preference)." in capsys.readouterr().err
    names = [life.model(name) for name in ("first", "better")]
    players = [f"{folder.name} {sha256(weights_file(folder))[:8]}" for folder in names]
    rate = {"mean": 0.7, "se": 0.05, "n": 90, "low": 0.6, "high": 0.8}
    path = life.run("judge-first-better") / "scores.json"
    write_json(path, {"players": [players[0], "better 00000000"], "length_controlled": rate}, sealed=True)
    assert to_stable(life, "better", "--gate", str(gate)) == 2, "a judge compared other weights"
    write_json(path, {"players": players, "length_controlled": rate}, sealed=True)
    assert to_stable(life, "better", "--gate", str(gate)) == 0


def test_roll_backs_undo_one_promotion_each(life: Life) -> None:
    """A promotion after a roll-back stands on the model that was rolled back to."""
    for name in ("first", "better"):
        promote(Promote(name, life=life.root))
    rollback(Rollback(life=life.root, reason="too slow"))
    promote(Promote("worse", life=life.root, reason="again"))
    assert [rollback(Rollback(life=life.root))["model"] for _ in range(1)] == ["first"]
    kinds = [(entry["model"], entry["kind"], entry["reason"]) for entry in list_aliases(ListAliases(life=life.root))]
    assert kinds == [
        ("first", "promoted", None),
        ("better", "promoted", None),
        ("first", "rolled back", "too slow"),
        ("worse", "overridden", "again"),
        ("first", "rolled back", None),
    ]


def test_the_model_of_any_time_can_be_asked_for(life: Life) -> None:
    made = [promote(Promote(name, life=life.root))["created_at"] for name in ("first", "better")]
    assert named(life, "2000-01-01") is None
    assert named(life, made[0]) == "first"
    assert named(life, made[1]) == "better"
    assert [one["model"] for one in list_aliases(ListAliases(life=life.root, at=made[0]))] == ["first"]
    assert list_aliases(ListAliases(life=life.root, at="2000-01-01")) == []
    for later in ("2999-01-01", "2999-01-01T12:00", "2999-01-01T12:00+02:00"):
        assert [one["model"] for one in list_aliases(ListAliases(life=life.root, at=later))] == ["better"]
    ahead = datetime.fromisoformat(made[0]).astimezone(timezone(timedelta(hours=9))).isoformat()
    assert [one["model"] for one in list_aliases(ListAliases(life=life.root, at=ahead))] == ["first"]


def test_an_alias_leads_to_the_folder_of_its_model(life: Life, tmp_path: Path) -> None:
    """Other names stay what they are, so that an unknown one is refused as ever."""
    assert entry_named(life, "stable", None) is None, "there is no store yet"
    made = promote(Promote("better", life=life.root))
    for where in (None, str(life.store)):
        entry = entry_named(life, "stable", where)
        assert entry is not None
        assert asdict(entry) == made
        assert folder_of(life, entry) == life.model("better")
    assert [entry_named(life, name, None) for name in ("first", "aligned", "other")] == [None] * 3
    add(life, "better", 77)
    with pytest.raises(UserError, match="'stable' names 'better', which has other weights now; promote it again"):
        folder_of(life, entry)
    life.model("better").rename(tmp_path / "away")
    with pytest.raises(UserError, match="'stable' names 'better', whose folder is gone; restore it, or roll back"):
        folder_of(life, entry)


def test_promoting_again_changes_nothing(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert to_stable(life, "first") == 0
    assert "already names 'first'" in capsys.readouterr().out
    assert len(list_aliases(ListAliases(life=life.root))) == 1


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["promote", "bettr"], "Did you mean 'better'"),
        (["promote", "new"], "'new' has not been evaluated; run: sayso evaluate new"),
        (["promote", "better", "--to", "first"], "'first' is a model of the life, so it cannot be an alias"),
        (["promote", "better", "--to", "a b"], "An alias is a name such as stable or candidate; got 'a b'."),
        (["promote", "better", "--reason", " "], "--reason must say why the gate is overridden"),
        (
            ["aliases", "--at", "yesterday"],
            "--at must be a time such as 2026-05-31 or 2026-05-31T12:00; got 'yesterday'",
        ),
        (["rollback", "prod"], "There is no alias 'prod' to roll back"),
        (["promote", "better", "--gate", "none.toml"], "A gate must be readable TOML; 'none.toml' is not"),
        (["promote", "better", "--judge", "big"], "--endpoint and --judge are the server and its model"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    words: list[str], rule: str, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--life", str(life.root)]) == 2
    assert rule in capsys.readouterr().err
    assert named(life) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[prefrence]\nrequired = true\n", "got 'prefrence' in '{path}'. Did you mean 'preference'?"),
        (
            "[tasks]\nmargn = 0.1\n",
            "has the requirements alpha, margin; got 'margn' in '{path}'. Did you mean 'margin'?",
        ),
    ],
)
def test_an_unknown_requirement_suggests_the_nearest(
    text: str, rule: str, life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    assert to_stable(life, "better", "--gate", str(path)) == 2
    assert rule.format(path=path) in " ".join(capsys.readouterr().err.split())
    assert named(life) is None


def test_a_store_of_a_newer_version_is_not_touched(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """By any command about aliases."""
    assert to_stable(life, "first") == 0
    store = Store(life.store)
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("INSERT INTO migrations VALUES ('of tomorrow', '2099-01-01')")
    store.close()
    capsys.readouterr()
    for words in (["promote", "better"], ["rollback"], ["aliases"], ["cycle"]):
        assert run([*words, "--life", str(life.root)]) == 2
        assert capsys.readouterr().err == (
            "sayso: This store was written by a newer version of sayso (it has 'of tomorrow'); upgrade sayso to open "
            "it.\n"
        )


def test_an_evaluation_of_other_weights_does_not_count(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    scores = life.run("evaluate-better") / "scores.json"
    add(life, "retrained", 20)
    life.run("evaluate-retrained").mkdir()
    shutil.copy(scores, life.run("evaluate-retrained"))
    assert to_stable(life, "retrained") == 2
    assert "'retrained' has not been evaluated" in capsys.readouterr().err


def test_a_model_that_is_gone_or_has_another_tokenizer_cannot_be_compared_with(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_stable(life, "first") == 0
    other = train("bpe", ["a dog ran home. " * 9], 300)
    torch.manual_seed(3)
    save_model(
        Transformer(ModelConfig(300, 1, 32, 2, 1, 16, 32, context=32)).initialize(), other, life.model("dog"), {}
    )
    evaluated(life, "dog", GOOD)
    assert to_stable(life, "dog") == 2
    assert "'dog' has another tokenizer than 'first'" in capsys.readouterr().err
    life.model("first").rename(tmp_path / "away")
    assert to_stable(life, "better") == 2
    assert "'stable' names 'first', whose folder is gone or has other weights now" in capsys.readouterr().err
