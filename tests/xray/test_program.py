"""The x-ray of a compiled RASP program: its parts have the program's names, and its result is the likeliest token."""

from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run as command
from sayso.lens import direct_attribution, trace
from sayso.rasp import run, select, selector_width, tokens
from sayso.rasp.compile.program import compile_program
from sayso.rasp.compile.store import lineage_of, load, save
from sayso.run.rasp_teach import Teach, teach
from sayso.weights.folder import load_model
from sayso.xray import View
from sayso.xray.background import Background, background_of
from sayso.xray.opened import opened
from sayso.xray.saved import panels_of

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


def test_a_program_that_looks_ahead_is_shown_as_it_runs(life: Life) -> None:
    """At every position, its value is the likeliest token; parts, tokens and attention add up to it."""
    compiled = load(life.model("counts")).compiled
    replier = opened(life.model("counts"))
    ids = compiled.ids("aabab")
    view = View(replier.model, replier.tokenizer, ids, "counts", background=Background(names=compiled.names))
    mask = torch.ones(1, 1, len(ids), len(ids), dtype=torch.bool)
    logits = compiled.model(torch.tensor([ids]), mask=mask)[0]
    torch.testing.assert_close(replier.model(torch.tensor([ids]))[0], logits)
    for position, value in enumerate(run(PROGRAM, "aabab"), start=1):
        why = view.panel("why", position=position)
        assert why.meta["candidates"][0][1] == str(value)
        candidates = [token for token, _ in why.meta["candidates"]]
        arrays = why.arrays
        torch.testing.assert_close(arrays["logit"], logits[position, candidates], rtol=1e-3, atol=1e-3)
        parts = arrays["inputs"].sum(1) + arrays["layers"].sum((1, 2)) + arrays["last_bias"] + arrays["rest"]
        torch.testing.assert_close(parts, arrays["logit"], rtol=1e-3, atol=1e-3)
        tokens = view.panel("by_token", position=position, tokens=candidates[:2]).arrays
        assert tokens["tokens"].shape == (2, len(ids))
        torch.testing.assert_close(tokens["tokens"].sum(1) + tokens["bias"], arrays["logit"][:2], rtol=1e-3, atol=1e-3)
        found = direct_attribution(compiled.model, ids, candidates[0], candidates[1], position=position)
        torch.testing.assert_close(found.layers[0], (arrays["layers"][0] - arrays["layers"][1]), rtol=1e-3, atol=1e-3)
    pattern = view.panel("head", layer=0, head=0).arrays["pattern"]
    assert pattern.triu(1).sum() > 1e-3
    torch.testing.assert_close(pattern.sum(-1), torch.ones(len(ids)))


def test_what_a_program_that_looks_ahead_has_not_is_said(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """It predicts no token of its input, and writes none."""
    replier = opened(life.model("counts"))
    view = View(replier.model, replier.tokenizer, [0, *replier.tokenizer.encode("ab")])
    assert view.panel("tokens").arrays["surprisal"].isnan().all()
    with pytest.raises(UserError, match="cannot write on; compile it with --causal"):
        view.panel("continued", count=3)
    assert command(["xray", "counts", "ab", "--life", str(life.root), "--tokens", "3", "--device", "cpu"]) == 2
    assert "--tokens needs a model that writes." in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["seen", "counts"])
def test_a_program_is_saved(name: str, life: Life, tmp_path: Path) -> None:
    flags = ["--life", str(life.root), "--out", str(tmp_path / "x.html"), "--device", "cpu"]
    assert command(["xray", name, "aab", *flags]) == 0
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


def test_a_rounded_program_that_looks_ahead_is_shown_as_it_runs(life: Life) -> None:
    """Its 8-bit weights still see the whole input; what needs weights says why it is not there, on a saved page too."""
    assert command(["quantize", "counts", "--head", "0", "--life", str(life.root)]) == 0
    folder = life.model("counts-8bit")
    replier, compiled = opened(folder), load(folder).compiled
    assert replier.model.looks_ahead
    view = View(replier.model, replier.tokenizer, compiled.ids("aabab"), "counts")
    for position, value in enumerate(run(PROGRAM, "aabab"), start=1):
        logits = view.panel("logits", position=position)
        assert logits.meta["words"][int(logits.arrays["logits"].argmax())] == str(value)
    assert view.panel("circuit", position=1, target=0).meta == {"share": None, "edges": None}
    told = [panel.meta["problem"] for key, panel in panels_of(view) if key.startswith("by_token")]
    assert len(told) == view.length
    assert all("floating point" in problem for problem in told)
