"""Take the README's screenshots of a real life: a chat on the page, and the report.

    python tools/screenshot.py [LIFE]

Takes a life (default: `life`); writes docs/images/page.png and docs/images/report.png. Chats with the model through
the real page in Chromium, with a temporary store, so that the life's own store is not changed.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.weights.folder import load_model
from sayso.weights.models import newest_model

IMAGES = Path(__file__).parent.parent / "docs" / "images"
QUESTION = (
    "First Tom swept the floor, then he made a pot of tea. Paul had a blue kite. All the while Anna was in the garden."
    "\n\nWhere was Anna?"
)
STORY = "Tell me a short story."
SIZE, SHARPNESS = {"width": 1200, "height": 820}, 2
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def served(life: Life) -> Iterator[str]:
    """Serve the life's newest model on a free port; yield its address."""
    folder = newest_model(life, "aligned")
    replier = Replier(*load_model(folder))
    with tempfile.TemporaryDirectory() as place, listen("127.0.0.1", 0) as listening:
        store = Store(Path(place) / "store.sqlite")
        app = make_app(replier, store, folder.name, fingerprint=sha256(folder / "model.safetensors")[:12])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            store.close()


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


def main() -> None:
    """Take both screenshots of the life named on the command line."""
    life = Life(Path(sys.argv[1] if len(sys.argv) > 1 else "life"))
    chromium = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("No browser: install chromium, or set SAYSO_CHROMIUM to its path.")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, served(life) as address:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        take_page(browser, address, IMAGES / "page.png")
        take_report(browser, life.report, IMAGES / "report.png")
        browser.close()
    for name in ("page.png", "report.png"):
        print(f"Wrote {IMAGES / name}")


if __name__ == "__main__":
    main()
