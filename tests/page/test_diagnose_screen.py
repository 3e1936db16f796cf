"""Diagnose in a real browser: draw a sample, read it, note, group, count; by keys, by two people, at phone width."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.feedback.cases import cases_of
from sayso.feedback.categories import Categories
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.notes import Notes
from sayso.feedback.samples import Filters, Samples
from sayso.feedback.store import Generation, Store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
WIDE = """() => [...document.querySelectorAll("#view *:not(.scroller *)")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"""
PARTS = {"": ".grid h2", "/1/read/1": ".reply", "/1/group?category=1": ".noted", "/1/rates": ".rates th"}
"""What is shown at each part of an address, when it is complete."""
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def talk(store: Store, asked: str, reply: str, model: str = "tuned") -> int:
    """Store a conversation; return its reply."""
    said = store.say(store.new_conversation().id, asked)
    return store.reply(said.id, reply, store.prompt(said.id), Generation(model, "f" * 12, {}, "stop", 3, 2, 0.1)).id


@pytest.fixture
def replies(store: Store) -> list[int]:
    """Six conversations by two models, two of them with wrong sums, one flagged."""
    said = ["7 + 5 is 13.", "7 + 5 is 12.", "", "Ask the baker.", "2 + 2 is 5.", "**Bold**"]
    found = [talk(store, f"question {number}", text, ("tuned", "base")[number % 2]) for number, text in enumerate(said)]
    [*Flags(store).scan([DETECTORS["empty"]])]
    return found


@pytest.fixture
def noted(store: Store, replies: list[int]) -> int:
    """A sample of all six, read as a whole, with three notes and two categories."""
    sample, kept = Samples(store).draw(Filters(), 6, 1), Notes(store)
    for place in range(1, 7):
        Samples(store).mark(sample.id, place)
    sums, empty = Categories(store).add("Wrong sum", "A calculation is wrong."), Categories(store).add("Empty")
    first, *_ = (
        kept.add(replies[0], "the sum is wrong"),
        kept.add(replies[4], "sum wrong again"),
        kept.add(replies[2], "says nothing"),
    )
    kept.group([first.id], sums.id)
    assert empty.id == 2
    return sample.id


def test_without_conversations_it_says_what_fills_it(visit: Open) -> None:
    """And the list of screens leads there."""
    page = visit()
    page.get_by_role("link", name="Diagnose").click()
    expect(page.locator(".nothing")).to_contain_text("There are no conversations yet.")
    expect(page.locator(".nothing")).to_contain_text("sayso serve --record all")


def test_a_sample_is_drawn_and_read_by_keys(visit: Open, store: Store, replies: list[int]) -> None:
    """Next marks as read; the note is written with N and Enter; the address and the progress survive a reload."""
    page = visit(path="/#/diagnose")
    page.get_by_label("Conversations", exact=True).fill("4")
    page.get_by_label("Seed").fill("5")
    page.get_by_role("button", name="Draw").click()
    page.get_by_text("0 of 4 read").wait_for()
    expect(page).to_have_url(re.compile("#/diagnose/1/read/1$"))
    [sample] = Samples(store).listed()
    assert (sample.size, sample.matched, sample.seed) == (4, 6, 5)
    items = Samples(store).items(1)
    page.get_by_role("heading", name=f"1 of 4: {items[0].title}").wait_for()
    page.keyboard.press("j")
    page.get_by_role("heading", name=f"2 of 4: {items[1].title}").wait_for()
    page.get_by_label("Conversation", exact=True).get_by_text(items[1].title).wait_for()
    expect(page).to_have_url(re.compile("/read/2$"))
    page.keyboard.press("n")
    page.keyboard.type("far too j short")
    page.keyboard.press("Enter")
    page.locator(".noted").get_by_text("far too j short").wait_for()
    [note] = Notes(store).listed()
    assert (note.text, note.message_id) == ("far too j short", items[1].message_id)
    expect(page.locator(".write:focus")).to_have_count(1)
    page.keyboard.press("j")
    page.get_by_text("2 of 4 read").wait_for()
    page.reload()
    page.get_by_role("heading", name=f"3 of 4: {items[2].title}").wait_for()
    page.get_by_text("2 of 4 read").wait_for()
    page.keyboard.press("k")
    page.get_by_role("heading", name=f"2 of 4: {items[1].title} (read)").wait_for()
    page.keyboard.press("r")
    page.get_by_text("1 of 4 read").wait_for()
    page.go_back()
    page.get_by_role("heading", name=f"3 of 4: {items[2].title}").wait_for()
    page.keyboard.press("u")
    page.get_by_role("heading", name="2 of 4").wait_for()
    assert [item.read for item in Samples(store).items(1)] == [True, False, False, False]


def test_an_unfinished_note_is_not_lost(visit: Open, store: Store, replies: list[int]) -> None:
    """Next does not leave it; Escape does, and a note can be changed and removed."""
    Samples(store).draw(Filters(), 2, 1)
    page = visit(path="/#/diagnose/1/read/1")
    page.get_by_role("button", name="Add a note").click()
    page.keyboard.type("half a")
    page.get_by_role("button", name="Next").click()
    page.keyboard.type(" thought")
    page.get_by_role("button", name="Save").click()
    page.locator(".noted").get_by_text("half a thought").wait_for()
    page.get_by_role("button", name="Change").click()
    page.get_by_label("What is wrong with this reply?").fill("a thought")
    page.keyboard.press("Enter")
    page.locator(".noted p", has_text="a thought").and_(page.locator("p:not(:has-text('half'))")).first.wait_for()
    page.get_by_role("button", name="Remove").click()
    page.locator(".noted").wait_for(state="detached")
    assert Notes(store).listed() == []
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    page.locator("textarea:visible").wait_for(state="detached")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="2 of 2").wait_for()


def test_what_one_person_does_another_sees(
    visit: Open, serve: Callable[..., str], store: Store, replies: list[int]
) -> None:
    """Live: what was read, and notes; a note that is being written stays."""
    Samples(store).draw(Filters(), 6, 1)
    address = serve()
    ann, bob = (visit(address, "/#/diagnose/1/read/1") for _ in range(2))
    for page in (ann, bob):
        page.get_by_role("button", name="Add a note").wait_for()
    bob.keyboard.press("n")
    bob.keyboard.type("mine")
    ann.keyboard.press("n")
    ann.keyboard.type("hers")
    ann.keyboard.press("Enter")
    ann.locator(".noted").get_by_text("hers").wait_for()
    ann.keyboard.press("j")
    bob.get_by_text("1 of 6 read").wait_for()
    expect(bob.get_by_label("What is wrong with this reply?")).to_have_value("mine")
    bob.keyboard.press("Enter")
    expect(bob.locator(".noted > p:first-child")).to_have_text(["hers", "mine"])


def test_notes_are_grouped_by_keys(visit: Open, store: Store, noted: int) -> None:
    """Enter takes the nearest category, a digit a certain one, C makes one, Z takes back; all is in the store."""
    page = visit(path=f"/#/diagnose/{noted}/group")
    page.get_by_role("heading", name="Notes without a category (2)").wait_for()
    expect(page.locator(".noted").first).to_have_text(re.compile(r"^\s*sum wrong again"))
    expect(page.locator(".noted").first.locator(".near")).to_have_text([re.compile(r"^Wrong sum \d\.\d\d$")])
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Notes without a category (1)").wait_for()
    assert [note.category_id for note in Notes(store).listed()] == [1, 1, None]
    page.keyboard.press("2")
    page.get_by_role("heading", name="Notes without a category (0)").wait_for()
    assert [note.category_id for note in Notes(store).listed()] == [1, 1, 2]
    page.keyboard.press("z")
    page.get_by_role("heading", name="Notes without a category (1)").wait_for()
    page.keyboard.press("x")
    expect(page.locator(".noted input")).to_be_checked()
    page.keyboard.press("c")
    expect(page.locator("#adding").get_by_label("Name")).to_be_focused()
    page.keyboard.type("Silent")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Notes without a category (0)").wait_for()
    assert Categories(store).listed()[2].name == "Silent"
    assert [note.category_id for note in Notes(store).listed()] == [1, 1, 3]


def test_categories_are_renamed_and_removed(visit: Open, store: Store, noted: int) -> None:
    """A taken name is one sentence; which category is open is in the address."""
    page = visit(path=f"/#/diagnose/{noted}/group?category=1")
    group = page.locator(".groups details").first
    group.get_by_role("link", name="Conversation").wait_for()
    group.get_by_label("Name").fill("Empty")
    group.get_by_role("button", name="Rename").click()
    page.get_by_role("alert").get_by_text("There is a category 'Empty' already").wait_for()
    group.get_by_label("Name").fill("Sums")
    group.get_by_role("button", name="Rename").click()
    page.locator(".groups summary", has_text="Sums").wait_for()
    expect(page).to_have_url(re.compile("category=1"))
    group.get_by_role("button", name="Remove this category").click()
    page.get_by_role("heading", name="Notes without a category (3)").wait_for()
    assert [one.name for one in Categories(store).listed()] == ["Empty"]


def test_rates_lead_to_notes_cases_and_detectors(visit: Open, store: Store, noted: int, tmp_path: Path) -> None:
    """By model, with intervals; a category becomes cases that are checked in a chosen way, and a file."""
    page = visit(path=f"/#/diagnose/{noted}/rates")
    page.get_by_role("heading", name="Wrong sum").wait_for()
    card = page.locator(".rates .card", has=page.get_by_role("heading", name="Wrong sum"))
    expect(card.locator("th, td:not(.wide-cell)")).to_have_text([
        "All models", "17 % (3.0 % to 56 %)", "1 of 6",
        "base", "0.0 % (0.0 % to 56 %)", "0 of 3",
        "tuned", "33 % (6.1 % to 79 %)", "1 of 3",
    ])  # fmt: skip
    expect(card.locator(".reach")).to_have_count(3)
    with page.expect_download() as saved:
        card.get_by_role("button", name="Detector in Python").click()
    assert saved.value.suggested_filename == "wrong_sum.py"
    saved.value.save_as(tmp_path / "wrong_sum.py")
    compile((tmp_path / "wrong_sum.py").read_text(), "wrong_sum.py", "exec")
    card.get_by_role("button", name="Make evaluation cases").click()
    page.get_by_label("What makes its reply bad").select_option("forbid")
    page.get_by_role("dialog").get_by_label("Text").fill("13")
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_text("1 replies are evaluation cases now.").wait_for(state="attached")
    [case] = cases_of(store)
    assert (case.detector, case.reply, case.prompt) == ("forbid", "13", [{"role": "user", "content": "question 0"}])
    card.get_by_role("link", name="Notes").click()
    page.locator(".groups details[open]").get_by_text("the sum is wrong").wait_for()


def test_hostile_text_stays_text(visit: Open, store: Store) -> None:
    """In a reply, a note, and the names of a model, a category and a sample."""
    reply = talk(store, HOSTILE, HOSTILE, model=HOSTILE)
    sample, kind = Samples(store).draw(Filters(), 1, 1, HOSTILE), Categories(store).add(HOSTILE, HOSTILE)
    Samples(store).mark(sample.id, 1)
    notes = [Notes(store).add(reply, HOSTILE) for _ in range(2)]
    Notes(store).group([notes[0].id], kind.id)
    page = visit(path="/#/diagnose")
    for part, place in {**PARTS, "/1/read/1": ".noted p", "/1/group?category=1": ".noted label"}.items():
        page.goto(page.url.split("#")[0] + f"#/diagnose{part}")
        page.locator(place, has_text=HOSTILE).first.wait_for()
        assert page.locator("#view img, #view script").count() == 0
    expect(page).to_have_title("sayso: Diagnose")


def test_a_refusal_is_a_sentence_with_another_try(visit: Open, store: Store, replies: list[int]) -> None:
    """A sample or part that is not there, and filters that match nothing."""
    page = visit(path="/#/diagnose/9")
    page.get_by_role("alert").get_by_text("There is no sample 9.").wait_for()
    page.goto(page.url.split("#")[0] + "#/diagnose")
    page.get_by_label("Until").fill("2020-01-01")
    page.get_by_role("button", name="Draw").click()
    page.get_by_role("alert").get_by_text("No conversation with a reply matches; change the filters.").wait_for()
    page.get_by_label("Until").fill("")
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("link", name="Read", exact=True).wait_for()
    expect(page).to_have_url(re.compile("#/diagnose/1"))


def test_keys_can_be_turned_off(visit: Open, store: Store, replies: list[int]) -> None:
    """So that no letter does anything for who speaks to the browser; the choice is kept."""
    Samples(store).draw(Filters(), 6, 1)
    page = visit(path="/#/diagnose/1/read/1")
    page.get_by_label("Keys:").uncheck()
    page.reload()
    page.get_by_role("button", name="Add a note").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("n")
    expect(page.locator(".editor")).to_have_count(0)
    page.get_by_label("Keys:").check()
    page.keyboard.press("j")
    page.get_by_role("heading", name="2 of 6").wait_for()
    assert Samples(store).one(1).read == 1


def test_it_shuts_no_one_out(
    visit: Open, noted: int, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing on any part, in light and dark, and nothing is wider than a phone."""
    page = visit(path="/#/diagnose", viewport={"width": 360, "height": 740})
    for part, place in PARTS.items():
        page.goto(page.url.split("#")[0] + f"#/diagnose{part}")
        page.locator(place).first.wait_for()
        page.locator("#view details:not([open]) > summary").evaluate_all("all => all.forEach((one) => one.click())")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert accessibility_faults(page) == [], part
        assert page.evaluate(WIDE) == [], part
