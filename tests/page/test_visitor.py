"""The path of a person who sees the page for the first time, from `sayso serve` to a better model and back."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.aliases import Aliases
from sayso.feedback.store import Store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
SLOW = 180_000  # milliseconds that an act may take on a busy machine


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life whose `stable` is a model that was trained in a few steps."""
    made = Life(tmp_path / "life")
    few = ["--steps", "3", "--row-tokens", "64", "--rows", "2", "--processes", "1", "--save-seconds", "0"]
    for words in (
        ["prepare", "smallworld", "--world-documents", "60", "--world-conversations", "30", "--workers", "1"],
        ["tokenizer", "train", "--vocab-size", "400"],
        ["pretrain", "--depth", "1", "--context", "256", *few],
        ["finetune", *few],
        ["evaluate", "tuned", "--n", "1", "--text-bytes", "300", "--baseline-bytes", "2000"],
        ["promote", "tuned"],
    ):
        assert run([*words, "--life", str(made.root)]) == 0, words
    return made


@pytest.fixture
def address(life: Life) -> Iterator[str]:
    """The address of `sayso serve` for that alias."""
    words = [sys.executable, "-m", "sayso", "serve", "--model", "stable", "--port", "0", "--life", str(life.root)]
    with subprocess.Popen([*words, "--no-log-requests"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        serving = re.compile(r" at (http://127\.0\.0\.1:\d+): ")
        yield next(found[1] for line in server.stdout if (found := serving.search(line)))
        server.send_signal(signal.SIGINT)
        assert server.wait(60) in (0, 130)


def start(page: sync_api.Page, act: str, **fields: str) -> None:
    """Start an act by its form, and wait for its end."""
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name="Start an act").click()
    page.get_by_role("combobox", name="Act").select_option(act, timeout=SLOW)
    page.get_by_text("More options").click()
    for name, value in fields.items():
        page.get_by_label(name.replace("_", " "), exact=True).fill(value)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name=f"sayso {act} finished").wait_for(timeout=SLOW)


def test_a_visitor_closes_the_circle(visit: Open, address: str, life: Life) -> None:
    """Open, talk, rate, see it, note it, gather, train, promote, roll back; the page alone is enough."""
    page = visit(address)
    page.get_by_role("heading", name=re.compile("^tuned")).wait_for()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest reply").fill("12")
    page.get_by_role("button", name="Done").click()
    for number, words in enumerate(("hello there", "who are you?"), 1):
        page.get_by_label("Your message").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator(".reply .tools")).to_have_count(number)
        page.get_by_role("button", name="Correct").last.click()
        page.get_by_label("Corrected reply").fill(f"A better answer {number}.")
        page.get_by_role("button", name="Save").click()
        page.get_by_text(f"A better answer {number}.").wait_for()
    page.get_by_role("button", name="Good reply").last.click()
    expect(page.locator("#circle b")).to_have_text("3 ratings so far.")

    page.get_by_role("link", name="Watch").click()
    page.get_by_role("region", name="In short").get_by_role("link", name="2", exact=True).first.wait_for()
    page.get_by_role("link", name="Diagnose").click()
    page.get_by_role("button", name="Draw").click()
    page.locator("#view").get_by_text("hello there").first.wait_for()
    page.get_by_role("button", name="Add a note").first.click()
    page.get_by_label("What is wrong with this reply?").fill("no greeting")
    page.get_by_role("button", name="Save").click()
    page.locator(".noted").get_by_text("no greeting").wait_for()

    start(page, "gather")
    few = {"n": "1", "text_bytes": "300", "baseline_bytes": "2000", "processes": "1"}
    start(page, "cycle", **few)
    page.get_by_role("log", name="Output").get_by_text("'stable' still names 'tuned'").wait_for()
    page.get_by_role("link", name="Models").click()
    page.get_by_role("group", name="Lineage").get_by_role("link", name=re.compile("^cycle-1, made from")).click()
    page.get_by_role("heading", name="For stable: not enough data").wait_for()
    page.get_by_label("Reason").fill("the answers are those that I gave")
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("heading", name="sayso promote finished").wait_for(timeout=SLOW)
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("heading", name=re.compile("^cycle-1")).wait_for()

    page.get_by_role("link", name="Models").click()
    page.get_by_label("Reason to roll back stable").fill("too early")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("heading", name="stable names tuned", exact=True).wait_for()
    page.get_by_role("link", name="Chat").click()
    page.get_by_role("heading", name=re.compile("^tuned")).wait_for()
    store = Store(life.store)
    kinds = [(one.model, one.kind) for one in Aliases(store).history("stable")]
    store.close()
    assert kinds == [("tuned", "promoted"), ("cycle-1", "overridden"), ("tuned", "rolled back")]
