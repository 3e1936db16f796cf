"""The Python on the pages of the docs runs."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anthropic
import openai
import pytest
import torch
from starlette.testclient import TestClient

from sayso.base.life import Life
from sayso.feedback.store import Store
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {
    str(page.relative_to(DOCS)): re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for page in DOCS.rglob("*.md")
}
WITH_CODE = sorted(name for name, blocks in PAGES.items() if blocks)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models with random weights, by the names under which pages open them."""
    life = Life(tmp_path_factory.mktemp("docs"))
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9], 300)
    shape = ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 48, context=256)
    for name in ("base", "tuned", "aligned", "reward", "reward-2"):
        made = Transformer(shape).initialize(torch.Generator().manual_seed(0))
        save_model(add_score(made) if "reward" in name else made, tokenizer, life.model(name), {"stage": name})
    return life.root / "models"


@pytest.fixture
def served(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """OpenAI's and Anthropic's clients reach a server of the model `aligned`, without a network."""
    store = Store(tmp_path / "store.sqlite")
    app = make_app(Replier(*load_model(models / "aligned")), store, "aligned", fingerprint="0123456789ab")
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        monkeypatch.setattr(openai, "OpenAI", partial(openai.OpenAI, http_client=client))
        monkeypatch.setattr(anthropic, "Anthropic", partial(anthropic.Anthropic, http_client=client))
        yield
    store.close()


@pytest.mark.parametrize("page", WITH_CODE)
def test_examples_run(page: str, models: Path, served: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python runs from top to bottom in a folder that holds a life, assertions and all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "life").mkdir()
    (tmp_path / "life" / "models").symlink_to(models)
    code = "\n".join(PAGES[page])
    assert "assert" in code
    script = tmp_path / f"{Path(page).stem}.py"  # functions that are passed in are known by their source
    script.write_text(code)
    exec(compile(code, script, "exec"), {"__name__": "__main__"})
