"""The screen Models in a real browser: lineage, scores, the gate, promotion and roll-back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import Store
from sayso.run.serve import acts_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
HOSTILE = '<img src=x onerror="window.hurt = true">'
SLOW = 180_000  # milliseconds that an act may take to be imported and to end on a busy machine


@pytest.fixture(scope="session")
def family(trained_life: Life, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with an evaluated model, and a quantized one that was made of it and evaluated, too."""
    life = Life(tmp_path_factory.mktemp("family") / "life")
    shutil.copytree(trained_life.root, life.root)
    root = str(life.root)
    assert run(["quantize", "base", "--n", "0", "--life", root]) == 0
    few = ["--n", "0", "--text-bytes", "500", "--baseline-bytes", "2000", "--life", root]
    for name in ("base", "base-8bit"):
        assert run(["evaluate", name, *few]) == 0
    return life


@pytest.fixture
def models(
    visit: Open, serve: Callable[..., str], family: Life, store: Store, tmp_path: Path
) -> Callable[..., sync_api.Page]:
    """Open the screen over a copy of the life, whose store is that of the server."""
    life = Life(tmp_path / "life")
    shutil.copytree(family.root, life.root)
    where = str(tmp_path / "store.sqlite")
    return lambda path="/#/models": visit(serve(life=life, acts=acts_of(life, where)), path)


def test_models_are_shown_with_their_parents_and_scores(models: Open) -> None:
    """Each model in the picture leads to its part, with its card, its run and what can be done with it."""
    page = models()
    picture = page.get_by_role("group", name="Lineage")
    picture.locator(".edge").wait_for(state="attached")  # exactly one
    scores = page.get_by_role("region", name="Scores, as a table")
    expect(scores.locator("th[scope=col]")).to_have_text(["Measure", "base", "base-8bit"])
    expect(scores.locator("td").first).to_contain_text(" to ")
    page.get_by_role("region", name="Checkpoints, as a table").get_by_text("pretrain-base").wait_for()
    picture.get_by_role("link", name="base-8bit, made from base").click()
    page.get_by_role("heading", name="base-8bit", exact=True).first.wait_for()
    page.get_by_text("8-bit weights").first.wait_for()
    page.get_by_role("link", name="Export as GGUF").click()
    page.get_by_role("heading", name="Start an act").wait_for()
    expect(page.get_by_label("model", exact=True)).to_have_value("base-8bit")


def test_a_candidate_passes_the_gate_is_promoted_and_rolled_back(models: Open, store: Store) -> None:
    """The gate as a job, its table on the model's part, promotions with and against it, a roll-back with a reason."""
    page = models("/#/models/base")
    page.get_by_role("button", name="Run the gate").click()
    page.get_by_role("heading", name="sayso promote finished").wait_for(timeout=SLOW)
    assert Aliases(store).history() == []
    page.go_back()
    page.get_by_role("heading", name="For stable: passed").wait_for()
    page.get_by_role("region", name="What the gate found").get_by_text("first model").wait_for()
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("heading", name="sayso promote finished").wait_for(timeout=SLOW)
    page.goto(page.url.split("#")[0] + "#/models/base-8bit")
    page.get_by_label("Reason").fill(f"smaller {HOSTILE}")
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("heading", name="sayso promote finished").wait_for(timeout=SLOW)
    page.goto(page.url.split("#")[0] + "#/models")
    page.get_by_role("heading", name="stable names base-8bit").wait_for()
    page.get_by_role("region", name="History of stable").get_by_text(f"smaller {HOSTILE}").wait_for()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_text("Give a reason first.").wait_for()
    page.get_by_label("Reason to roll back stable").fill("too many mistakes")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("heading", name="stable names base", exact=True).wait_for()
    assert [(one.model, one.kind) for one in Aliases(store).history()] == [
        ("base", "promoted"), ("base-8bit", "overridden"), ("base", "rolled back"),
    ]  # fmt: skip
    assert page.evaluate("window.hurt") is None


def test_without_models_the_screen_says_what_makes_one(visit: Open, serve: Callable[..., str], tmp_path: Path) -> None:
    empty = Life(tmp_path / "empty")
    page = visit(serve(life=empty, acts=acts_of(empty, None)), "/#/models")
    page.get_by_text("There are no models yet.").wait_for()


@pytest.mark.parametrize("path", ["/#/models", "/#/models/base"])
def test_the_screen_shuts_no_one_out(
    models: Open, store: Store, path: str, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing, wide and on a phone, in light and dark; nothing is wider than a phone."""
    Aliases(store).assign("stable", "base", "1" * 64, after=None, evidence={"verdict": "passed", "findings": []})
    page = models(path)
    page.locator("#view .card").first.wait_for()
    for scheme, width in (("light", 1100), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 750})
        assert accessibility_faults(page) == []
        assert page.evaluate(
            "document.querySelector('#view').scrollWidth <= document.querySelector('#view').clientWidth"
        )
