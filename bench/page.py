"""The page in Chromium: first paint, long conversations, long lists, large charts, and the weight of its files.

    python -m bench.page [--rounds 5]

A server with a small random model and a store that was filled by the store's own methods. `ours` is the first
contentful paint in milliseconds, the median over fresh browser contexts; `peer` is the bar, 300. In `details`: the
share of frames of more than a sixtieth of a second (with a quarter's tolerance) while a conversation of 500 turns and a
list of 10,000 conversations scroll, and while the pointer moves over a chart of 10,000 points; and the total bytes of
the scripts and styles of all screens as the server sends them, uncompressed (bar: 150,000), beside those of the x-ray,
which is a page of its own. Needs Playwright and Chromium (or SAYSO_CHROMIUM).
"""

import os
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import sqlalchemy as sql
from playwright.sync_api import Browser, Page, sync_playwright

from bench.harness import parser, result, say, sized
from bench.servers import small_model
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import conversations, messages, now
from sayso.reply import Replier
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.serve.page_files import page_files, xray_files
from sayso.serve.server import Server

BAR = 300.0  # milliseconds
TURNS, TALKS, POINTS, STEPS = sized((500, 10_000, 10_000, 120), (6, 250, 300, 4))
FRAME = 1000 / 60 * 1.25  # milliseconds; a later frame is counted as missed
WORDS = "the cat sat on the mat and the dog said hello to the cat. "
MADE = Generation("model", "0123456789ab", {"temperature": 0.8}, "stop", 40, 60, 0.4)
# Moves something once per frame, `steps` times, and returns the milliseconds between frames.
FRAMES = """async ([move, steps]) => {
  const act = new Function("i", "steps", move);
  const times = [];
  for (let i = 0; i <= steps; i += 1) {
    act(i, steps);
    times.push(await new Promise((resolve) => requestAnimationFrame(resolve)));
  }
  return times.slice(1).map((time, i) => time - times[i]);
}"""
SCROLL = "const box = document.querySelector('%s'); box.scrollTop = (box.scrollHeight - box.clientHeight) * %s;"
CHART = """async (count) => {
  const { chart } = await import("/page/chart.js");
  document.querySelector("#chat").hidden = true;
  const view = document.querySelector("#view");
  view.hidden = false;
  const points = Array.from({ length: count }, (_, i) => [i, 3 + Math.sin(i / 300) + Math.random()]);
  const series = [{ name: "a", points }, { name: "b", points: points.map(([x, y]) => [x, y / 2]) }];
  view.replaceChildren(chart({ title: "Loss", x: { name: "step" }, y: { name: "loss" }, series }));
  await new Promise((resolve) => setTimeout(resolve, 300));
}"""
POINT = """
const plot = document.querySelector(".plot svg"), box = plot.getBoundingClientRect();
const at = { clientX: box.left + box.width * i / steps, clientY: box.top + 50 };
plot.dispatchEvent(new PointerEvent("pointermove", at));
"""


def main() -> None:
    """Measure, and print the figures."""
    arguments = parser("page", __doc__)
    arguments.add_argument("--rounds", type=int, default=sized(5, 1))
    rounds = arguments.parse_args().rounds
    path = os.environ.get("SAYSO_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        store = Store(Path(folder) / "store.sqlite")
        fill(store)
        with running(store) as address:
            paints = [first_paint(browser, address) for _ in range(rounds)]
            page = browser.new_page(viewport={"width": 1100, "height": 750})
            late = {name: late_frames(page, address, name) for name in ("conversation", "list", "chart")}
            page_bytes, xray_bytes = (sum(weights(address, some)) for some in (page_files(), xray_files()))
        store.close()
        browser.close()
    median = statistics.median(paints)
    result("page", "ms to first paint", median, BAR, paints=paints, late_frames=late, bytes=page_bytes,
           xray_bytes=xray_bytes, turns=TURNS, conversations=TALKS, points=POINTS)  # fmt: skip


def fill(store: Store) -> None:
    """Write a conversation of many turns, and many conversations of one message."""
    at = now()
    with store.engine.execution_options(writes=True).begin() as connection:
        rows = [
            {"title": f"conversation {i}", "head_id": i + 1, "created_at": at, "updated_at": at} for i in range(TALKS)
        ]
        connection.execute(conversations.insert(), rows)
        said = [
            {"conversation_id": i + 1, "role": "user", "content": f"{WORDS}{i}", "created_at": at} for i in range(TALKS)
        ]
        connection.execute(sql.insert(messages), said)
    long = store.new_conversation().id
    for _ in range(TURNS // 2):
        asked = store.say(long, WORDS)
        store.reply(asked.id, f"**{WORDS}**\n\n" + WORDS * 4, [{"role": "user", "content": WORDS}], MADE)


@contextmanager
def running(store: Store) -> Iterator[str]:
    """Serve a small model; yield the address."""
    with serving(Replier(*small_model(WORDS)), store) as address:
        yield address


@contextmanager
def serving(replier: Replier, store: Store) -> Iterator[str]:
    """Serve a model on a free port, in a thread; yield the address."""
    app = make_app(replier, store, "model")
    listening = listen("127.0.0.1", 0)
    server = Server(app, app.state.models.drain, grace=0, log_level="critical")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def weights(address: str, paths: Iterable[str]) -> Iterator[int]:
    """Yield the bytes of each script and style sheet as the server sends it."""
    for path in paths:
        if path.endswith((".js", ".css")):
            with urlopen(f"{address}{path}") as reply:
                yield len(reply.read())


def first_paint(browser: Browser, address: str) -> float:
    """Return the milliseconds from the navigation to the first contentful paint, with an empty cache."""
    context = browser.new_context(viewport={"width": 1100, "height": 750})
    page = context.new_page()
    page.goto(address)
    paints = "performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)"
    while not (found := page.evaluate(paints)):  # the page's policy forbids to wait for an expression in it
        page.wait_for_timeout(5)
    paint = float(found[0])
    context.close()
    return round(paint, 1)


def late_frames(page: Page, address: str, what: str) -> dict[str, Any]:
    """Return the share of late frames, and the median and longest frame time in milliseconds."""
    page.goto("about:blank")
    page.goto(f"{address}/#/chat/{TALKS + 1}")
    page.locator(".reply .tools").last.wait_for(state="attached")
    if what == "chart":
        page.evaluate(CHART, POINTS)
    if what == "list":
        for _ in range(TALKS // 200):
            page.evaluate("document.querySelector('#past').scrollTop = 1e9")
            page.wait_for_timeout(sized(60, 20))
    moves = {
        "conversation": SCROLL % ("#scroll", "(1 - i / steps)"),
        "list": SCROLL % ("#past", "i / steps"),
        "chart": POINT,
    }
    frames = page.evaluate(FRAMES, [moves[what], STEPS])
    say(f"{what}: {statistics.median(frames):.1f} ms a frame")
    share = sum(frame > FRAME for frame in frames) / len(frames)
    return {"late": round(share, 3), "median": round(statistics.median(frames), 1), "worst": round(max(frames), 1)}


if __name__ == "__main__":
    main()
