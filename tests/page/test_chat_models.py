"""The chat in a real browser with several models: replies side by side, the choice among them, and what is stored."""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso.base.jsonl import read_jsonl
from sayso.feedback.candidates import Candidates
from sayso.feedback.gather import gather_store
from sayso.feedback.store import Store
from sayso.reply import Replier
from sayso.sample.engine import Engine

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Open = Callable[..., sync_api.Page]
OTHERS = ["<b>poet</b>", "sage", "clerk"]


@pytest.fixture
def address(replier: Replier, serve: Callable[..., str]) -> str:
    """A server of four models: three are variants of the first."""
    variants = {}
    for seed, name in enumerate(OTHERS):
        variants[name] = deepcopy(replier.model)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            variants[name].unembed.weight.normal_(std=0.25, generator=generator)
    return serve(engine=Engine(replier.model, adapters=variants))


def choose_models(page: sync_api.Page, *names: str) -> None:
    """Let models reply; replies are short."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Longest reply").fill("20")
    for name in names:
        page.get_by_role("checkbox", name=name).check()
    page.get_by_role("button", name="Done").click()


def say(page: sync_api.Page, words: str) -> None:
    """Send a message with the keyboard."""
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")


def test_the_best_of_four_replies_is_chosen_blindly(
    visit: Open, address: str, store: Store, tmp_path: Path, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """The set is stored from left to right, and the choice is a pair with each other reply, which is gathered."""
    page = visit(address, viewport={"width": 1280, "height": 750})
    choose_models(page, "tuned", *OTHERS)
    with page.expect_response("**/api/comparisons"):
        say(page, "hello")
    page.get_by_role("heading", name="Which is better?").wait_for()
    third = page.get_by_role("button", name="The reply 3 is better")
    sync_api.expect(third).to_be_enabled()
    titles = [f"Reply {number}" for number in range(1, 5)]
    sync_api.expect(page.locator(".side h3")).to_have_text(titles)
    assert not any(name in page.locator(".compare").inner_text() for name in ("tuned", *OTHERS))
    boxes = [box.bounding_box() for box in page.locator(".side").all()]
    assert len({box["y"] for box in boxes if box}) == 1
    assert max(box["x"] + box["width"] for box in boxes if box) <= 1280
    assert accessibility_faults(page) == []
    texts = [text.split() for text in page.locator(".side .words").all_inner_texts()]
    with page.expect_response("**/api/model"), page.expect_response("**/api/ratings"):
        third.click()
        page.locator(".compare").wait_for(state="detached")
    [found] = Candidates(store).sets("shown")
    assert [one.side for one in found.replies] == ["1", "2", "3", "4"]
    assert {one.policy for one in found.replies} == {"tuned", *OTHERS}
    stored = [store.message(one.message_id) for one in found.replies]
    assert [one.content.split() for one in stored] == texts
    assert [one.generation.model for one in stored if one.generation] == [one.policy for one in found.replies]
    best = found.replies[2]
    choices = [(one.message_id, one.rejected_id, one.snapshot["position"]) for one in store.ratings()]
    others = [one.message_id for one in found.replies if one is not best]
    assert choices == list(zip([best.message_id] * 3, others, ["right", "right", "left"], strict=True))
    assert store.branch(1)[-1].id == best.message_id
    assert store.signals([one.message_id for one in found.replies]) == []
    sync_api.expect(page.locator(".reply .note")).to_contain_text(f"{best.policy}, not ")
    note = page.locator(".reply .note").inner_text()
    assert note.startswith(f"{best.policy}, not ")
    assert all(one.policy in note for one in found.replies)
    gather_store(tmp_path / "store.sqlite", tmp_path / "feedback")
    rows = list(read_jsonl(tmp_path / "feedback" / "pairs.jsonl"))
    assert [row["chosen"] for row in rows] == [stored[2].content] * 3
    assert {row["rejected"] for row in rows} == {one.content for one in stored} - {stored[2].content}


def test_no_preference_among_three_is_a_tie_of_one_with_the_others(visit: Open, address: str, store: Store) -> None:
    """What is kept is the current reply, and the conversation goes on from it."""
    page = visit(address)
    choose_models(page, "tuned", *OTHERS[:2])
    with page.expect_response("**/api/comparisons"):
        say(page, "hello")
    page.get_by_role("button", name="No preference").click()
    page.locator(".compare").wait_for(state="detached")
    [found] = Candidates(store).sets("shown")
    kept = found.replies[0].message_id
    assert [(one.value, one.message_id, one.rejected_id) for one in store.ratings()] == [
        (0, kept, one.message_id) for one in found.replies[1:]
    ]
    assert store.branch(1)[-1].id == kept


def test_a_conversation_that_goes_on_without_a_choice_keeps_what_it_continues(
    visit: Open, address: str, store: Store
) -> None:
    """The set is stored, so that others can compare it in Rate, but nothing is rated."""
    page = visit(address)
    choose_models(page, "tuned", "sage")
    with page.expect_response("**/api/comparisons"):
        say(page, "hello")
    say(page, "more")
    sync_api.expect(page.get_by_label("You said")).to_have_count(2)
    sync_api.expect(page.locator(".compare")).to_have_count(1)  # that of the second message
    branch = store.branch(1)
    sync_api.expect(page.locator(".reply").first).to_have_attribute("data-id", str(branch[1].id))
    sync_api.expect(page.get_by_role("button", name="The reply 1 is better")).to_be_enabled()
    assert store.ratings() == []
    assert len(Candidates(store).sets("shown")) >= 1


def test_one_chosen_model_replies_alone(visit: Open, address: str, store: Store) -> None:
    """As its name says; it takes no markup from it."""
    page = visit(address)
    choose_models(page, OTHERS[0])
    say(page, "hello")
    page.locator(".reply .tools").wait_for()
    made = store.branch(1)[-1].generation
    assert made is not None
    assert made.model == OTHERS[0]
    page.get_by_role("button", name="Settings").click()
    sync_api.expect(page.get_by_role("checkbox", name=OTHERS[0])).to_be_checked()
    assert page.locator("#asked b").count() == 0


def of_model(name: str) -> Callable[[sync_api.Response], bool]:
    """Return what tells the response to a request for a reply of a model."""
    return lambda response: f'"{name}"' in (response.request.post_data or "")


def test_esc_stops_all_replies(visit: Open, address: str, store: Store, pace: Any) -> None:
    """What has come can be compared."""
    page = visit(address)
    choose_models(page, "tuned", "sage")
    pace.free.clear()
    with page.expect_response(of_model("tuned")), page.expect_response(of_model("sage")):
        say(page, "hello")
    pace.give(8)
    sync_api.expect(page.locator(".side .words.live").filter(has_text=re.compile(r"\w"))).to_have_count(2)
    with page.expect_response("**/api/stop"):
        page.keyboard.press("Escape")
    pace.let_go()
    sync_api.expect(page.locator(".live")).to_have_count(0)
    replies = [store.message(number) for number in (2, 3)]
    assert [one.generation.finish for one in replies if one.generation] == ["stopped"] * 2


def test_a_model_that_is_gone_does_not_hide_the_other_replies(visit: Open, address: str, store: Store) -> None:
    """The page says so, and the replies that came can be compared."""
    page = visit(address)
    choose_models(page, "tuned", "sage", "clerk")

    def cut(route: sync_api.Route) -> None:
        route.abort() if '"sage"' in (route.request.post_data or "") else route.continue_()

    page.route("**/api/replies", cut)
    with page.expect_response("**/api/comparisons"):
        say(page, "hello")
    page.get_by_text("The server cannot be reached.").wait_for()
    sync_api.expect(page.locator(".side h3")).to_have_count(2)
    [found] = Candidates(store).sets("shown")
    assert {one.policy for one in found.replies} == {"tuned", "clerk"}
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    sync_api.expect(page.locator(".side .choose:enabled")).to_have_count(3)


def test_on_a_phone_the_replies_scroll_sideways(
    visit: Open, address: str, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """The page itself does not; a part of the next reply shows that there is more."""
    page = visit(address, viewport={"width": 390, "height": 750}, color_scheme="dark")
    choose_models(page, "tuned", *OTHERS)
    say(page, "hello")
    sync_api.expect(page.locator(".side .choose:enabled")).to_have_count(4)
    assert page.evaluate("document.querySelector('#scroll').scrollWidth <= innerWidth")
    assert page.locator(".sides").evaluate("(box) => box.scrollWidth > 2 * box.clientWidth")
    second = page.locator(".side").nth(1).bounding_box()
    assert second is not None
    assert second["x"] < 390 < second["x"] + second["width"]
    assert accessibility_faults(page) == []
