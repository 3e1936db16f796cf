"""Training time: each kept model predicts as it does by itself."""

from pathlib import Path

import pytest
import torch

from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.train.snapshots import FOLDER, snapshots_of
from sayso.weights.folder import load_weights, save_model
from sayso.xray import View
from sayso.xray.background import Background, background_of
from sayso.xray.saved import panels_of

TEXT = "the cat sat on the mat and the dog said hello to the cat. "


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train("bpe", [TEXT * 20], 300)


def random_model(tokenizer: Tokenizer, seed: int, context: int = 100) -> Transformer:
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, layers=2, width=32, heads=2, kv_heads=1, head_size=16, mlp_width=48,
        context=context,
    )  # fmt: skip
    model = Transformer(config).initialize(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def test_each_kept_model_is_read_as_by_itself(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Its surprisal, its likeliest tokens, and what it writes; the final model is the last."""
    ids = [0, *tokenizer.encode(TEXT * 5)][:70]  # more than a piece
    kept = {0: tmp_path / "a", 4: tmp_path / "b"}
    for seed, folder in enumerate(kept.values()):
        save_model(random_model(tokenizer, seed), tokenizer, folder, {"stage": "base"})
    final = random_model(tokenizer, 9)
    view = View(final, tokenizer, ids, "base", background=Background(kept))
    found = view.panel("training")
    assert view.panel("training") is found  # computed once
    assert found.meta["steps"] == [0, 4]
    assert found.meta["folders"] == ["a", "b"]
    models = [*(load_weights(folder) for folder in kept.values()), final]
    followed = found.arrays["followed"]
    assert torch.equal(followed, final(torch.tensor([ids]))[0].topk(5).indices)
    for number, model in enumerate(models):
        alone = View(model, tokenizer, ids)
        surprisal = alone.panel("tokens").arrays["surprisal"]
        torch.testing.assert_close(found.arrays["surprisal"][number], surprisal, equal_nan=True, rtol=1e-4, atol=1e-4)
        logprobs = model(alone.ids)[0].log_softmax(-1)
        assert torch.equal(found.arrays["top"][number], logprobs.topk(5).indices)
        torch.testing.assert_close(found.arrays["logprobs"][number], logprobs.topk(5).values, rtol=1e-4, atol=1e-4)
        of_followed = logprobs.gather(-1, followed)
        torch.testing.assert_close(found.arrays["followed_logprobs"][number], of_followed, rtol=1e-4, atol=1e-4)
        assert found.meta["said"][number] == alone.panel("continued", count=20).meta["text"]
    assert {*found.meta["words"]} == {*found.arrays["top"].flatten().tolist(), *followed.flatten().tolist()}


def test_kept_weights_have_only_those_before_them(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Of the same run, and not themselves."""
    life, run = Life(tmp_path), {"name": "pretrain-base", "began": "today"}
    folders = {step: life.run("pretrain-base") / FOLDER / f"step-{step:06d}" for step in (0, 2, 4)}
    for step, folder in folders.items():
        mark = run if step < 4 else {**run, "began": "yesterday"}
        save_model(random_model(tokenizer, step), tokenizer, folder, {"stage": "base", "run": mark})
    save_model(random_model(tokenizer, 9), tokenizer, life.model("base"), {"stage": "base", "run": run})
    assert [*snapshots_of(life, life.model("base"))] == [0, 2]
    assert [*snapshots_of(life, folders[2])] == [0]
    assert snapshots_of(life, folders[0]) == {}


def test_no_folder_above_the_life_is_told(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A page may be given to others."""
    life, run = Life(tmp_path / "life"), {"name": "pretrain-base", "plan": "0"}
    folder = life.run("pretrain-base") / FOLDER / "step-000004"
    for place in (folder, life.model("base")):
        save_model(random_model(tokenizer, 1), tokenizer, place, {"stage": "base", "run": run})
    known = background_of(life, life.model("base"), tokenizer, 0)
    view = View(random_model(tokenizer, 1), tokenizer, [5, 6], "base", background=known)
    assert view.panel("training").meta["folders"] == ["life/runs/pretrain-base/snapshots/step-000004"]
    for _, panel in panels_of(view):
        assert str(tmp_path).encode() not in panel.packed()


def test_nothing_is_written_past_the_context(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_model(random_model(tokenizer, 0, 8), tokenizer, tmp_path / "a", {"stage": "base"})
    view = View(random_model(tokenizer, 1, 8), tokenizer, [5] * 8, background=Background({0: tmp_path / "a"}))
    assert view.panel("training").meta["said"] == ["", ""]


def test_without_kept_weights_there_are_no_steps(tokenizer: Tokenizer) -> None:
    assert View(random_model(tokenizer, 0), tokenizer, [5, 6]).panel("training").meta["steps"] == []
