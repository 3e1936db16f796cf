"""The x-ray in Chromium: from the click to the first panel, frames per second, and the bytes of each panel.

    python -m bench.xray [--rounds 5] [--long]

`ours` is the seconds from opening the x-ray of a text of 48 tokens in SmolLM2-135M-Instruct to its first panel, the
median over fresh views of the text; `peer` is the bar, 2. In `details`: the seconds until all panels are drawn; the
bytes of each panel; for a random model of 30 layers and 9 heads, the share of late frames (more than a sixtieth of a
second, with a quarter's tolerance) while the map of 512 tokens scrolls, and while the pointer moves over a pattern of
512 x 512; and the seconds to the first and to all panels of 2,048 tokens.

`--long` opens a text of 2,048 tokens in SmolLM2-135M-Instruct instead. `ours` is the median milliseconds of a frame
while its map scrolls, and `peer` a sixtieth of a second. In `details`: the seconds to the first and to all panels and
from a click on another token until all panels follow, frames, bytes received, and the page's memory of scripts. Needs
Playwright and Chromium (or SAYSO_CHROMIUM).
"""

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from bench.harness import parser, result, say, sized
from bench.page import FRAME, FRAMES, serving
from bench.smollm2 import TEXT, random_model, smollm2
from sayso.feedback.store import Store
from sayso.model import ModelConfig
from sayso.reply import Replier
from sayso.token.train import train
from sayso.xray.view import View

BAR = 2.0  # seconds
TOKENS, LONG, HUGE, STEPS = sized((48, 512, 2048, 120), (12, 60, 80, 4))
SCROLL = """
const box = document.querySelector(".scroller.map");
box.scrollLeft = (box.scrollWidth - box.clientWidth) * i / steps;
"""
POINT = """
const square = document.querySelector(".square"), box = square.getBoundingClientRect();
const at = { clientX: box.left + 2, clientY: box.top + box.height * (0.1 + 0.8 * i / steps) };
square.dispatchEvent(new PointerEvent("pointermove", at));
"""
DOWN = "scrollTo(0, (document.documentElement.scrollHeight - innerHeight) * i / steps);"
RECEIVED = """[
  performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/api/xray"))
    .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0),
  performance.memory.usedJSHeapSize,
]"""


def main() -> None:
    """Measure, and print the figures."""
    arguments = parser("xray", __doc__)
    arguments.add_argument("--rounds", type=int, default=sized(5, 1))
    arguments.add_argument("--long", action="store_true", help="only a text of 2,048 tokens in SmolLM2")
    given = arguments.parse_args()
    rounds = given.rounds
    path = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        replier = Replier(*smollm2())
        if given.long:
            found = long(browser, replier)
            result("xray", "ms a frame, 2,048 tokens", found["frames"]["map"]["median"], FRAME / 1.25, **found)
            return
        with running(replier) as address:
            texts = [some(replier, TOKENS, start) for start in range(rounds)]
            times = [opened(browser, address, text) for text in texts]
        sizes = weights(View(replier.model, replier.tokenizer, replier.text_ids(texts[0])))
        wide = large()
        with running(wide) as address:
            late = frames(browser, address, some(wide, LONG, 0))
            huge = opened(browser, address, some(wide, HUGE - 8, 0))
        browser.close()
    first = statistics.median(one for one, _ in times)
    result("xray", "s from the click to the first panel", first, BAR, first=[one for one, _ in times],
           all_panels=[whole for _, whole in times], bytes=sizes, late_frames=late, tokens=TOKENS,
           long={"tokens": HUGE, "first": huge[0], "all_panels": huge[1]})  # fmt: skip


def long(browser: Browser, replier: Replier) -> dict[str, Any]:
    """Return what a long text costs: seconds, frames, bytes received, and memory."""
    page = browser.new_page(viewport={"width": 1100, "height": 750})
    page.set_default_timeout(900_000)
    with running(replier) as address:
        page.goto(f"{address}/xray?text={quote(some(replier, HUGE - 8, 0))}", wait_until="commit")
        page.wait_for_selector("#tokens .chips")
        first = seconds(page)
        page.wait_for_selector("body[data-drawn]")
        whole = seconds(page)
        say(f"first panel after {first:.2f} s, all after {whole:.2f} s")
        times = moving(page, {"map": SCROLL, "pattern": POINT, "page": DOWN})
        page.evaluate("delete document.body.dataset.drawn")
        clicked = seconds(page)
        page.locator("#tokens .token").nth(5).click()
        page.wait_for_selector("body[data-drawn]")
        followed = seconds(page) - clicked
        received, memory = page.evaluate(RECEIVED)
    page.close()
    return {
        "tokens": HUGE, "first": round(first, 2), "all_panels": round(whole, 2), "frames": times,
        "after_a_click": round(followed, 2), "bytes": received, "script_memory": memory, "load": os.getloadavg()[0],
    }  # fmt: skip


def seconds(page: Page) -> float:
    """Return the seconds since the navigation."""
    return float(page.evaluate("performance.now()")) / 1000


def some(replier: Replier, count: int, start: int) -> str:
    """Return a text of about `count` tokens, which may be split otherwise at its end; another one for each start."""
    words = TEXT.split()
    many = " ".join(words[(start + i) % len(words)] for i in range(2 * count))
    ids = replier.text_ids(many)[: count + 1]
    return replier.tokenizer.decode(ids)


def large() -> Replier:
    """Return a model of 30 layers and 9 heads with random weights and a small width, which computes fast."""
    layers, heads = sized((30, 9), (2, 2))
    shape = ModelConfig(512, layers, 16 * heads, heads, heads, 16, 64, context=2 * HUGE, qk_norm="none")
    return Replier(random_model(shape), train("bpe", [TEXT] * 50, 512))


@contextmanager
def running(replier: Replier) -> Iterator[str]:
    """Serve a model with an empty store; yield the address."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Store(Path(folder) / "store.sqlite")) as store,
        serving(replier, store) as address,
    ):
        yield address


def opened(browser: Browser, address: str, text: str) -> tuple[float, float]:
    """Return the seconds from the navigation to the first panel, and to the last one."""
    context = browser.new_context(viewport={"width": 1100, "height": 750})
    page = context.new_page()
    page.set_default_timeout(300_000)
    page.goto(f"{address}/xray?text={quote(text)}", wait_until="commit")
    page.wait_for_selector("#tokens .chips")
    first = float(page.evaluate("performance.now()")) / 1000
    page.wait_for_selector("body[data-drawn]")
    whole = float(page.evaluate("performance.now()")) / 1000
    context.close()
    say(f"first panel after {first:.2f} s, all after {whole:.2f} s")
    return round(first, 3), round(whole, 3)


def weights(view: View) -> dict[str, int]:
    """Return the bytes of each panel, of the last position and layer."""
    last, layer = view.length - 1, view.network.config.layers - 1
    where: dict[str, dict[str, int]] = {
        "embedding": {"position": last},
        "head": {"layer": layer, "head": 0},
        "written": {"layer": layer, "head": 0, "position": last},
        "neurons": {"layer": layer, "position": last, "target": 5},
        "logits": {"position": last},
        "why": {"position": last},
    }
    kinds = ("tokens", "embedding", "positions", "map", "heads", "head", "written", "neurons", "logits", "why", "words")
    return {kind: len(view.panel(kind, **where.get(kind, {})).packed()) for kind in kinds}


def frames(browser: Browser, address: str, text: str) -> dict[str, dict[str, float]]:
    """Return the frame times of `moving` while the map is scrolled and the pointer moves over a pattern."""
    page: Page = browser.new_page(viewport={"width": 1100, "height": 750})
    page.set_default_timeout(300_000)
    page.goto(f"{address}/xray?text={quote(text)}")
    page.wait_for_selector("body[data-drawn]")
    found = moving(page, {"map": SCROLL, "pattern": POINT})
    page.close()
    return found


def moving(page: Page, moves: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return, for each movement, how many frames were late (as a share) and how long the median frame took (in ms)."""
    page.evaluate(FRAMES, [SCROLL, STEPS])  # once, so that all pieces of the map are there
    page.wait_for_timeout(sized(4000, 200))
    found = {}
    for name, move in moves.items():
        times = page.evaluate(FRAMES, [move, STEPS])
        share = sum(time > FRAME for time in times) / len(times)
        found[name] = {"late": round(share, 3), "median": round(statistics.median(times), 1)}
        say(f"{name}: {statistics.median(times):.1f} ms a frame")
    return found


if __name__ == "__main__":
    main()
