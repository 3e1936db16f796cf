"""The page over another server's API, in a real browser: another Sayso server, and one that fails."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sayso.base.life import Life
from sayso.feedback.store import Store
from sayso.judge.endpoint import Endpoint
from sayso.run.serve import acts_of
from sayso.serve.listen import listen
from sayso.serve.page_app import make_page_app
from sayso.serve.remote import Remote
from sayso.serve.server import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Open = Callable[..., sync_api.Page]
Over = Callable[..., str]
END = b"data: [DONE]\n\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Store]:
    """The store of the page itself."""
    kept = Store(tmp_path / "own.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def over(own: Store, tmp_path: Path) -> Iterator[Over]:
    """Start the page over the API of a server; gives its address."""
    running = []

    def start(url: str) -> str:
        listening, life = listen("127.0.0.1", 0), Life(tmp_path / "life")
        app = make_page_app(Remote(Endpoint(url, "")), own, life=life, acts=acts_of(life, None))
        server = Server(app, app.state.models.drain, grace=0, log_level="critical")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread, listening))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for server, thread, listening in running:
        server.should_exit = True
        thread.join()
        listening.close()


def says(text: str, finish: str | None = None) -> dict[str, Any]:
    """An event of a streamed chat."""
    return {"model": "large", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def say(page: sync_api.Page, words: str) -> None:
    page.get_by_label("Your message").fill(words)
    page.keyboard.press("Enter")


def test_a_remote_model_is_talked_to_rated_watched_and_diagnosed(
    visit: Open, serve: Callable[..., str], over: Over, own: Store
) -> None:
    """Everything but the words comes from the page's own store; the other server keeps nothing."""
    url = f"{serve()}/v1"
    page = visit(over(url))
    page.get_by_role("heading", name=f"tuned at {url}").wait_for()
    page.get_by_role("button", name="Settings").click()
    page.get_by_text("More settings").click()
    length = page.get_by_label("Longest reply")
    assert length.get_attribute("placeholder") == "the server's default"
    length.fill("30")
    page.get_by_role("button", name="Done").click()
    say(page, "hello there")
    page.locator(".reply .tools").wait_for()
    [_, reply] = own.branch(1)
    sync_api.expect(page.locator(".reply > .words")).to_have_text(" ".join(reply.content.split()))
    assert reply.generation is not None
    assert reply.generation.sampling == {"max_tokens": 30}
    total = (reply.generation.prompt_tokens or 0) + (reply.generation.completion_tokens or 0)
    page.get_by_role("heading", name=f"tuned {total} tokens of context, at {url}").wait_for()

    page.get_by_role("button", name="Bad reply").click()
    page.locator(".down[aria-pressed=true]").wait_for()
    page.get_by_role("button", name="Another").click()
    page.get_by_role("button", name="The new reply is better").click()
    page.locator(".compare").wait_for(state="detached")
    assert [(one.kind, one.value) for one in own.ratings()] == [("thumb", -1), ("choice", 1)]

    page.get_by_role("link", name="Watch").click()
    page.get_by_role("region", name="In short").get_by_role("link", name="2", exact=True).first.wait_for()
    page.get_by_role("link", name="Diagnose").click()
    page.get_by_role("button", name="Draw").click()
    page.locator("#view").get_by_text("hello there").first.wait_for()
    page.get_by_role("link", name="Rate", exact=True).click()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_role("button", name="Start").click()
    page.locator("#view").get_by_text("hello there").first.wait_for()


def test_screens_of_local_models_say_what_is_missing(visit: Open, serve: Callable[..., str], over: Over) -> None:
    """Runs and Models show the life of the page, which is empty."""
    page = visit(over(f"{serve()}/v1"), "/#/runs")
    page.get_by_text("No runs yet").wait_for()
    page.get_by_role("link", name="Models").click()
    page.get_by_text("No models yet").wait_for()


def test_a_server_that_is_not_there_is_said_and_tried_again(visit: Open, over: Over, own: Store, other: Any) -> None:
    """The page opens; the message is kept; when the server is there, a button gets the reply."""
    right, other.models = other.models, (401, "application/json", b'{"error": {"message": "Wrong key"}}')
    other.chat = 200, "text/html", b"<h1>Hi</h1>"
    page = visit(over(other.url))
    problem = page.get_by_role("alert")
    problem.get_by_text("replied with HTTP 401 ('Wrong key'); check the key").wait_for()
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("link", name="Watch").click()
    page.get_by_text("There are no replies yet").wait_for()
    page.get_by_role("link", name="Chat").click()
    problem.get_by_role("button", name="Try again").wait_for()
    other.models = right  # from now on, the page may find out by itself
    page.reload()
    page.get_by_role("heading", name=f"large at {other.url}").wait_for()
    assert problem.is_hidden()

    say(page, "hello")
    problem.get_by_text("replied with text/html instead of a stream of events").wait_for()
    assert [one.content for one in own.branch(1)] == ["hello"]
    other.chat, other.events = None, [says("I am here.", "stop"), END]
    problem.get_by_role("button", name="Try again").click()
    page.locator(".reply .tools").wait_for()
    sync_api.expect(page.locator(".reply > .words")).to_have_text("I am here.")
    assert [one.content for one in own.branch(1)] == ["hello", "I am here."]


def test_a_reply_that_breaks_off_stays(visit: Open, over: Over, own: Store, other: Any) -> None:
    """Its text is on the page with the reason below, in the store, and there after a reload."""
    other.events = [says("Once upon"), says(" a time")]
    page = visit(over(other.url))
    say(page, "a story")
    page.get_by_role("alert").get_by_text(f"The server at '{other.url}' broke off its reply.").wait_for()
    sync_api.expect(page.locator(".reply > .words")).to_have_text("Once upon a time")
    assert own.branch(1)[-1].content == "Once upon a time"
    page.reload()
    page.locator(".reply .tools").wait_for()
    sync_api.expect(page.locator(".reply > .words")).to_have_text("Once upon a time")
    sync_api.expect(page.locator(".reply .note")).to_have_text(re.compile("^stopped, "))
