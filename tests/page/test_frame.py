"""The page's frame and its charts in a real browser: addresses, the list of screens, values by hover and keyboard."""

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from sayso.feedback.store import Store
from sayso.report.chart import COLORS
from sayso.report.draw import scale, short

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]

DRAWN = """async ({points, ...options}) => {
  const { chart } = await import("/page/chart.js");
  const view = document.querySelector("#view");
  document.body.dataset.screen = "drawn";
  document.querySelector("#chat").hidden = true;
  view.hidden = false;
  window.picked = [];
  const series = points.map((some, i) => ({ name: `series ${i + 1}`, points: some, ...options }));
  view.replaceChildren(chart({ title: "Loss", x: { name: "step" }, y: { name: "loss", log: options.log }, series,
    pick: (x) => window.picked.push(x) }));
}"""


def draw(page: sync_api.Page, **options: Any) -> None:
    """Draw a chart where the screens are, once the page has opened its first one."""
    page.get_by_role("heading", name="Say something.").wait_for()
    page.evaluate(DRAWN, options)
    page.locator(".plot .line").first.wait_for()


def test_an_unknown_screen_is_named(visit: Open) -> None:
    """With a way back to the chat, which is still there."""
    page = visit(path="/#/nothing")
    page.get_by_text("There is no screen “nothing”.").wait_for()
    page.get_by_role("link", name="Go to the chat.").click()
    page.get_by_role("heading", name="Say something.").wait_for()
    expect(page.get_by_role("link", name="Chat")).to_have_attribute("aria-current", "page")


def test_the_number_of_a_conversation_alone_opens_it(visit: Open, store: Store) -> None:
    """As in addresses that the page made earlier; an unknown conversation is said to be missing."""
    store.say(store.new_conversation().id, "hello there")
    page = visit(path="/#1")
    page.get_by_label("You said").get_by_text("hello there").wait_for()
    page.goto(page.url.split("#")[0] + "#/chat/99")
    page.get_by_role("alert").get_by_text("There is no conversation 99.").wait_for()


def test_charts_of_the_page_have_the_colors_of_the_report() -> None:
    """In light and in dark."""
    page = (files("sayso.serve") / "page" / "page.css").read_text("utf-8")
    report = (files("sayso.report") / "page.css").read_text("utf-8")
    drawn = re.findall(r"\.s\d\b[^{]*{ --c: light-dark\((#\w{6}), (#\w{6})\)", page)
    assert sorted(light for light, _ in drawn) == sorted(COLORS)
    for name in ("aligned", "tuned", "base", "error"):
        light, dark = re.findall(rf"--{name}: (#\w{{6}})", report)[:2]
        assert (light, dark) in drawn


def test_axes_of_the_page_have_the_ticks_of_the_report(visit: Open) -> None:
    """The same round numbers, written in the same way."""
    page = visit()
    ranges = [(0, 7), (0.013, 0.98), (1.2, 9.9), (0, 52_500), (-3, 4), (0, 3e-5), (2e6, 9.3e6), (0, 8e9), (12, 13)]
    asked = "async (at) => (await import('/page/axis.js')).axis(at).ticks"
    for low, high in ranges:
        ticks = page.evaluate(asked, {"low": low, "high": high, "start": 0, "end": 100, "count": 5})
        assert [text for _, text in ticks] == [short(tick) for tick in scale(low, high).ticks]


def test_a_chart_has_the_unit_on_its_axis(visit: Open) -> None:
    """Tick labels are formatted like the values."""
    page = visit()
    page.get_by_role("heading", name="Say something.").wait_for()
    asked = "async (at) => (await import('/page/axis.js')).axis({ ...at, text: (value) => `${value} s` }).ticks"
    ticks = page.evaluate(asked, {"low": 0, "high": 1, "start": 0, "end": 100})
    assert [text for _, text in ticks] == ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s"]


def test_a_chart_tells_its_values_by_pointer_keyboard_and_table(visit: Open) -> None:
    """The value nearest to the pointer, one after the other by arrow keys, and all of them in the table."""
    page = visit()
    draw(page, points=[[[0, 4.0], [10, 2.0, 1.5, 2.5], [20, 1.0]], [[0, 5.0], [20, 3.0]]])
    plot = page.locator(".plot svg")
    plot.locator(".line").first.wait_for()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.53, box["y"] + 40)
    told = page.locator(".told")
    expect(told).to_have_text("10: series 1 2 (1.5 to 2.5)")
    plot.click(position={"x": box["width"] * 0.53, "y": 40})
    page.mouse.move(2, 2)  # so that only the keyboard chooses the point
    plot.focus()
    page.keyboard.press("Home")
    expect(told).to_have_text("0: series 1 4, series 2 5")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("20: series 1 1, series 2 3")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert page.evaluate("picked") == [10, 10]
    page.get_by_role("button", name="series 1").click()
    expect(plot.locator(".line")).to_have_count(1)
    page.get_by_text("Table").click()
    cells = page.locator(".behind tr").locator("th, td")
    expect(cells).to_have_text(["step", "series 1", "series 2", "0", "4", "5", "20", "1", "3"])


def test_a_thinned_line_keeps_its_extremes(visit: Open) -> None:
    """Of 20,000 points far fewer are drawn, and the one that sticks out is among them."""
    page = visit()
    points = [[x, 9.0 if x == 12_345 else 1 + x % 2] for x in range(20_000)]
    draw(page, points=[points])
    line = page.locator(".plot .line")
    line.wait_for()
    drawn = (line.get_attribute("d") or "")[1:].split("L")
    heights = [float(point.split()[1]) for point in drawn]
    assert len(drawn) < 5_000
    assert sum(height < min(heights) + 1 for height in heights) == 1


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show(visit: Open) -> None:
    """Zero has no place on it; powers of ten are evenly spaced."""
    page = visit()
    draw(page, points=[[[1, 0.0], [2, 0.1], [3, 10.0], [4, 1000.0]]], log=True)
    line = page.locator(".plot .line")
    line.wait_for()
    heights = [float(point.split()[1]) for point in (line.get_attribute("d") or "")[1:].split("L")]
    assert len(heights) == 3
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)


def test_charts_shut_no_one_out(visit: Open, accessibility_faults: Callable[[sync_api.Page], list[str]]) -> None:
    """axe-core finds nothing, in light and dark, with the table open."""
    page = visit()
    draw(page, points=[[[0, 4.0], [10, 2.0]], [[0, 5.0], [20, 3.0]]])
    page.get_by_text("Table").click()
    page.locator(".behind td").first.wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert accessibility_faults(page) == []


def test_what_belongs_to_a_screen_goes_with_it(visit: Open, store: Store) -> None:
    """A question of one screen is dismissed by going to another, which has no buttons of the chat."""
    store.say(store.new_conversation().id, "hello there")
    page = visit(path="/#/chat/1")
    page.get_by_role("button", name="Export this conversation").wait_for()
    page.get_by_role("link", name="Rate").click()
    page.get_by_role("dialog").wait_for()
    expect(page.get_by_role("button", name="Export this conversation")).to_be_hidden()
    page.goto(page.url.split("#")[0] + "#/diagnose")
    page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_text("Draw a sample").wait_for(state="attached")
