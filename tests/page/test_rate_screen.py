"""The screen Rate in a real browser: compare blindly by keys, write and check replies, two people at once, results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.base.jsonl import write_jsonl
from sayso.feedback.gather import gather
from sayso.feedback.guidelines import Guidelines, read_guidelines, write_guidelines
from sayso.feedback.queue import GivenReply, add_pairs, add_prompts
from sayso.feedback.reviews import Reviews
from sayso.feedback.store import Store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def listed(store: Store, count: int) -> None:
    """Add pairs of a good and a bad reply."""
    pairs = [
        (
            [{"role": "user", "content": f"Question {number}"}],
            GivenReply("champion-model", f"It is *right* {number}"),
            GivenReply("weaker-model", f"It is wrong {number}"),
        )
        for number in range(count)
    ]
    add_pairs(store, "my list", pairs)


def see(page: sync_api.Page, words: str) -> None:
    """Wait for words on the screen, which screen readers are told, too."""
    page.locator("#view").get_by_text(words).first.wait_for()


def enter(page: sync_api.Page, name: str) -> None:
    """Say who one is."""
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Start").click()


def question(page: sync_api.Page) -> str:
    """The prompt of the pair on the screen."""
    page.get_by_role("heading", name="Which reply is better?").wait_for()
    return page.locator(".asked .said").text_content()


def key_of(page: sync_api.Page, words: str) -> str:
    """The key for the side that shows some words."""
    left = page.get_by_role("article", name="Left")
    return "1" if words in left.text_content() else "2"


def test_pairs_are_compared_by_keys_and_blindly(visit: Open, store: Store) -> None:
    """No model is named before the choice, in whatever the browser gets; all that is said reaches the store."""
    listed(store, 3)
    page = visit(path="/#/rate")
    with page.expect_response("**/api/rate/take") as got:
        enter(page, "Ann")
    first = question(page)
    expect(page.get_by_role("article").locator("em")).to_have_count(1)
    assert "champion-model" not in page.content()
    assert "weaker-model" not in page.content()
    assert "-model" not in got.value.text()
    page.get_by_text("clearer", exact=True).click()
    side = "Left" if key_of(page, "wrong") == "1" else "Right"
    page.get_by_role("article", name=side).get_by_text("rude").click()
    page.get_by_label("Note").fill("1 is nicer")  # typing is no choice
    page.get_by_role("article", name="Left").click()
    page.keyboard.press(key_of(page, "right"))
    see(page, "champion-model")
    [choice, tag] = store.ratings()
    assert (choice.kind, choice.annotator, choice.text, choice.comment) == ("choice", "Ann", "clearer", "1 is nicer")
    assert choice.snapshot["model"] == "champion-model"
    assert (tag.text, tag.snapshot["model"]) == ("rude", "weaker-model")
    second = question(page)
    assert second != first
    page.keyboard.press("t")
    see(page, "You chose a tie.")
    third = question(page)
    page.keyboard.press("s")
    see(page, "There is no pair for you to compare.")
    page.keyboard.press("u")
    see(page, "Undone; here it is again.")
    assert question(page) == third
    assert third not in (first, second)
    page.keyboard.press("u")
    page.locator(".asked .said", has_text=second).wait_for()
    assert [(one.kind, one.value) for one in store.ratings()] == [("choice", 1), ("tag", 1)]
    [pair] = gather(store.ratings()).pairs
    assert pair["rejected"].startswith("It is wrong")


def test_two_people_at_once_get_different_pairs_and_a_reload_keeps_them(
    visit: Open, serve: Callable[..., str], store: Store
) -> None:
    """Nothing that either of them says is lost."""
    listed(store, 2)
    address = serve()
    pages = [visit(address, "/#/rate") for _ in range(2)]
    for page, name in zip(pages, ("Ann", "Bob"), strict=True):
        enter(page, name)
    shown = [question(page) for page in pages]
    assert shown[0] != shown[1]
    left = pages[0].get_by_role("article", name="Left").text_content()
    for page in pages:
        page.reload()
    assert [question(page) for page in pages] == shown
    assert pages[0].get_by_role("article", name="Left").text_content() == left
    for page in pages:
        page.get_by_role("button", name="Left is better").click()
        see(page, "You chose the left reply.")
    assert [question(page) for page in pages] == shown[::-1]  # each needs two reviews
    for page in pages:
        page.get_by_role("button", name="Right is better").click()
        see(page, "There is no pair for you to compare.")
    assert sorted(str(one.annotator) for one in store.ratings()) == ["Ann", "Ann", "Bob", "Bob"]


def test_a_waiting_reviewer_gets_what_is_added(visit: Open, store: Store) -> None:
    """Without a reload."""
    page = visit(path="/#/rate")
    enter(page, "Ann")
    see(page, "There is no pair for you to compare.")
    listed(store, 1)
    assert question(page) == "Question 0"


def test_a_key_counts_while_the_page_looks_for_more(visit: Open, store: Store) -> None:
    """Without a pair it asks for one by itself, which holds up nobody."""
    listed(store, 1)
    page = visit(path="/#/rate")
    enter(page, "Ann")
    question(page)
    held: list[sync_api.Route] = []
    page.route("**/api/rate/take", lambda route: held.append(route))
    page.keyboard.press("s")
    while len(held) < 1:
        page.wait_for_timeout(20)
    held[0].continue_()
    while len(held) < 2:
        page.wait_for_timeout(20)
    see(page, "There is no pair for you to compare.")
    page.keyboard.press("u")
    see(page, "Undone; here it is again.")
    assert question(page) == "Question 0"


def test_keys_can_be_changed(visit: Open, store: Store) -> None:
    """They are kept in the browser; one key for two actions is refused."""
    listed(store, 2)
    page = visit(path="/#/rate")
    enter(page, "Ann")
    question(page)
    page.get_by_role("button", name="Keys").click()
    box = page.get_by_role("dialog").get_by_label("Left is better")
    box.fill("2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    box.fill("j")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Left is better").locator("kbd", has_text="j").wait_for()
    page.reload()
    question(page)
    page.keyboard.press("1")
    page.keyboard.press("j")
    see(page, "You chose the left reply.")
    [choice] = store.ratings()
    assert choice.snapshot["position"] == "left"


def test_a_reply_is_written_and_corrected_by_another_person(
    visit: Open, serve: Callable[..., str], store: Store
) -> None:
    """A draft survives a reload; a second person corrects it; the result is what is trained on."""
    add_prompts(store, "lore", [[{"role": "user", "content": "Why is the sky blue?"}]])
    address = serve()
    ann, bob = (visit(address, "/#/rate/write") for _ in range(2))
    enter(ann, "Ann")
    box = ann.get_by_label("Write the ideal reply")
    box.fill("It scaters.")
    enter(bob, "Bob")
    see(bob, "There is no prompt for you to answer.")
    ann.reload()
    expect(box).to_have_value("It scaters.")
    box.press("Control+Enter")
    see(ann, "Saved; another person will check it.")
    ann.get_by_role("link", name="Check").click()
    see(ann, "There is no written reply for you to check.")
    bob.get_by_role("link", name="Check").click()
    bob.get_by_role("heading", name="Accept, correct or reject this reply").wait_for()
    text = bob.get_by_label("Accept, correct or reject this reply")
    expect(text).to_have_value("It scaters.")
    text.fill("It scatters.")
    bob.get_by_label("Note").fill("spelling")
    bob.get_by_role("button", name="Save correction").click()
    see(bob, "You corrected the reply.")
    [row] = gather(store.ratings()).conversations
    assert row["messages"][-1]["content"] == "It scatters."


def test_hostile_text_stays_text(visit: Open, store: Store) -> None:
    """In prompts, replies, names, tags, notes and guidelines; on every part of the screen."""
    write_guidelines(store, Guidelines(HOSTILE, 1, ("<b>r</b>",), ("<i>t</i>",)), "<u>a</u>")
    add_pairs(
        store,
        "<b>list</b>",
        [([{"role": "user", "content": HOSTILE}], GivenReply(HOSTILE, HOSTILE), GivenReply("<b>b</b>", "x"))],
    )
    page = visit(path="/#/rate")
    enter(page, "<b>Ann</b>")
    assert question(page) == HOSTILE
    page.get_by_text("<i>t</i>").first.click()
    page.get_by_label("Note").fill(HOSTILE)
    page.get_by_role("button", name="Left is better").click()
    see(page, "<b>b</b>")
    page.get_by_role("link", name="Results").click()
    page.get_by_role("rowheader", name="<b>Ann</b>").wait_for()
    page.get_by_role("link", name="Set up").click()
    page.get_by_label("Text, in Markdown").wait_for()
    assert page.locator("#view :is(img, script, b:not(.big, .who b), i, u)").count() == 0
    expect(page).to_have_title("sayso: Rate")


def test_results_are_shown_and_exported_in_one_click(visit: Open, store: Store, tmp_path: Path) -> None:
    """Agreement, models, people and lists; the file has a line for each review."""
    listed(store, 4)
    own = Reviews(store)
    for who in ("Ann", "Bob"):
        for number in range(4):
            task = own.take(who, "compare")
            assert task is not None
            right = "left" if "right" in task.replies[0] else "right"
            own.compare(who, task.review, None if (who, number) == ("Bob", 3) else right)
    page = visit(path="/#/rate/results")
    see(page, "from 4 pairs")
    expect(page.get_by_role("rowheader", name="champion-model against weaker-model")).to_be_visible()
    expect(page.get_by_text("7 won, 1 tied, 0 lost")).to_be_visible()
    expect(page.get_by_role("row", name="Bob 4 0 0")).to_be_visible()
    expect(page.get_by_role("row", name="my list pairs 4 3")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export as JSONL").click()
    waiting.value.save_as(tmp_path / "reviews.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "reviews.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert {row["chosen_model"] for row in rows if row["verdict"] == "better"} == {"champion-model"}


def test_lists_are_added_from_files(visit: Open, store: Store, tmp_path: Path) -> None:
    """Two files of replies, replies of the served model, and prompts to answer; a bad line is named."""
    prompts = ["the cat", "the mat"]
    for name, word in (("one", "yes"), ("two", "no")):
        write_jsonl(
            tmp_path / f"{name}.jsonl", [{"prompt": prompt, "reply": f"{word}, {prompt}"} for prompt in prompts]
        )
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"reply": 1}\n')
    page = visit(path="/#/rate/setup")

    def add(name: str, way: str, *files: str) -> None:
        page.get_by_label("Name of the list").fill(name)
        page.get_by_label("What to do").select_option(way)
        page.locator("input[type=file]").set_input_files([tmp_path / f"{file}.jsonl" for file in files])
        page.get_by_role("button", name="Add").click()

    add("files", "Compare the replies in the files", "one", "two")
    see(page, "2 added.")
    add("files", "Compare the replies in the files", "two", "one")
    see(page, "0 added; 2 were there already")
    add("written", "Let people write replies to the prompts", "one")
    see(page, "2 added.")
    add("bad", "Let people write replies to the prompts", "bad")
    see(page, 'Line 2 of bad.jsonl must be a JSON object with a "prompt".')
    add("asked", "Let two served models reply to the prompts", "one")
    see(page, "2 pairs added.")
    task = Reviews(store).take("Ann", "compare", "files")
    assert task is not None
    assert {*task.replies} == {f"{word}, {task.prompt[0]['content']}" for word in ("yes", "no")}
    asked = Reviews(store).take("Ann", "compare", "asked")
    assert asked is not None
    assert asked.prompt == [{"role": "user", "content": "the cat"}]


def test_guidelines_are_edited(visit: Open, store: Store) -> None:
    """They are shown beside the next pair, as safe HTML."""
    listed(store, 1)
    page = visit(path="/#/rate/setup")
    page.get_by_label("Text, in Markdown").fill("Be **kind**.")
    page.get_by_label("Reviews per pair").fill("3")
    page.get_by_label("Reasons for a choice").fill("kinder\n\n truer ")
    page.get_by_label("Tags of a reply").fill("")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.", exact=True).wait_for()
    assert read_guidelines(store) == Guidelines("Be **kind**.", 3, ("kinder", "truer"), ())
    page.get_by_role("link", name="Compare").click()
    enter(page, "Ann")
    question(page)
    expect(page.locator(".guide strong")).to_have_text("kind")
    expect(page.get_by_text("truer")).to_be_visible()
    expect(page.get_by_text("Mark this reply")).to_have_count(0)


@pytest.mark.parametrize("settings", [{}, {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}])
def test_the_screen_shuts_no_one_out(
    visit: Open, store: Store, accessibility_faults: Callable[[sync_api.Page], list[str]], settings: dict[str, object]
) -> None:
    """axe-core finds nothing on any part, wide and light, narrow and dark; nothing is wider than the window."""
    listed(store, 2)
    add_prompts(store, "lore", [[{"role": "user", "content": "Why?"}], [{"role": "user", "content": "How?"}]])
    own = Reviews(store)
    for who in ("Bob", "Cat"):
        for act in ("compare", "write"):
            task = own.take(who, act)
            assert task is not None
            own.compare(who, task.review, "left") if act == "compare" else own.write(who, task.review, "So.")
    page = visit(path="/#/rate", **settings)
    enter(page, "Ann")
    question(page)
    titles = {"": "Compare", "/write": "Write", "/check": "Check", "/results": "Results", "/setup": "Set up"}
    for part, title in titles.items():
        page.evaluate("part => (location.hash = `#/rate${part}`)", part)
        page.locator(".tabs [aria-current]", has_text=title).wait_for()
        page.locator(".screen:not([aria-busy]) :is(h2, .nothing)").first.wait_for()
        assert accessibility_faults(page) == []
        assert page.evaluate("document.querySelector('#view').scrollWidth <= innerWidth")
