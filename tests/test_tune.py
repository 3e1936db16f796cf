"""The run shared by the tuning acts: what is called when, and what a resumed or finished run does not repeat."""

from pathlib import Path
from typing import Any

import pytest
import torch
from typing_extensions import override

from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256
from sayso.base.life import Life
from sayso.base.log import RunLog, read_log
from sayso.batch.batch import Batch
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.token.whole import WholeTokenizer
from sayso.train.adapting import Adapting, tuning_state
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived, Session, open_session
from sayso.train.tune import Start, Tuning, tune
from sayso.weights.folder import load_model, save_model

TOKENIZER = WholeTokenizer("character", [])
CONFIG = ModelConfig(TOKENIZER.vocab_size, 1, 32, 2, 2, 16, 64, context=32)
STEPS = 4


class Counting:
    """Batches of rows that count up; the batch `fail_at` raises an error."""

    fail_at = -1

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        if step == self.fail_at:
            raise RuntimeError("killed")
        ids = (step + torch.arange(17)).repeat(2, 1) % TOKENIZER.vocab_size
        return Batch(ids[:, :-1], ids[:, 1:].clone(), torch.zeros(2, 16, dtype=torch.int32))


class Method(Tuning):
    """A method of tuning that records its calls."""

    stage = "aligned"
    rows, row_tokens = 2, 16

    def __init__(self, start: Start, calls: list[str], batches: Counting) -> None:
        super().__init__(start)
        self.calls, self.batches = calls, batches
        calls.append("init")

    @override
    def derive(self, layout: Layout) -> Derived:
        self.calls.append("derive")
        return {"steps": STEPS}

    @override
    def keep(self) -> None:
        assert not (self.start.session.folder / "plan.json").exists()
        (self.start.session.folder / "kept").touch()
        self.calls.append("keep")

    @override
    def state(self) -> State:
        self.calls.append("state")
        return tuning_state(self.start.model, self.start.lora, 1.0, 0)

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        self.calls.append("recipe")
        return Recipe(self.batches, batch_loss, tuning_schedule(derived["steps"]))

    @override
    def finish(self, state: State, log: RunLog) -> dict[str, Any]:
        self.calls.append(f"finish at {state.step}")
        return {"accuracy": 0.5}


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with a parent model."""
    life = Life(tmp_path / "life")
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    save_model(model, TOKENIZER, life.model("parent"), {"stage": "base"})
    return life


def tuned(life: Life, calls: list[str], fail_at: int = -1, **options: Any) -> tuple[bool, Session]:
    """Tune the parent; return whether it was trained, and the session."""
    chosen = Adapting(life=life.root, processes=1, device="cpu", save_seconds=0.0, **options)
    weights = life.model("parent") / "model.safetensors"
    session = open_session(life, "finetune", "child", chosen, {"parent": weights})
    batches = Counting()
    batches.fail_at = fail_at
    return tune(chosen, session, life.model("parent"), lambda start: Method(start, calls, batches)), session


def test_a_new_run_calls_each_method_once_and_saves_the_model(life: Life) -> None:
    """The plan has the layout; the model's lineage has the stage, the parent and the metrics of `finish`."""
    calls: list[str] = []
    new, session = tuned(life, calls)
    assert new
    assert calls == ["init", "derive", "keep", "state", "recipe", f"finish at {STEPS}"]
    plan = read_json(session.folder / "plan.json")["derived"]
    assert (plan["steps"], plan["layout"]["processes"], plan["lora"]) == (STEPS, 1, None)
    lineage = read_json(life.model("child") / "sayso.json")
    assert lineage["stage"] == "aligned"
    assert lineage["parent"].startswith("parent ")
    assert lineage["metrics"] == {"steps": STEPS, "tokens": STEPS * 32, "accuracy": 0.5}
    model, _ = load_model(life.model("child"))
    parent, _ = load_model(life.model("parent"))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), parent.parameters(), strict=True))


def test_a_finished_run_loads_nothing(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command says so and leaves model and log as they are, even if the parent cannot be loaded."""
    _, session = tuned(life, [])
    before, events = sha256(life.model("child") / "model.safetensors"), read_log(session.folder / "run.jsonl")
    (life.model("parent") / "config.json").unlink()
    calls: list[str] = []
    new, _ = tuned(life, calls)
    assert (new, calls) == (False, [])
    assert "already been trained" in capsys.readouterr().out
    assert sha256(life.model("child") / "model.safetensors") == before
    assert read_log(session.folder / "run.jsonl") == events


def test_a_finished_run_is_repeated_on_restart_or_with_other_options(life: Life) -> None:
    """The earlier run is set aside, with the files that belong to its plan."""
    _, session = tuned(life, [])
    for number, options in enumerate(({"restart": True}, {"seed": 1}), 1):
        calls: list[str] = []
        assert tuned(life, calls, **options)[0]
        assert calls[:3] == ["init", "derive", "keep"]
        assert (session.folder.with_name(f"{session.folder.name}.{number}") / "kept").exists()


def test_a_damaged_model_is_an_error_unless_the_run_is_restarted(life: Life) -> None:
    """The error says so; `restart` replaces the model."""
    tuned(life, [])
    weights = life.model("child") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        tuned(life, [])
    assert tuned(life, [], restart=True)[0]
    load_model(life.model("child"))


def test_a_resumed_run_derives_and_keeps_nothing_again(life: Life, tmp_path: Path) -> None:
    """It uses the stored plan and ends with the weights of an uninterrupted run."""
    other = Life(tmp_path / "other")
    save_model(*load_model(life.model("parent"), plain=True), other.model("parent"), {"stage": "base"})
    tuned(other, [])
    with pytest.raises(RuntimeError, match="killed"):
        tuned(life, [], fail_at=2)
    calls: list[str] = []
    new, _ = tuned(life, calls)
    assert new
    assert calls == ["init", "state", "recipe", f"finish at {STEPS}"]
    found, expected = (load_model(one.model("child"))[0].state_dict() for one in (life, other))
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())


def test_adapters_are_merged_and_saved_too(life: Life) -> None:
    """The plan has the adapter's configuration; the saved model is a plain one."""
    _, session = tuned(life, [], lora_rank=2)
    assert read_json(session.folder / "plan.json")["derived"]["lora"]["rank"] == 2
    assert (life.model("child") / "adapter").is_dir()
    assert load_model(life.model("child"))[0].state_dict().keys() == Transformer(CONFIG).state_dict().keys()
