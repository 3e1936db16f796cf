"""The screen Runs in a real browser: curves, live, one run in full, and acts that are started, stopped and resumed."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import RunLog, act_log, read_log
from sayso.run.report import Report
from sayso.run.serve import acts_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
HOSTILE = '<img src=x onerror="window.hurt = true"><b>bold</b>'
SLOW = 180_000  # milliseconds that an act may take to be imported and to begin on a busy machine


@pytest.fixture
def life(trained_life: Life, tmp_path: Path) -> Life:
    """A copy of a life with a trained model."""
    copy = Life(tmp_path / "life")
    shutil.copytree(trained_life.root, copy.root)
    return copy


@pytest.fixture
def runs(visit: Open, serve: Callable[..., str], life: Life) -> Open:
    """Open the screen, or another part of it."""
    return lambda path="/#/runs", **settings: visit(serve(life=life, acts=acts_of(life, None)), path, **settings)


def add_step(log: RunLog, number: int, **more: Any) -> None:
    """Log a step as training does."""
    fields = {
        "step": number,
        "steps": 50,
        "loss": 5 / number,
        "lr": 0.5,
        "tokens": 10 * number,
        "seconds": 1.0 * number,
    }
    log.write("step", **fields, gradient_norm=0.1, tokens_per_second=5, **more)


def test_runs_are_laid_over_each_other(runs: Open, life: Life) -> None:
    """Those that are chosen, in the address; every chart has the values of all of them in its table."""
    with act_log(life, "custom", "one", Report()) as log:
        for number in (1, 2, 4):
            add_step(log, number)
    page = runs("/#/runs?show=pretrain-base&smooth=0")
    loss = page.locator("[data-figure=loss]")
    loss.locator(".plot .line").wait_for()
    page.get_by_label("Show the curves of custom-one").check()
    loss.get_by_role("button", name="custom-one").wait_for()
    expect(page).to_have_url(re.compile("show=pretrain-base%2Ccustom-one"))
    loss.get_by_text("Table").click()
    rows = loss.locator(".behind tr")
    expect(rows.first.locator("th")).to_have_text(["step", "pretrain-base", "custom-one"])
    drawn = [event["loss"] for event in read_log(life.run("pretrain-base") / "run.jsonl") if event["event"] == "step"]
    for number in (1, 2, 4):
        step, *losses = rows.nth(number).locator("th, td").all_text_contents()
        assert step == str(number)
        assert [float(text) for text in losses] == pytest.approx([drawn[number - 1], 5 / number], rel=1e-3)
    page.reload()
    loss.get_by_role("button", name="custom-one").wait_for()
    page.get_by_label("Scale").select_option("log")
    page.get_by_label("Across").select_option("tokens")
    loss.get_by_text("Table").click()
    expect(rows.first.locator("th").first).to_have_text("tokens")
    expect(page).to_have_url(re.compile("scale=log"))
    expect(page).to_have_url(re.compile("x=tokens"))


def test_what_is_open_in_a_chart_stays_so_when_it_is_drawn_again(runs: Open, life: Life) -> None:
    """Its table, a series that is hidden and the focus, whether its values or what they are drawn over change."""
    with locked(life.run("custom-one")):
        log = RunLog(life.run("custom-one") / "run.jsonl")
        log.write("start", act="custom", time="2026-05-01T00:00:00+00:00", config={})
        add_step(log, 1)
        add_step(log, 2)
        page = runs("/#/runs?show=pretrain-base,custom-one&smooth=0")
        loss = page.locator("[data-figure=loss]")
        loss.get_by_role("button", name="pretrain-base").click()
        rows = loss.locator(".behind tr")
        loss.get_by_text("Table").click()
        expect(rows).to_have_count(3)
        loss.get_by_text("Table").focus()
        add_step(log, 3)
        expect(rows).to_have_count(4)
        page.get_by_label("Across").select_option("tokens")
        expect(rows.locator("th[scope=row]")).to_have_text(["10", "20", "30"])
        expect(loss.get_by_text("Table")).to_be_focused()
        expect(loss.get_by_role("button", name="pretrain-base")).to_have_attribute("aria-pressed", "false")
        expect(loss.locator(".line")).to_have_count(1)


def test_a_run_is_followed_as_it_goes_on(runs: Open, life: Life) -> None:
    """Its steps, its warnings and its end appear by themselves, in the list and in the run's own part."""
    with locked(life.run("custom-one")):
        log = RunLog(life.run("custom-one") / "run.jsonl")
        log.write("start", act="custom", time="2026-05-01T00:00:00+00:00", config={})
        add_step(log, 1)
        page = runs()
        row = page.locator("tr[data-name=custom-one]")
        row.get_by_text("running").wait_for()
        row.get_by_text("step 1 of 50").wait_for()
        add_step(log, 11)
        row.get_by_text(re.compile("step 11 of 50, 39 s left")).wait_for()
        row.get_by_role("link").click()
        page.get_by_role("heading", name="custom-one running").wait_for()
        log.write("warning", step=12, problem=f"The loss grows {HOSTILE}.")
        page.get_by_text(f"Step 12: The loss grows {HOSTILE}.").wait_for()
        log.write("val", step=12, held_out_loss=1.0, sample=f"Once {HOSTILE}")
        page.locator(".sample").get_by_text(f"Once {HOSTILE}").wait_for()
    log.write("end", seconds=12.0, peak_memory_mb=1500.0)
    page.get_by_role("heading", name="custom-one finished").wait_for()
    page.get_by_text("took 12 s").wait_for()
    assert page.evaluate("window.hurt") is None


def test_a_sample_that_somebody_opened_stays_open(runs: Open, life: Life) -> None:
    """The latest one is open by itself, and closes when there is a later one."""
    with locked(life.run("custom-one")):
        log = RunLog(life.run("custom-one") / "run.jsonl")
        log.write("start", act="custom", time="2026-05-01T00:00:00+00:00", config={})
        for step in (1, 2):
            log.write("val", step=step, held_out_loss=1.0, sample=f"Once {step}")
        page = runs("/#/runs/custom-one")
        page.locator(".samples summary", has_text="Step 1").click()
        log.write("val", step=3, held_out_loss=1.0, sample="Once 3")
        expect(page.locator(".samples details")).to_have_text([re.compile(f"^Step {step}") for step in (3, 2, 1)])
        expect(page.locator(".samples details[open] summary")).to_have_text(["Step 3", "Step 1"])


def test_an_act_is_started_by_its_form(runs: Open, life: Life) -> None:
    """An invalid option is refused in a sentence; the output of the job survives a reload; the job is listed."""
    page = runs()
    page.get_by_role("link", name="Start an act").click()
    act = page.get_by_role("combobox", name="Act")
    act.wait_for(timeout=SLOW)
    act.select_option("pretrain")
    page.get_by_text("Train a base model on the prepared text.").wait_for(timeout=SLOW)
    page.get_by_label("depth", exact=True).fill("5000")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("--depth must be from 1 to 1024; got 5000.").wait_for()
    page.get_by_role("combobox", name="Act").select_option("report")
    page.get_by_text("Write a report on all stages as one HTML file.").wait_for(timeout=SLOW)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="sayso report finished").wait_for(timeout=SLOW)
    page.get_by_role("log", name="Output").get_by_text("Wrote ").wait_for()
    assert life.report.exists()
    page.reload()
    page.get_by_role("heading", name="sayso report finished").wait_for()
    page.get_by_role("link", name="All runs").click()
    page.get_by_role("region", name="Jobs").get_by_role("link", name="report").wait_for()


def test_a_training_run_is_stopped_saved_and_resumed(runs: Open, life: Life) -> None:
    """By its buttons; it goes on from the step at which it was stopped."""
    page = runs("/#/runs?start=pretrain")
    for name, value in (("name", "slow"), ("depth", "1"), ("steps", "100000")):
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_text("More options").click()
    for name, value in (("rows", "2"), ("context", "64"), ("processes", "1")):
        page.get_by_label(name, exact=True).fill(value)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="sayso pretrain running").wait_for()
    page.get_by_role("link", name="Curves of pretrain-slow").wait_for()
    page.get_by_role("link", name="All runs").click()
    row = page.locator("tr[data-name=pretrain-slow]")
    row.get_by_text(re.compile("step .* of 100,000")).wait_for(timeout=SLOW)
    row.get_by_role("link").click()
    page.get_by_role("button", name="Stop and save").click()
    page.get_by_role("heading", name="pretrain-slow interrupted").wait_for(timeout=SLOW)
    events = read_log(life.run("pretrain-slow") / "run.jsonl")
    reached = next(event["step"] for event in reversed(events) if event["event"] == "step")
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("log", name="Output").get_by_text(f"Resuming from step {reached:,} of 100,000.").wait_for(
        timeout=SLOW
    )
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name="sayso pretrain stopped").wait_for(timeout=SLOW)


def test_without_runs_or_a_life_the_screen_says_what_fills_it(
    visit: Open, serve: Callable[..., str], tmp_path: Path
) -> None:
    empty = Life(tmp_path / "empty")
    page = visit(serve(life=empty, acts=acts_of(empty, None)), "/#/runs")
    page.get_by_text("There are no runs yet. Start an act here, or run sayso demo").wait_for()
    page = visit(serve(), "/#/runs")
    page.get_by_role("alert").get_by_text("start it with 'sayso serve --life FOLDER'").wait_for()


@pytest.mark.parametrize("path", ["/#/runs", "/#/runs/pretrain-base", "/#/runs?start=finetune"])
def test_the_screen_shuts_no_one_out(
    runs: Open, path: str, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing, wide and on a phone, in light and dark; nothing is wider than a phone."""
    page = runs(path)
    page.locator("#view .screen:not([aria-busy])").wait_for()
    for scheme, width in (("light", 1100), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 750})
        assert accessibility_faults(page) == []
        assert page.evaluate(
            "document.querySelector('#view').scrollWidth <= document.querySelector('#view').clientWidth"
        )
