"""Take the screenshots of a real life for the README and the docs: the page's screens, and the report.

    python tools/screenshot.py [LIFE]

Takes a life (default: `life`); writes docs/images/page.png, docs/images/report.png, docs/images/xray-NAME.png for parts
of the x-ray of a reply and, if people have rated replies of the life, docs/images/screen-NAME.png for each other screen
of the page. Runs `sayso serve` and opens the page in
Chromium. It uses a temporary store or a copy of the life's, so the life's own is not changed.
"""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, Page, sync_playwright

from sayso.base.life import Life
from sayso.weights.models import newest_model

IMAGES = Path(__file__).parent.parent / "docs" / "images"
QUESTION = (
    "First Tom swept the floor, then he made a pot of tea. Paul had a blue kite. All the while Anna was in the garden."
    "\n\nWhere was Anna?"
)
COLOR = QUESTION.replace("Where was Anna?", "What color was Paul's kite?")
STORY = "Tell me a short story."
SCREENS = {
    "rate": "#/rate",
    "watch": "#/watch?days=1&by=model",
    "diagnose": "#/diagnose",
    "runs": "#/runs?show=pretrain-base,finetune-tuned",
    "models": "#/models",
}
"""Address of each screen that is shown with what people said and rated."""
XRAY = ("tokens", "map", "block", "head", "why")
"""Panels of the x-ray that are shown."""
STRONGEST = """() => {
  const rows = [...document.querySelectorAll("#block table:first-of-type tbody tr")];
  const adds = (row) => Math.abs(parseFloat(row.querySelectorAll("td")[0].textContent));
  return rows.sort((a, b) => adds(b) - adds(a))[0].querySelector("th").textContent;
}"""
"""Finds the layer whose attention adds the most."""
SETTLED = 3_000  # milliseconds until a screen has its data and its drawings
SIZE, SHARPNESS = {"width": 1200, "height": 820}, 2
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def served(life: Life, store: Path) -> Iterator[str]:
    """Serve the life's newest model, with another store, on a free port; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "sayso", "serve", "--life", str(life.root), "--store", str(store)]
    command += ["--model", newest_model(life, "aligned").name, "--port", address.split(":")[1], "--no-log-requests"]
    process = subprocess.Popen(command)
    try:
        while not ready(f"http://{address}"):
            if process.poll() is not None:
                sys.exit("The server did not start.")
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def ready(address: str) -> bool:
    """Whether the server answers."""
    try:
        return httpx2.get(f"{address}/ready").status_code == 200
    except httpx2.TransportError:
        return False


def copied(store: Path, folder: Path) -> Path:
    """Copy a store into a folder, without its keys, so that none is asked for; return the copy."""
    copy = folder / "store.sqlite"
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("DELETE FROM keys")
        target.commit()
    return copy


def send(page: Page, message: str) -> None:
    """Send a message and wait for the complete reply."""
    before = page.locator(".reply .tools").count()
    page.get_by_label("Your message").fill(message)
    page.keyboard.press("Enter")
    page.locator(".reply .tools").nth(before).wait_for()


def take_page(browser: Browser, address: str, path: Path) -> None:
    """Capture the page after a rated reply, and a story with a second version to choose from."""
    page = browser.new_page(viewport=SIZE, device_scale_factor=SHARPNESS, color_scheme="light")
    page.goto(address)
    send(page, QUESTION)
    page.get_by_role("button", name="Good reply").click()
    page.locator(".up[aria-pressed=true]").wait_for()
    send(page, STORY)
    page.get_by_role("button", name="Another").click()
    page.locator(".choose:enabled, .note:text('said the same again')").first.wait_for()
    page.screenshot(path=path, animations="disabled")


def take_report(browser: Browser, report: Path, path: Path) -> None:
    """Capture the top of the report."""
    page = browser.new_page(viewport=SIZE | {"height": 1500}, device_scale_factor=SHARPNESS, color_scheme="light")
    page.goto(report.resolve().as_uri())
    page.screenshot(path=path, animations="disabled")


def take_screens(browser: Browser, address: str) -> list[Path]:
    """Capture every screen of `SCREENS`; return the files."""
    page = browser.new_page(viewport=SIZE | {"height": 900}, color_scheme="light", reduced_motion="reduce")
    taken = []
    for name, place in SCREENS.items():
        page.goto(f"{address}/{place}")
        page.wait_for_timeout(SETTLED)
        if name == "rate":
            page.get_by_label("Your name").fill("Ada")
            page.keyboard.press("Enter")
        elif name == "diagnose":
            page.get_by_role("button", name="Draw").click()
        elif name == "runs":
            page.locator("[data-figure=loss]").scroll_into_view_if_needed()
        page.wait_for_timeout(SETTLED)
        taken.append(IMAGES / f"screen-{name}.png")
        page.screenshot(path=taken[-1], animations="disabled")
    return taken


def take_xray(browser: Browser, address: str) -> list[Path]:
    """Capture panels of the x-ray of the reply to a question, in which its first head that matters is chosen."""
    page = browser.new_page(viewport=SIZE, device_scale_factor=1.5, color_scheme="light", reduced_motion="reduce")
    page.goto(address)
    send(page, COLOR)
    page.get_by_role("link", name="X-ray").click()
    page.locator("body[data-drawn]").wait_for()
    page.locator("#block tbody tr").nth(0).wait_for()
    strongest = page.evaluate(STRONGEST)
    page.locator("#block button.link", has_text=strongest).first.click()
    page.locator("#block table").nth(1).locator("button.link").first.click()
    page.wait_for_timeout(SETTLED)
    page.evaluate("document.querySelector('header').style.position = 'static'")  # it would cover what is captured
    taken = []
    for name in XRAY:
        taken.append(IMAGES / f"xray-{name}.png")
        page.locator(f"#{name}").screenshot(path=taken[-1], animations="disabled")
    return taken


def main() -> None:
    """Take the screenshots of the life named on the command line."""
    life = Life(Path(sys.argv[1] if len(sys.argv) > 1 else "life"))
    chromium = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("No browser: install chromium, or set SAYSO_CHROMIUM to its path.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    taken = [IMAGES / "page.png", IMAGES / "report.png"]
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        with served(life, Path(folder) / "empty.sqlite") as address:
            take_page(browser, address, taken[0])
            taken += take_xray(browser, address)
        take_report(browser, life.report, taken[1])
        if life.store.exists():
            with served(life, copied(life.store, Path(folder))) as address:
                taken += take_screens(browser, address)
        browser.close()
    print(*(f"Wrote {path}" for path in taken), sep="\n")


if __name__ == "__main__":
    main()
