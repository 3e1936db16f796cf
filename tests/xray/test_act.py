"""`sayso xray`: which models and texts a saved file shows side by side."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model
from sayso.xray import View
from sayso.xray.saved import panels_of
from sayso.xray.why import CANDIDATES


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with two models that share a tokenizer, and one with another."""
    life = Life(tmp_path_factory.mktemp("life"))
    kinds = {"base": "character", "tuned": "character", "other": "bpe"}
    for seed, (name, kind) in enumerate(kinds.items()):
        tokenizer = train(kind, ["the cat sat on the mat. " * 9], 300)
        config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 48, context=64)
        model = Transformer(config).initialize(torch.Generator().manual_seed(seed))
        save_model(model.eval(), tokenizer, life.model(name), {"stage": name})
    return life


def facts(path: Path, side: int, panel: str) -> dict[str, Any]:
    """Return the facts of a panel in a saved file."""
    found = re.search(f'data-side="{side}" data-panel="{re.escape(panel)}">([^<]*)<', path.read_text())
    assert found
    data = base64.b64decode(found[1])
    size = int.from_bytes(data[:4], "little")
    meta: dict[str, Any] = json.loads(data[4 : 4 + size])["meta"]
    return meta


def written(life: Life, folder: Path, *flags: str) -> Path:
    """Write a file; return its path."""
    out = folder / "x.html"
    given = ["--life", str(life.root), "--out", str(out), "--replace", "--device", "cpu"]
    assert run(["xray", "tuned", "the cat", *given, *flags]) == 0
    return out


def test_another_model_reads_the_same_tokens(life: Life, tmp_path: Path) -> None:
    """Those that the first model generated as well; both explain the same tokens."""
    path = written(life, tmp_path, "--beside", "base", "--tokens", "3")
    first, second = (facts(path, side, "tokens?") for side in (0, 1))
    assert (first["name"], second["name"]) == ("tuned", "base")
    assert first["tokens"] == second["tokens"]
    assert first["prompt"] == second["prompt"] == 8
    candidates = [{token for token, _ in facts(path, side, "why?position=8")["candidates"]} for side in (0, 1)]
    assert candidates[0] == candidates[1]


def test_another_text_is_read_by_the_same_model_or_another(life: Life, tmp_path: Path) -> None:
    for flags, name in (([], "tuned"), (["--beside", "base"], "base")):
        second = facts(written(life, tmp_path, "--beside-text", "a cat sat", *flags), 1, "tokens?")
        assert second["name"] == name
        assert "".join(text for _, text in second["tokens"][1:]) == "a cat sat"


def test_a_token_that_only_the_other_model_expects_has_all_panels(life: Life) -> None:
    """If it follows in the text: both explain it, as the page asks them to."""
    first, second = (load_model(life.model(name)) for name in ("tuned", "base"))
    logits = [model(torch.tensor([[0, 5]]))[0, -1] for model, _ in (first, second)]
    unlikely = logits[0].argsort(descending=True)[CANDIDATES:]
    follows = int(unlikely[logits[1][unlikely].argmax()])
    assert follows in logits[1].topk(CANDIDATES).indices
    views = [View(model, tokenizer, [0, 5, follows]) for model, tokenizer in (first, second)]
    contrast = int(logits[0].argmax())
    wanted = f"neurons?contrast={contrast}&layer=0&position=1&target={follows}"
    for side, (view, other) in enumerate((views, views[::-1])):
        found = dict(panels_of(view, other, leads=side == 0))
        assert {wanted, f"by_token?position=1&tokens={follows},{contrast}"} <= found.keys()
        assert {follows, contrast} <= {token for token, _ in found["why?position=1"].meta["candidates"]}


def test_models_with_different_tokenizers_are_refused(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--life", str(life.root), "--out", str(tmp_path / "x.html"), "--beside", "other"]
    assert run(["xray", "tuned", "a", *flags]) == 2
    assert "'tuned' and 'other' have different tokenizers" in capsys.readouterr().err
    assert run(["xray", "tuned", "a" * 70, *flags]) == 2  # before the text is read, which is too long
    assert "'tuned' and 'other' have different tokenizers" in capsys.readouterr().err


def test_examples_need_held_out_text(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is said before anything is computed."""
    flags = ["--life", str(life.root), "--out", str(tmp_path / "x.html"), "--examples", "4"]
    assert run(["xray", "tuned", "a", *flags]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--examples needs held-out text" in said
    assert "sayso prepare with --val above 0, or omit --examples." in said
