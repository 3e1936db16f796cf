"""The act of pre-training, as a user runs it: what its recipes leave behind."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.train.loop import State
from sayso.train.session import Session
from sayso.train.snapshots import snapshot_steps, snapshots_of
from sayso.train.sparsity import Sparsity
from sayso.weights.folder import load_model

TEXTS = [
    "The fox went to the hill and found two red apples. " * 3,
    "The owl sat in the wood and saw the moon. " * 4,
] * 6
FLAGS = ["--depth", "1", "--steps", "8", "--rows", "2", "--context", "32", "--device", "cpu"]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with text and a tokenizer."""
    life = Life(tmp_path / "life")
    rows = [{"text": text, "source": "test"} for text in TEXTS]
    write_jsonl(life.data("text") / "train-00000.jsonl", rows)
    write_jsonl(life.data("text") / "val-00000.jsonl", rows[:2])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    train("bpe", TEXTS, 300).save(life.tokenizer)
    return life


def test_the_rows_of_the_ngrams_can_be_chosen(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Only with the recipe that has them."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--ngram-rows", "77"]
    assert run(flags) == 2
    assert "--ngram-rows requires --recipe fastest" in capsys.readouterr().err
    assert run([*flags, "--recipe", "fastest"]) == 0
    assert read_json(life.model("base") / "config.json")["ngram_rows"] == 77


@pytest.mark.parametrize(
    ("recipe", "family", "orders"), [("standard", "qwen3", None), ("fastest", "sayso", [2, 3, 4, 5])]
)
def test_a_recipe_leaves_a_model_of_its_family(
    recipe: str, family: str, orders: list[int] | None, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    """It learns, opens again, speaks, and is compared with transformers where that knows the family."""
    assert run(["pretrain", "--life", str(life.root), "--recipe", recipe, *FLAGS]) == 0
    config = read_json(life.model("base") / "config.json")
    assert (config["model_type"], config.get("ngrams")) == (family, orders)
    losses = [line["loss"] for line in read_log(life.run("pretrain-base") / "run.jsonl") if line["event"] == "step"]
    assert losses[-1] < losses[0]
    capsys.readouterr()
    assert (
        run(["generate", "The fox", "--life", str(life.root), "--model", "base", "--max-tokens", "5", "--seed", "1"])
        == 0
    )
    assert capsys.readouterr().out.strip()
    assert run(["verify", "--life", str(life.root), "--model", "base", "--no-resume"]) == 0
    told = capsys.readouterr()
    assert ("nothing to compare" in told.out + told.err) == (family == "sayso")


def test_weights_are_kept_from_the_course_of_training(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the checkpoints of the same steps, untrained ones first; each folder opens as a model."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--save-seconds", "0", "--keep", "9"]
    assert run([*flags, "--snapshots", "3"]) == 0
    folder = life.run("pretrain-base")
    assert "Keeping the weights of steps 0, 2, 4 in" in capsys.readouterr().out
    kept = snapshots_of(life, life.model("base"))
    assert kept == {step: folder / "snapshots" / f"step-{step:06d}" for step in (0, 2, 4)}
    for step in (2, 4):
        model, _ = load_model(kept[step])
        state = load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")
        for name, weight in model.named_parameters():
            assert torch.equal(weight, state[name])
    first, _ = load_model(kept[0])
    initial = Transformer(first.config).initialize(torch.Generator().manual_seed(0))
    for weight, expected in zip(first.parameters(), initial.parameters(), strict=True):
        assert torch.equal(weight, expected)
    assert run([*flags, "--seed", "1", "--restart"]) == 0
    assert snapshots_of(life, life.model("base")) == {}


def test_only_steps_that_are_still_ahead_are_announced(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """When a run is resumed, such as one that was killed after its third step."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--save-seconds", "0", "--keep", "9", "--snapshots", "3"]
    assert run(flags) == 0
    assert "Keeping the weights of steps 0, 2, 4 in" in capsys.readouterr().out
    folder = life.run("pretrain-base")
    later = [folder / "checkpoints" / f"step-{step:06d}" for step in range(4, 9)]
    for gone in (*later, folder / "snapshots" / "step-000004", life.model("base")):
        shutil.rmtree(gone)
    assert run(flags) == 0
    assert "Keeping the weights of steps 4 in" in capsys.readouterr().out
    assert [*snapshots_of(life, life.model("base"))] == [0, 2, 4]


def test_a_disk_too_full_for_a_snapshot_is_said(
    life: Life, capsys: pytest.CaptureFixture[str], small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """With what to do; the run then goes on."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--snapshots", "3"]
    with small_disk(30_000):
        assert run(flags) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "The disk is full: the weights of step 0 could not be kept" in said
    assert "use --snapshots 0 to keep no more, and repeat the command to resume." in said
    assert "Traceback" not in said
    assert run([*flags[:-1], "0"]) == 0


def test_a_run_from_before_there_was_an_option_is_recognized(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """While the option has its default; unfinished ones go on as well."""
    flags = ["pretrain", "--life", str(life.root), *FLAGS, "--save-seconds", "0"]
    assert run(flags) == 0
    folder, model = life.run("pretrain-base"), life.model("base")
    plan, lineage = read_json(folder / "plan.json"), read_json(model / "sayso.json")
    del plan["options"]["weight_sparse"]
    earlier = Session(life, "pretrain", "base", plan["options"], plan["inputs"])
    assert earlier.mark != lineage["run"]
    write_json(folder / "plan.json", plan, sealed=True)
    write_json(model / "sayso.json", {**lineage, "run": earlier.mark}, sealed=True)
    capsys.readouterr()
    assert run(flags) == 0
    assert "has already been pre-trained with these options" in capsys.readouterr().out
    shutil.rmtree(model)
    assert run(flags) == 0
    assert "Resuming from step 8 of 8" in capsys.readouterr().out
    assert read_json(model / "sayso.json")["run"] == earlier.mark
    assert run([*flags, "--weight-sparse", "0.5"]) == 0
    assert "The earlier run is kept as" in capsys.readouterr().out


def test_a_weight_sparse_model_has_few_weights(life: Life) -> None:
    """In each matrix the given share, and the run still learns."""
    assert run(["pretrain", "--life", str(life.root), *FLAGS, "--weight-sparse", "0.1"]) == 0
    model, _ = load_model(life.model("base"))
    shares = [(weight != 0).sum().item() / weight.numel() for weight in model.parameters() if weight.dim() == 2]
    assert shares == pytest.approx([0.1] * len(shares), abs=1e-3)
    losses = [line["loss"] for line in read_log(life.run("pretrain-base") / "run.jsonl") if line["event"] == "step"]
    assert losses[-1] < losses[0]


def test_the_largest_weights_of_each_matrix_stay() -> None:
    """As many as the step asks for: fewer and fewer until half of the steps are done."""
    model = Transformer(
        ModelConfig(vocab_size=300, layers=1, width=32, heads=1, kv_heads=1, head_size=32, mlp_width=64)
    )
    state, sparsity = State(model.initialize(torch.Generator().manual_seed(0)), []), Sparsity(0.2, 100)
    assert [sparsity.share(step) for step in (0, 25, 50, 100)] == pytest.approx([1, 0.6, 0.2, 0.2])
    norms = [weight.clone() for weight in model.parameters() if weight.dim() == 1]
    before = {name: weight.clone() for name, weight in model.named_parameters() if weight.dim() == 2}
    state.step = 25
    sparsity.enforce(state)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            smallest = before[name].abs().flatten().sort(descending=True).values[round(0.6 * weight.numel()) - 1]
            assert torch.equal(weight, before[name] * (before[name].abs() >= smallest))
    for norm, weight in zip(norms, (w for w in model.parameters() if w.dim() == 1), strict=True):
        assert torch.equal(norm, weight)


def test_half_of_the_steps_are_kept_and_half_of_those() -> None:
    assert snapshot_steps(1000, 5) == [0, 62, 125, 250, 500]
    assert snapshot_steps(3, 30) == [0, 1]
    assert snapshot_steps(1000, 1) == [0]
    assert snapshot_steps(1000, 0) == []


def test_the_first_window_limits_the_first_layer_only(life: Life) -> None:
    """The model is still one that transformers opens, with equal logits."""
    flags = ["--depth", "3", "--first-window", "4", *FLAGS[2:]]
    assert run(["pretrain", "--life", str(life.root), *flags]) == 0
    config = read_json(life.model("base") / "config.json")
    assert (config["model_type"], config["sliding_window"]) == ("qwen3", 4)
    assert config["layer_types"] == ["sliding_attention", "full_attention", "full_attention"]
    assert run(["verify", "--life", str(life.root), "--model", "base", "--no-resume"]) == 0
