"""The x-ray of a compiled RASP program: its parts have the program's names, and its result is the likeliest token."""

from pathlib import Path

import pytest
import torch

from sayso.base.life import Life
from sayso.cli.main import run as command
from sayso.lens import trace
from sayso.rasp import run, select, selector_width, tokens
from sayso.rasp.compile.program import compile_program
from sayso.rasp.compile.store import lineage_of, load, save
from sayso.run.rasp_teach import Teach, teach
from sayso.weights.folder import load_model
from sayso.xray import View
from sayso.xray.background import background_of

PROGRAM = selector_width(select(tokens, tokens))  # how often each token was seen so far


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with a program in each dialect."""
    life = Life(tmp_path_factory.mktemp("life"))
    for name, causal in (("seen", True), ("counts", False)):
        compiled = compile_program(PROGRAM, "ab", 6, causal=causal)
        save(compiled, life.model(name), lineage_of(compiled, PROGRAM, name))
    return life


def test_parts_have_the_names_of_the_program(life: Life) -> None:
    folder = life.model("seen")
    model, tokenizer = load_model(folder)
    compiled = load(folder).compiled
    view = View(model, tokenizer, compiled.ids("aabab"), "seen", background=background_of(life, folder, tokenizer, 4))
    parts = view.panel("tokens").meta["parts"]
    assert parts["dimensions"] == compiled.names.dimensions
    assert len(parts["dimensions"]) == model.config.width
    assert parts["heads"] == compiled.names.heads
    assert parts["units"] == compiled.names.units
    assert parts["heads"][0][0]
    for position, value in enumerate(run(PROGRAM, "aabab", causal=True), start=1):
        logits = view.panel("logits", position=position)
        assert logits.meta["words"][int(logits.arrays["logits"].argmax())] == str(value)


def test_a_stream_is_what_it_was_and_what_a_layer_adds(life: Life) -> None:
    model, tokenizer = load_model(life.model("seen"))
    ids = load(life.model("seen")).compiled.ids("aabab")
    found = View(model, tokenizer, ids).panel("stream", layer=0, position=3).arrays
    torch.testing.assert_close(found["before"] + found["attention"] + found["mlp"], found["after"])
    stream = trace(model, torch.tensor([ids]), "blocks.0.hook_resid_post")["blocks.0.hook_resid_post"][0, 3]
    assert torch.equal(found["after"], stream)
    assert found["before"][0] == 1  # the dimension that is 1 at every token of the input


def test_a_program_that_looks_ahead_is_refused(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["aab", "--life", str(life.root), "--out", str(tmp_path / "x.html"), "--device", "cpu"]
    assert command(["xray", "counts", *flags]) == 2
    assert "compile the program with --causal" in " ".join(capsys.readouterr().err.split())
    assert command(["xray", "seen", *flags]) == 0
    assert 'data-panel="stream?layer=0&amp;position=3"' in (tmp_path / "x.html").read_text()


def test_taught_and_compiled_models_stand_side_by_side(life: Life, tmp_path: Path) -> None:
    """Each half has its own heads; only the compiled one names its parts."""
    result = "selector_width(select(tokens, tokens, ==))"
    size = {"length": 2, "longest": 6, "layers": 2, "width": 16, "heads": 2, "rows": 4, "steps": 1}
    teach(Teach("mode", life=life.root, result=result, causal=True, alphabet="ab", name="taught", device="cpu", **size))
    flags = ["--life", str(life.root), "--out", str(tmp_path / "x.html"), "--device", "cpu"]
    assert command(["xray", "taught", "aab", "--beside", "seen", *flags]) == 0
    page = (tmp_path / "x.html").read_text()
    assert page.count('data-panel="head?') == 2 * 2 + 1  # those of the taught model, and the one of the program
    assert page.count('data-panel="stream?layer=0&amp;position=3"') == 1
