"""The chat in a real browser: talk, rate, correct, compare; by keyboard, at phone width, in dark and light."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from sayso.feedback.store import Generation, Store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
CONTEXT = 512
Open = Callable[..., sync_api.Page]


def set_length(page: sync_api.Page, tokens: int) -> None:
    """Set the longest reply through the settings."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest reply").fill(str(tokens))
    page.get_by_role("button", name="Done").click()


def say(page: sync_api.Page, words: str) -> None:
    """Send a message with the keyboard and wait for the whole reply."""
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")
    page.locator(".reply .tools").last.wait_for()


def test_a_talk_is_rated_corrected_and_compared(visit: Open, store: Store) -> None:
    """A message is sent, its reply is rated, corrected and compared with another; the rows are in the store."""
    page = visit()
    page.get_by_role("heading", name="Say something.").wait_for()
    set_length(page, 60)
    say(page, "hello there")
    thread = page.get_by_role("log")
    expect(thread.get_by_label("You said")).to_have_text("hello there")
    [asked, reply] = store.branch(store.conversations()[0].id)
    assert (asked.content, reply.role) == ("hello there", "assistant")
    expect(page.locator(".reply > .words")).to_have_text(reply.content)

    page.get_by_role("button", name="Good reply").click()
    page.locator(".up[aria-pressed=true]").wait_for()
    [thumb] = store.ratings()
    assert (thumb.kind, thumb.value, thumb.message_id, thumb.snapshot["reply"]) == ("thumb", 1, reply.id, reply.content)

    page.get_by_role("button", name="Correct").click()
    page.get_by_label("Corrected reply").fill("Good **morning**.")
    page.get_by_role("button", name="Save").click()
    page.locator(".reply > .words strong", has_text="morning").wait_for()
    edit = store.ratings()[-1]
    assert (edit.kind, edit.text, edit.snapshot["reply"]) == ("edit", "Good **morning**.", reply.content)

    page.get_by_role("button", name="Another").click()
    page.get_by_role("heading", name="Which is better?").wait_for()
    page.get_by_role("button", name="The new reply is better").click()
    page.locator(".compare").wait_for(state="detached")
    choice = store.ratings()[-1]
    assert (choice.kind, choice.value, choice.rejected_id) == ("choice", 1, reply.id)
    assert choice.snapshot["rejected"]["reply"] == reply.content
    assert choice.snapshot["position"] in ("left", "right")
    assert store.branch(reply.conversation_id)[-1].id == choice.message_id
    expect(page.locator("#circle b")).to_have_text("3 ratings so far.")


def test_a_reply_streams_and_esc_stops_it(visit: Open, store: Store, pace: Any) -> None:
    """Text grows while the reply is on its way; Esc ends it, and what was said stays and can be rated."""
    page = visit()
    set_length(page, 100)
    pace.free.clear()
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    for length in (1, 3, 8):
        pace.give(length - len(said(page)))
        page.locator(".words.live").filter(has_text=re.compile(f"^.{{{length}}}$", re.DOTALL)).wait_for()
        expect(page.get_by_role("log")).to_have_attribute("aria-busy", "true")
    before = said(page)
    with page.expect_response("**/api/stop"):
        page.keyboard.press("Escape")
    pace.give(1)
    page.get_by_text("stopped, ").wait_for()
    reply = store.branch(1)[-1]
    assert reply.generation is not None
    assert (reply.generation.finish, reply.generation.completion_tokens) == ("stopped", 9)
    assert reply.content.startswith(before)
    page.get_by_role("button", name="Bad reply").click()
    page.locator(".down[aria-pressed=true]").wait_for()
    assert store.ratings()[0].value == -1


def said(page: sync_api.Page) -> str:
    """What has come of the reply that is on its way."""
    return "".join(page.locator(".words.live").all_text_contents())


def test_reasoning_is_folded(visit: Open, store: Store) -> None:
    """While it comes, and when the conversation is opened again; a copy has only the reply."""
    talk = store.new_conversation().id
    asked = store.say(talk, "hello")
    made = Generation("tuned", "0123456789ab", {}, "stop", 3, 5, 0.1)
    store.reply(asked.id, "<think>\nHm, *so*.\n</think>\n\nHi.", [{"role": "user", "content": "hello"}], made)
    page = visit(path=f"/#/chat/{talk}")
    thought = page.locator(".reply > .words > .thought")
    expect(page.locator(".reply > .words > p")).to_have_text("Hi.")
    expect(thought.locator("em")).to_be_hidden()
    thought.get_by_text("Reasoning").click()
    expect(thought.locator("em")).to_be_visible()
    expect(thought.locator("em")).to_have_text("so")

    events = [("start", {"generation": "g", "left_out": 0}),
              ("thought", {"text": "Hm, "}), ("thought", {"text": "no."}),
              ("piece", {"text": "Bye"}), ("error", {"error": {"message": "It broke."}})]  # fmt: skip
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    page.route("**/api/replies", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    page.get_by_label("Your message").fill("and?")
    page.keyboard.press("Enter")
    page.get_by_text("It broke.").wait_for()
    live = page.locator(".reply > .words").last
    expect(live).to_have_text("ReasoningHm, no.Bye")
    expect(live.locator(".thought")).to_have_text("ReasoningHm, no.")


def test_the_keyboard_is_enough(visit: Open, store: Store) -> None:
    """From a fresh page: write, new line, send, and reach every tool of the reply by Tab, in the order they stand."""
    page = visit()
    set_length(page, 20)
    page.get_by_label("Your message").focus()
    page.keyboard.type("first")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    page.locator(".reply .tools").wait_for()
    assert store.branch(1)[0].content == "first\nsecond"
    expect(page.get_by_label("Your message")).to_be_focused()
    names = []
    for _ in range(6):
        page.keyboard.press("Shift+Tab")
        names.append(page.evaluate("document.activeElement.className"))
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown == "solid"
    assert names == ["xray", "copy", "again", "edit", "icon down", "icon up"]
    page.keyboard.press("Enter")
    page.locator(".up[aria-pressed=true]").wait_for()
    page.keyboard.press("Enter")
    page.locator(".up[aria-pressed=false]").wait_for()
    assert [rating.value for rating in store.ratings()] == [1, 0]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("no")
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    expect(page.locator(".reply .edit")).to_be_focused()


def test_past_conversations_can_be_opened_and_deleted(visit: Open, store: Store) -> None:
    """A talk is found again after a reload, another is begun beside it, and deleting asks first."""
    page = visit()
    set_length(page, 10)
    say(page, "the first talk")
    page.reload()
    page.get_by_label("You said").get_by_text("the first talk").wait_for()
    page.get_by_role("button", name="New conversation").click()
    page.get_by_role("heading", name="Say something.").wait_for()
    say(page, "the second talk")
    titles = page.locator("#list .open")
    expect(titles).to_have_text(["the second talk", "the first talk"])
    titles.last.click()
    page.get_by_label("You said").get_by_text("the first talk").wait_for()
    page.get_by_role("button", name='Delete "the first talk"').click(force=True)
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name='Delete "the first talk"').click(force=True)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("heading", name="Say something.").wait_for()
    assert [talk.title for talk in store.conversations()] == ["the second talk"]


def test_a_question_is_decided_by_its_own_answer(visit: Open, store: Store) -> None:
    """However fast a question follows another, each answer counts for its own: keep, dismiss, delete."""
    for text in ("one", "two"):
        store.say(store.new_conversation().id, text)
    page = visit()
    expect(page.locator("#list .open")).to_have_text(["two", "one"])
    page.evaluate(
        """() => {
          const [two, one] = document.querySelectorAll("#list .remove");
          const answer = (name) => document.querySelector(`dialog[open] button[value=${name}]`).click();
          one.click(); answer("no");
          one.click(); document.querySelector("dialog[open]").close();
          two.click(); answer("yes");
        }"""
    )
    expect(page.locator("#list .open")).to_have_text(["one"])
    assert [talk.title for talk in store.conversations()] == ["one"]
    expect(page.locator("dialog[open]")).to_have_count(0)


Held = list[sync_api.Route]


def hold(page: sync_api.Page, path: str) -> Held:
    """Keep requests of a path from the server until they are let go."""
    held: Held = []
    page.route(path, lambda route: held.append(route))
    return held


def wait_for(page: sync_api.Page, held: Held, requests: int) -> None:
    """Wait until so many requests are held."""
    while len(held) < requests:
        page.wait_for_timeout(20)


def test_what_is_clicked_before_the_model_is_known_is_not_lost(visit: Open) -> None:
    """The settings and a first message wait for the answer to which model it is."""
    page = visit()
    address = page.url
    page.goto("about:blank")  # which asks for nothing
    held = hold(page, "**/api/model")
    page.goto(address)
    wait_for(page, held, 1)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Your message").fill("hello")
    page.get_by_label("Your message").press("Enter")
    held[0].continue_()
    page.get_by_label("Longest reply").fill("10")
    page.get_by_role("button", name="Done").click()
    page.locator(".reply .tools").wait_for()
    expect(page.get_by_label("You said")).to_have_text("hello")


def test_the_settings_are_those_that_the_server_declares(visit: Open) -> None:
    """One more than today is shown like the others, sent with a message, kept, and taken back by Defaults."""
    more = {"name": "min_p", "label": "Least share", "help": "Help.", "type": "range", "min": 0, "max": 1, "step": 0.1}
    page = visit()

    def add(route: sync_api.Route) -> None:
        body = route.fetch().json()
        body["settings"].append(more | {"default": 0.3})
        route.fulfill(json=body)

    page.route("**/api/model", add)
    page.reload()
    page.get_by_role("button", name="Settings").click()
    shown = [page.get_by_label(name) for name in ("Temperature", "Longest reply", "Least share")]
    shown[2].wait_for()
    asked = [[box.get_attribute(name) for name in ("type", "min", "max", "step")] for box in shown]
    assert asked == [["range", "0", "2", "0.05"], ["number", "1", str(CONTEXT), "1"], ["range", "0", "1", "0.1"]]
    for box, value in zip(shown, ("0.8", "200", "0.3"), strict=True):
        expect(box).to_have_value(value)
    expect(page.locator("#controls p").last).to_have_text("Help.")
    shown[1].fill("10")
    shown[2].fill("0.6")
    expect(page.locator("#controls output")).to_have_text(["0.8", "0.6"])
    page.get_by_role("button", name="Done").click()
    with page.expect_request("**/api/replies") as sent:
        say(page, "hello")
    wanted = sent.value.post_data_json
    assert wanted == {"message_id": wanted["message_id"], "temperature": 0.8, "max_tokens": 10, "min_p": 0.6}
    page.get_by_role("button", name="Settings").click()
    for box, value in zip(shown, ("0.8", "10", "0.6"), strict=True):
        expect(box).to_have_value(value)
    page.get_by_role("button", name="Defaults").click()
    for box, value in zip(shown, ("0.8", "200", "0.3"), strict=True):
        expect(box).to_have_value(value)


def test_a_message_is_sent_once_and_what_is_typed_meanwhile_stays(visit: Open, store: Store) -> None:
    """Enter pressed twice while the message is on its way sends one."""
    page = visit()
    set_length(page, 10)
    held = hold(page, "**/api/messages")
    box = page.get_by_label("Your message")
    box.fill("hello")
    box.press("Enter")
    wait_for(page, held, 1)
    box.press("Enter")
    box.press_sequentially(" and more")
    held[0].continue_()
    page.locator(".reply .tools").wait_for()
    assert [turn.role for turn in store.branch(1)] == ["user", "assistant"]
    expect(box).to_have_value("hello and more")
    assert len(held) == 1


def test_a_late_answer_does_not_replace_what_was_opened_after(visit: Open, store: Store) -> None:
    """A conversation that comes late is not shown over the one that was opened while it was on its way."""
    for text in ("slow", "fast"):
        store.say(store.new_conversation().id, text)
    page = visit()
    held = hold(page, "**/api/conversations/1")
    page.locator("#list .open", has_text="slow").click()
    wait_for(page, held, 1)
    page.locator("#list .open", has_text="fast").click()
    page.get_by_label("You said").get_by_text("fast").wait_for()
    with page.expect_response("**/api/conversations/1"):
        held[0].continue_()
    page.get_by_role("button", name="Settings").click()  # whatever the late answer does is done
    expect(page.get_by_label("You said")).to_have_text(["fast"])
    expect(page.locator("#list [aria-current]")).to_have_text("fast")
    expect(page).to_have_url(re.compile("#/chat/2$"))


def test_an_error_is_said_in_the_page_and_the_talk_goes_on(visit: Open, store: Store) -> None:
    """A server that cannot be reached, then a message that is too long: each is said, and can be mended."""
    page = visit()
    set_length(page, 10)
    page.route("**/api/replies", lambda route: route.abort())
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert")
    problem.get_by_text("The server cannot be reached").wait_for()
    page.unroute("**/api/replies")
    page.get_by_role("button", name="Try again").click()
    page.locator(".reply .tools").wait_for()
    expect(problem).to_be_hidden()
    page.get_by_label("Your message").fill("the cat " * CONTEXT)
    page.keyboard.press("Enter")
    problem.get_by_text(f"context is {CONTEXT} tokens").wait_for()
    assert [turn.role for turn in store.branch(1)] == ["user", "assistant", "user"]
    page.get_by_role("button", name="New conversation").click()
    say(page, "hello again")
    expect(problem).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_room_for_all_of_it(visit: Open, scheme: str) -> None:
    """At 360 pixels nothing sticks out; the list is a drawer; text and ground differ enough in dark and light."""
    phone = {"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True}
    page = visit(**phone, color_scheme=scheme, reduced_motion="reduce")  # no colour is measured half way
    set_length(page, 40)
    say(page, "a long word: " + "x" * 200)
    page.get_by_role("button", name="Another").click()
    page.get_by_role("button", name="The new reply is better").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.get_by_role("button", name="New conversation")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="New conversation").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New conversation").wait_for(state="hidden")
    assert contrast(page, ".user p") >= 4.5
    assert contrast(page, ".quiet") >= 4.5
    page.locator(".choose:enabled").first.wait_for()  # when the new reply is whole
    assert contrast(page, ".choose:enabled") >= 4.5


def contrast(page: sync_api.Page, selector: str) -> float:
    """The contrast ratio of an element's text to the nearest painted ground (WCAG 2, 1.4.3)."""
    return page.evaluate(
        """(selector) => {
          const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
          const light = (colour) => {
            const [r, g, b] = numbers(colour).slice(0, 3).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const element = document.querySelector(selector);
          let ground = element;
          while (numbers(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
          const both = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor].map(light);
          return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        }""",
        selector,
    )


def test_a_server_with_a_key_asks_for_it_once(visit: Open, serve: Callable[..., str], store: Store) -> None:
    """The page opens without the key, asks for it, and brings it with everything after."""
    page = visit(serve(key="secret"))
    page.get_by_label("API key", exact=True).fill("secret")
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("heading", name="Say something.").wait_for()
    page.reload()
    page.get_by_role("heading", name="Say something.").wait_for()
    set_length(page, 10)
    say(page, "hello")
    assert len(store.conversations()) == 1


def test_no_one_is_shut_out_of_the_page(
    visit: Open, store: Store, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing: empty, with a talk that is compared, with each dialog; light and dark, desk and phone."""
    page = visit(reduced_motion="reduce")  # colors in mid-change are none
    faults = set()

    def look(state: str) -> None:
        for width, scheme in ((1100, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 750})
            page.emulate_media(color_scheme=scheme)
            faults.update(f"{state}, {scheme}: {told}" for told in accessibility_faults(page))
        page.set_viewport_size({"width": 1100, "height": 750})

    page.get_by_role("heading", name="Say something.").wait_for()
    look("empty")
    set_length(page, 60)
    say(page, "hello there")
    page.get_by_role("button", name="Good reply").click()
    page.locator(".up[aria-pressed=true]").wait_for()
    page.get_by_role("button", name="Another").click()
    page.get_by_role("heading", name="Which is better?").wait_for()
    look("comparing")
    page.get_by_role("button", name="The new reply is better").click()
    page.locator(".compare").wait_for(state="detached")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest reply").wait_for()
    look("settings")
    assert not faults, "\n".join(sorted(faults))
