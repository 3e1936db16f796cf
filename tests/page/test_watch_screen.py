"""The screen Watch in a real browser: charts, the way to the replies behind them, triage by keys, drift and trials."""

import re
from collections.abc import Callable

import pytest

from sayso.feedback.aliases import Aliases
from sayso.feedback.canary import CANDIDATE, CURRENT, GOOD, CanaryLog
from sayso.feedback.candidates import Candidate, Candidates
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.measures import hour_of
from sayso.feedback.store import Store
from sayso.feedback.tables import now
from sayso.feedback.traffic import MinuteCounts, keep_minutes

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
Replied = Callable[..., int]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
LOOP = "so it goes " * 20
WIDE = """view => [...view.querySelectorAll("*")].filter((one) => !one.closest(".scroller, svg")
  && one.getBoundingClientRect().right > view.getBoundingClientRect().right).map((one) => one.outerHTML)"""
"""What is wider than the window, but for tables, which scroll by themselves."""
PHONE = {"viewport": {"width": 390, "height": 800}}


@pytest.fixture
def lively(store: Store, replied: Replied) -> Store:
    """A store of two weeks: two models, ratings, flags, an alias, a canary, a shadow, failed requests; some hostile."""
    aliases = Aliases(store)
    stable = aliases.assign("stable", "tuned", "1" * 12, after=None)
    candidate = aliases.assign("candidate", HOSTILE, "2" * 12, after=None)
    for day in range(14):
        for place in range(3):
            number = replied(
                store, f"Tell me about cats {day}", "Cats are small.", 24 * day + 0.2, first=0.1 + 0.01 * day
            )
            store.thumb(number, 1 if place else -1)
        hidden = replied(store, HOSTILE, HOSTILE, 24 * day + 0.1, model=HOSTILE, route="shadow", tokens=20)
        Candidates(store).add("shadow", [Candidate("tuned", number), Candidate(HOSTILE, hidden)])
    replied(store, HOSTILE, LOOP + HOSTILE, 1, model=HOSTILE, route="/v1/messages")
    replied(store, "Sing", LOOP, 2)
    list(Flags(store).scan([DETECTORS["loop"]]))
    keep_minutes(
        store, [MinuteCounts(hour_of(now()) * 60, "tuned", requests=10, failed=2, begun=8, waited=4.0, waiting=3)]
    )
    log = CanaryLog(store, candidate)
    log.begin(stable, 0.5)
    for place in range(4):
        log.add((CANDIDATE, CURRENT)[place % 2], str(place))
        log.add((CANDIDATE, CURRENT)[place % 2], str(place), GOOD)
    return store


def test_without_replies_it_says_what_fills_it(visit: Open) -> None:
    """With the command; the triage and the list as well."""
    page = visit(path="/#/watch")
    page.get_by_text("There are no replies yet: talk to the model in the chat").wait_for()
    page.goto(page.url.split("#")[0] + "#/watch/flags")
    page.get_by_text("There are no flags yet; sayso flags scan").wait_for()
    page.goto(page.url.split("#")[0] + "#/watch/replies")
    page.get_by_text("There are no such replies.").wait_for()


def test_from_a_number_to_the_replies_to_the_chat(visit: Open, lively: Store) -> None:
    """By a link of the table; the address keeps what is shown, and leads back to it."""
    page = visit(path="/#/watch?days=30")
    links = page.get_by_role("region", name="In short").get_by_role("link")
    links.first.get_by_text("44", exact=True).wait_for()
    links.nth(1).click()
    page.get_by_role("combobox", name="Replies").wait_for()
    expect(page).to_have_url(re.compile("kind=first_seconds"))
    entries = page.locator(".replies li")
    expect(entries.first).to_contain_text("0.23 s")
    page.reload()
    entries.first.get_by_role("link").click()
    page.locator(".turn[data-role=reply]").get_by_text("Cats are small.").wait_for()
    page.get_by_role("link", name="Open the conversation in the chat").click()
    page.locator(".reply > .words").get_by_text("Cats are small.").wait_for()


def test_percentiles_stand_beside_the_mean(visit: Open, lively: Store) -> None:
    """In the chart of all replies and its table; in short of each model, where a link leads to the slowest replies."""
    page = visit(path="/#/watch?days=30")
    figure = page.locator("figure", has_text="Time to first token")
    sync_api.expect(figure.get_by_role("group", name="Series").get_by_role("button")).to_have_text(
        ["mean", "p50", "p90", "p99"]
    )
    short = page.get_by_role("region", name="In short")
    sync_api.expect(short.get_by_role("row", name="Time to first token, p90")).to_contain_text("220 ms")
    sync_api.expect(short.get_by_role("row", name="Time per token, p99")).to_contain_text("100 ms")
    page.get_by_role("combobox", name="Split by").select_option("model")
    sync_api.expect(figure.get_by_role("group", name="Series").get_by_role("button")).to_have_count(2)
    short.get_by_role("row", name="Time to first token, p99").get_by_role("link").first.click()
    page.locator(".replies li").first.wait_for()
    assert "kind=first_seconds&" in page.url


def test_from_a_point_of_a_chart_to_its_replies_by_keyboard(visit: Open, lively: Store) -> None:
    """End goes to the last day, Enter to its replies."""
    page = visit(path="/#/watch?days=7")
    plot = page.locator("figure", has_text="Tokens of a reply").locator("svg")
    plot.locator(".line").wait_for(state="attached")
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.locator(".replies li").first.wait_for()
    expect(page).to_have_url(re.compile("kind=tokens"))
    page.go_back()
    page.get_by_role("heading", name="In short").wait_for()


def test_the_address_is_what_is_shown(visit: Open, lively: Store) -> None:
    """Time, filter and split are in it, and a copy of it shows the same."""
    page = visit(path="/#/watch")
    page.get_by_role("combobox", name="Time").select_option("30")
    page.get_by_role("combobox", name="Split by").select_option("model")
    page.get_by_role("combobox", name="Of").select_option("model:tuned")
    page.get_by_role("region", name="In short").get_by_role("columnheader", name="tuned").wait_for()
    for kept in ("days=30", "by=model", "only=model%3Atuned"):
        expect(page).to_have_url(re.compile(kept))
    copy = visit(page.url.split("/#")[0], path="/#" + page.url.split("#")[1])
    copy.get_by_role("region", name="In short").get_by_role("columnheader", name="tuned").wait_for()
    expect(copy.get_by_role("combobox", name="Split by")).to_have_value("model")
    page.get_by_role("combobox", name="Of").select_option("")
    page.get_by_role("button", name="Earlier").click()
    page.get_by_text("There are no replies in this time.").wait_for()
    page.get_by_role("button", name="Later").click()
    page.get_by_role("heading", name="In short").wait_for()


def test_what_comes_in_is_shown_by_itself(visit: Open, lively: Store, replied: Replied) -> None:
    page = visit(path="/#/watch?days=30")
    replies = page.get_by_role("region", name="In short").get_by_role("link").first
    replies.get_by_text("44", exact=True).wait_for()
    page.mouse.move(2, 2)
    replied(lively, "Hi", "Hello", 0.1)
    replies.get_by_text("45", exact=True).wait_for()


def test_trials_drift_and_history_are_told(visit: Open, lively: Store) -> None:
    """In words and numbers; a name full of HTML is a name."""
    page = visit(path="/#/watch?days=30")
    page.get_by_role("heading", name=f"Canary {HOSTILE}, alias candidate").wait_for()
    page.get_by_text("Not decided yet").wait_for()
    shadow = page.get_by_role("region", name="Shadow")
    expect(shadow).to_contain_text("+9")
    drift = page.get_by_role("region", name="Drift")
    expect(drift).to_contain_text("What was answered")
    page.get_by_label("Reference week from").fill("2020-01-06")
    page.get_by_text("21 and 0").or_(page.get_by_text("23 and 0")).first.wait_for()
    expect(page).to_have_url(re.compile("week="))
    expect(page.get_by_role("region", name="Live").locator("tbody tr")).to_have_count(2)
    shadow.get_by_role("link").click()
    expect(page.locator(".replies li")).to_have_count(14)
    assert page.locator(".replies img, .replies script").count() == 0


def test_flags_are_triaged_by_keys(visit: Open, lively: Store) -> None:
    """R and F decide and go on, K goes back, O opens again; letters in the reason are letters."""
    page = visit(path="/#/watch/flags")
    page.get_by_label("Flags").get_by_role("button").nth(1).wait_for()
    page.locator(".turn[data-role=reply]").wait_for()
    page.keyboard.press("r")
    page.get_by_label("Flags").get_by_text("real,").wait_for()
    page.keyboard.press("f")
    page.get_by_label("Flags").get_by_text("false,").wait_for()
    assert sorted(flag.state for flag in Flags(lively).listed(None)) == ["false", "real"]
    page.keyboard.press("k")
    page.get_by_label("Reason").fill("")
    page.get_by_label("Reason").press_sequentially("for rex")
    expect(page.get_by_label("Reason")).to_have_value("for rex")
    page.get_by_label("Reason").press("Tab")
    page.locator(".triage").press("x")
    page.get_by_label("Flags").get_by_text("fixed,").wait_for()
    fixed = next(flag for flag in Flags(lively).listed(None) if flag.state == "fixed")
    assert fixed.reason == "for rex"
    page.reload()
    page.get_by_text("No flag is open.").wait_for()


def test_a_reply_of_the_api_is_read_as_text(visit: Open, lively: Store) -> None:
    """The prompt is text and the reply safe HTML; there is no way to the chat, which cannot show it."""
    number = next(
        flag.message_id for flag in Flags(lively).listed(None) if HOSTILE in lively.message(flag.message_id).content
    )
    page = visit(path=f"/#/watch/reply/{number}")
    page.locator(".turn[data-role=user]").get_by_text(HOSTILE).wait_for()
    assert page.locator(".thread img, .thread script").count() == 0
    assert page.get_by_role("link", name="Open the conversation in the chat").count() == 0
    page.goto(page.url.split("#")[0] + "#/watch/reply/9999")
    page.get_by_role("alert").get_by_text("There is no message 9999.").wait_for()


def test_it_shuts_no_one_out(
    visit: Open, lively: Store, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing in any part, light and dark, desk and phone; nothing is wider than a phone."""
    number = Flags(lively).listed()[0].message_id
    address = visit(path="/#/watch?days=30&by=model")
    address.get_by_role("region", name="Shadow").wait_for()
    base, faults = address.url.split("/#")[0], set[str]()
    for settings in ({}, PHONE):
        for path, ready in (
            ("/#/watch?days=30&by=model", ".extra table"),
            ("/#/watch/replies", ".replies li"),
            (f"/#/watch/reply/{number}", ".facts"),
            ("/#/watch/flags", ".turn[data-role=reply]"),
        ):
            page = visit(base, path=path, **settings)
            page.locator(ready).first.wait_for()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                faults.update(f"{path}, {scheme}, {settings}: {told}" for told in accessibility_faults(page))
            assert page.locator("#view").evaluate(WIDE) == []
    assert faults == set()
