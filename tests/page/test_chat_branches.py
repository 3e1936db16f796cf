"""The chat in a real browser: versions of a message, the system message, two models, search, export, code, news."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.feedback.store import Generation, Store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
MADE = Generation("tuned", "0123456789ab", {"temperature": 0.5, "seed": 7, "top_k": 40}, "stop", 3, 5, 0.1)


def told(store: Store, said: str, reply: str, talk: int | None = None) -> int:
    """Say something in a conversation, with a reply; return the conversation's id."""
    talk = talk or store.new_conversation().id
    asked = store.say(talk, said)
    store.reply(asked.id, reply, [{"role": "user", "content": said}], MADE)
    return talk


def test_an_edited_message_begins_a_branch_and_both_can_be_walked(visit: Open, store: Store) -> None:
    """The first version and its replies are still there; the shown branch is the one that goes on."""
    talk = told(store, "first words", "first reply")
    told(store, "more", "second reply", talk)
    page = visit(path=f"/#/chat/{talk}")
    page.evaluate("localStorage.setItem('sayso-settings', JSON.stringify({ max_tokens: 5 }))")
    page.get_by_role("button", name="Edit and send again").first.click()
    page.get_by_label("Edited message").fill("other words")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("You said").get_by_text("other words").wait_for()
    page.locator(".reply .tools").wait_for()
    expect(page.get_by_label("You said")).to_have_text(["other words"])
    assert store.branch(talk)[0].content == "other words"
    expect(page.locator("#list .open")).to_have_text(["other words"])
    expect(page.locator(".user .versions")).to_have_text("‹2 of 2›")

    page.get_by_role("button", name="Previous version").click()
    page.locator(".reply").filter(has_text="second reply").wait_for()
    expect(page.get_by_label("You said")).to_have_text(["first words", "more"])
    assert store.branch(talk)[-1].content == "second reply"
    expect(page.get_by_role("button", name="Next version")).to_be_focused()
    page.reload()
    page.locator(".reply").filter(has_text="second reply").wait_for()


def test_other_replies_to_a_message_can_be_walked(visit: Open, store: Store) -> None:
    """A regenerated reply stands beside the one before it."""
    talk = told(store, "hello", "one reply")
    asked = store.branch(talk)[0]
    store.reply(asked.id, "another reply", [{"role": "user", "content": "hello"}], MADE)
    page = visit(path=f"/#/chat/{talk}")
    page.locator(".reply > .words", has_text="another reply").wait_for()
    page.locator(".reply").get_by_role("button", name="Previous version").click()
    page.locator(".reply > .words", has_text="one reply").wait_for()
    assert store.branch(talk)[-1].content == "one reply"


def test_the_system_message_is_sent_and_kept_with_the_reply(visit: Open, store: Store) -> None:
    """It stands before the conversation in the reply's prompt, and not among the messages."""
    page = visit()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System message").fill("Be <b>kind</b>.")
    page.get_by_label("Longest reply").fill("5")
    page.get_by_text("More settings").click()
    page.get_by_label("Min tokens").fill("2")
    page.get_by_label("Seed").fill("3")
    page.get_by_role("button", name="Done").click()
    with page.expect_request("**/api/replies") as sent:
        page.get_by_label("Your message").fill("hello")
        page.keyboard.press("Enter")
    wanted = sent.value.post_data_json
    page.locator(".reply .tools").wait_for()
    assert wanted == {
        "message_id": 1, "temperature": 0.8, "max_tokens": 5, "min_tokens": 2, "seed": 3, "system": "Be <b>kind</b>."
    }  # fmt: skip
    branch = store.branch(1)
    assert [turn.role for turn in branch] == ["user", "assistant"]
    assert store.message(branch[1].id).prompt == [
        {"role": "system", "content": "Be <b>kind</b>."}, {"role": "user", "content": "hello"}
    ]  # fmt: skip


def test_conversations_are_found_by_the_words_in_them(visit: Open, store: Store) -> None:
    """All words, in any message; the characters of patterns stand for themselves."""
    told(store, "about cats", "They purr at 100% of the time.")
    told(store, "about dogs", "They bark.")
    page = visit()
    titles = page.locator("#list .open")
    titles.nth(1).wait_for()
    page.get_by_label("Search conversations").fill("PURR cats")
    page.locator("#list .open", has_text="about dogs").wait_for(state="detached")
    expect(titles).to_have_text(["about cats"])
    page.get_by_label("Search conversations").fill("100_")
    page.get_by_text("No conversation has these words.").wait_for()
    page.get_by_label("Search conversations").fill("100%")
    titles.filter(has_text="about cats").wait_for()
    page.get_by_label("Search conversations").fill("")
    titles.filter(has_text="about dogs").wait_for()


@pytest.mark.parametrize("form", ["Markdown", "JSON"])
def test_a_conversation_is_exported_with_its_settings(visit: Open, store: Store, tmp_path: Path, form: str) -> None:
    """What was said, by whom, with the settings and the correction."""
    talk = told(store, "hello there", "Hi <b>you</b>.")
    store.edit(store.branch(talk)[1].id, "Hello.")
    page = visit(path=f"/#/chat/{talk}")
    page.get_by_role("button", name="Export this conversation").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=form).click()
    saved.value.save_as(tmp_path / "talk")
    text = (tmp_path / "talk").read_text(encoding="utf-8")
    if form == "Markdown":
        assert saved.value.suggested_filename == f"conversation-{talk}.md"
        assert text == (
            "# hello there\n\n## User\n\nhello there\n\n## tuned\n\nHello.\n\n"
            "*5 tokens in 0.1 s, stop, corrected; temperature 0.5, seed 7, top_k 40*\n"
        )
    else:
        rows = json.loads(text)["messages"]
        assert [row["role"] for row in rows] == ["user", "assistant"]
        assert rows[1]["generation"]["sampling"] == MADE.sampling
        assert (rows[1]["content"], rows[1]["edit"]) == ("Hi <b>you</b>.", "Hello.")


def test_code_can_be_copied_by_itself(visit: Open, store: Store) -> None:
    """Each block has a button of its own."""
    talk = told(store, "code", "Here:\n\n```\nprint(1)\n```\n\nand\n\n```\nprint(2)\n```\n")
    page = visit(path=f"/#/chat/{talk}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy this code").nth(1).click()
    while page.evaluate("navigator.clipboard.readText()").strip() != "print(2)":
        page.wait_for_timeout(20)  # the page's policy forbids to wait for an expression in it


def test_another_tab_sees_what_happened_here(visit: Open, store: Store) -> None:
    """A conversation and a rating from elsewhere appear without a reload."""
    page = visit()
    page.get_by_text("No ratings yet.").wait_for()
    with page.expect_response("**/api/changes"):
        page.reload()
    page.get_by_text("No conversations yet.").wait_for()
    talk = told(store, "from elsewhere", "yes")
    store.thumb(store.branch(talk)[1].id, 1)
    page.locator("#list .open", has_text="from elsewhere").wait_for()
    page.get_by_text("1 rating so far.").wait_for()


def test_news_take_no_focus_from_the_list(visit: Open, store: Store) -> None:
    """What is there already stays in its place, and so does the focus in it."""
    told(store, "one", "yes")
    page = visit()
    mine = page.locator("#list .open", has_text="one")
    mine.focus()
    told(store, "from elsewhere", "yes")
    expect(page.locator("#list .open")).to_have_text(["from elsewhere", "one"])
    expect(mine).to_be_focused()


def test_a_version_that_comes_late_is_not_shown_in_another_conversation(visit: Open, store: Store) -> None:
    """It is that of the conversation in which it was asked for, also when that one is opened again."""
    talk = told(store, "slow", "one reply")
    store.reply(store.branch(talk)[0].id, "another reply", [{"role": "user", "content": "slow"}], MADE)
    told(store, "fast", "yes")
    page = visit(path=f"/#/chat/{talk}")
    held: list[sync_api.Route] = []
    page.route("**/api/versions", lambda route: held.append(route))
    page.locator(".reply").get_by_role("button", name="Previous version").click()
    while not held:
        page.wait_for_timeout(20)
    page.locator("#list .open", has_text="fast").click()
    page.get_by_label("You said").get_by_text("fast").wait_for()
    with page.expect_response("**/api/versions"):
        held[0].continue_()
    page.get_by_role("button", name="Settings").click()  # whatever the late answer does is done
    expect(page.get_by_label("You said")).to_have_text(["fast"])
    page.get_by_role("button", name="Done").click()
    page.locator("#list .open", has_text="slow").click()
    page.locator(".reply > .words", has_text="one reply").wait_for()


def test_a_long_list_goes_on_as_one_scrolls(visit: Open, store: Store) -> None:
    """Each conversation once, latest first, also those that are not shown at first."""
    for number in range(430):
        store.say(store.new_conversation().id, f"talk {number}")
    page = visit()
    titles = page.locator("#list .open")
    expect(titles).to_have_count(200)
    for count in (400, 430):
        page.evaluate("document.querySelector('#past').scrollTo(0, 1e6)")
        expect(titles).to_have_count(count)
    assert titles.all_text_contents() == [f"talk {number}" for number in reversed(range(430))]
    drawn = "part => part.firstElementChild.checkVisibility({ contentVisibilityAuto: true })"
    parts = page.locator("#list ul").all()
    assert [parts[0].evaluate(drawn), parts[2].evaluate(drawn)] == [False, True]  # far away, and at the end
