"""The x-ray in a real browser: its numbers are those of the lens, live and in a saved file."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.feedback.generations import Generations
from sayso.feedback.store import Store
from sayso.lens import direct_attribution, token_contributions, trace
from sayso.reply import Replier
from sayso.xray import View
from sayso.xray.saved import save_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
TEXT = "the cat sat on"


def drawn(page: sync_api.Page) -> sync_api.Page:
    """Wait until all panels are drawn."""
    page.locator("body[data-drawn]").wait_for()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    return page


def rows(page: sync_api.Page, table: str) -> list[list[str]]:
    """Return the cells of a table."""
    found = page.get_by_role("region", name=table).locator("tbody tr")
    found.first.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in found.all()]


def number(text: str) -> float:
    return float(text.replace("∞", "inf"))


def test_a_reply_leads_to_its_xray(visit: Open, serve: Callable[..., str], store: Store, replier: Replier) -> None:
    """It begins at the first token of the reply; each token of the prompt and the reply is there."""
    page = visit(serve())
    page.get_by_label("Your message").fill("hello")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="X-ray").click()
    drawn(page)
    [_, reply] = store.branch(1)
    found = Generations(store).trace(reply.id)
    assert found is not None
    ids = [*found.prompt_ids, *found.completion_ids]
    chips = page.get_by_role("group", name="Tokens").get_by_role("button")
    expect(chips).to_have_count(len(ids) + 1)
    assert f"at position {len(found.prompt_ids) - 1}:" in page.locator("#now").inner_text()
    chips.nth(len(found.prompt_ids) + 2).click()
    expect(page.locator("#now")).to_contain_text(f"at position {len(found.prompt_ids) + 1}:")
    assert f"y={found.completion_ids[2]}" in page.url
    page.reload()
    drawn(page)
    expect(page.locator("#now")).to_contain_text(f"at position {len(found.prompt_ids) + 1}:")


def test_every_number_is_the_lenses(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    """Attribution by layer, head, neuron and token, attention with its arithmetic, logits: read off the page."""
    ids, model = replier.text_ids(TEXT), replier.model
    y, c, p = ids[3], ids[5], 8
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}#p={p}&l=0&h=1&k=4&y={y}&c={c}"))
    found = direct_attribution(model, ids, y, c, position=p)
    [[_, attention, mlp]] = rows(page, "By layer")
    assert [number(attention), number(mlp)] == pytest.approx(found.layers[0, 0].tolist(), abs=0.006)
    heads = {row[0]: number(row[1]) for row in rows(page, "Heads of layer 0, the most important first")}
    assert heads == {f"head 0.{head}": pytest.approx(found.heads[0, 0, head].item(), abs=0.006) for head in range(2)}
    for neuron, adds, *_ in rows(page, "The neurons that matter most"):
        assert number(adds) == pytest.approx(found.neurons[0, 0, int(neuron)].item(), abs=0.006)
    page.locator("#why summary", has_text="All parts").click()
    parts = rows(page, "Every part, in the order of the model")
    assert parts[-1][0] == "sum"
    assert number(parts[-1][1]) == pytest.approx(found.logit.item(), abs=1e-3)
    assert sum(number(value) for _, value in parts[:-1]) == pytest.approx(found.logit.item(), abs=2e-3)
    page.locator("#why summary", has_text=re.compile("^Table$")).click()
    by_token = token_contributions(model, ids, [y, c], position=p).tokens
    told = [number(row[2]) for row in rows(page, "What each token adds")]
    assert told == pytest.approx((by_token[0] - by_token[1]).tolist(), abs=6e-3)
    pattern = trace(model, ids, "blocks.0.attn.hook_pattern")["blocks.0.attn.hook_pattern"][0, 1]
    softmax = page.locator(".arithmetic li", has_text="Softmax").inner_text()
    assert number(softmax.rpartition("=")[2]) == pytest.approx(pattern[p, 4].item(), abs=1e-4)
    scores = trace(model, ids, "blocks.0.attn.hook_attn_scores")["blocks.0.attn.hook_attn_scores"][0, 1]
    scaled = page.locator(".arithmetic li", has_text="Scale").inner_text()
    assert number(scaled.rpartition("=")[2]) == pytest.approx(scores[p, 4].item(), abs=1e-3)
    logits = trace(model, ids, "logits")["logits"][0, p]
    best = logits.topk(3)
    told = [number(row[1]) for row in rows(page, "The likeliest tokens")[:3]]
    assert told == pytest.approx(best.values.tolist(), abs=0.006)


def test_sampling_is_that_of_the_engine(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    """Temperature, then top-k, top-p and min-p, over the whole vocabulary; at temperature 0, the likeliest token."""
    from sayso.sample.filters import sampling_weights
    from sayso.sample.sampling import Sampling

    ids = replier.text_ids(TEXT)
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    settings = {"Temperature": "0.7", "Top-k (0: all)": "9", "Top-p": "0.9", "Min-p": "0.1"}
    for name, value in settings.items():
        page.get_by_label(name).fill(value)
    logits = trace(replier.model, ids, "logits")["logits"][0, -1:]
    sampling = Sampling(temperature=0.7, top_k=9, top_p=0.9, min_p=0.1)
    weights = sampling_weights(logits.clone(), [sampling])[0]
    kept = int((weights > 0).sum())
    expect(page.locator("#logits .told")).to_contain_text(f"{kept} of {logits.shape[-1]} tokens are left")
    best = weights.topk(kept).values / weights.sum()
    told = [row[3] for row in rows(page, "The likeliest tokens")]
    shares = [float(text.rstrip("%")) / 100 for text in told if text != "out"]
    assert shares == pytest.approx(best.tolist()[: len(shares)], abs=6e-4)
    page.get_by_label("Temperature").fill("0")
    expect(page.locator("#logits .told")).to_contain_text("At temperature 0 nothing is drawn")


def test_a_part_is_switched_off(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    """The prediction changes, the Python that repeats it is shown, and the change can be undone."""
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}#l=0&h=1"))
    page.get_by_role("button", name="Head 0.1 off").click()
    page.get_by_role("region", name="What comes next").wait_for()
    page.locator("#what-if .python summary").click()
    assert (
        'sayso.lens.ablation(model, "blocks.0.attn.hook_z", "zero", heads=[1])'
        in page.locator("#what-if pre").inner_text()
    )
    page.get_by_role("button", name="Undo head 0.1 off").click()
    page.get_by_role("region", name="What comes next").wait_for(state="detached")
    page.get_by_label("Another text with as many tokens").fill("too short")
    page.get_by_role("button", name="Take head 0.1 from it").click()
    page.get_by_text("as many as this one; got").wait_for()
    expect(page.locator("#what-if .changes li")).to_have_count(0)


def test_a_film_goes_through_the_positions(visit: Open, serve: Callable[..., str]) -> None:
    """From the beginning if nothing was generated; until it is stopped."""
    page = drawn(visit(serve(), "/xray?text=the%20cat"))
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#now")).to_contain_text("at position 0:")
    expect(page.locator("#now")).to_contain_text("at position 1:")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Play").wait_for()
    place = page.locator("#now").inner_text()
    page.wait_for_timeout(1500)
    assert page.locator("#now").inner_text() == place


def test_the_model_writes_on(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    page = drawn(visit(serve(), "/xray?text=the%20cat"))
    page.get_by_role("button", name="Let it write 20 tokens").click()
    made = View(replier.model, replier.tokenizer, replier.text_ids("the cat")).panel("continued", count=20)
    count = len(replier.text_ids("the cat" + made.meta["text"])) + 1
    expect(page.get_by_role("group", name="Tokens").get_by_role("button")).to_have_count(count)


def test_a_saved_page_needs_no_network(visit: Open, replier: Replier, tmp_path: Path) -> None:
    """It opens from disk, has the panels of the last positions, and says what it does not have."""
    path = tmp_path / "x-ray.html"
    save_page(View(replier.model, replier.tokenizer, replier.text_ids(TEXT), "tuned"), path)
    page = drawn(visit(path.as_uri(), "", offline=True))
    assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")
    expect(page.locator("#model")).to_contain_text("tuned")
    length = len(replier.text_ids(TEXT))
    page.get_by_role("group", name="Tokens").get_by_role("button").nth(length - 1).click()
    expect(page.locator("#now")).to_contain_text(f"at position {length - 2}:")
    page.locator("#why .waterfall").wait_for()
    page.get_by_role("group", name="Tokens").get_by_role("button").nth(2).click()
    expect(page.locator("#now")).to_contain_text("This saved page has no numbers for that")
    expect(page.locator("#why .problem")).to_contain_text("This saved page has no numbers for that")
    expect(page.locator("#embedding caption").first).to_contain_text("Nearest to")
    expect(page.locator("#map output")).to_contain_text("at position 1")


def test_the_tour_tells_of_every_panel(visit: Open, serve: Callable[..., str]) -> None:
    """In 12 to 16 stops, with numbers of this text."""
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    page.get_by_role("button", name="Take the tour").click()
    told, shown = [], set()
    box = page.get_by_role("complementary", name="Tour")
    while True:
        expect(box.locator(".quiet")).to_have_text(re.compile(rf"^{len(told) + 1} of "))
        told.append(box.get_by_role("status").inner_text())
        shown.add(page.locator(".panel.touring").get_attribute("id"))
        following = box.get_by_role("button", name="Next")
        if not following.count():
            break
        following.press("Enter")
    assert 12 <= len(told) <= 16
    assert len(set(told)) == len(told)
    assert not [text for text in told if re.search("undefined|NaN|null|object", text)]
    assert shown == {"tokens", "embedding", "map", "block", "head", "neurons", "logits", "why", "what-if"}
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("#p=400", "This link asks for position 400; here they are numbered from 0 to"),
        ("#l=3", "This link asks for layer 3"),
        ("#y=100000", "This link asks for token 100000"),
    ],
)
def test_a_broken_link_explains_itself(visit: Open, serve: Callable[..., str], place: str, says: str) -> None:
    page = visit(serve(), f"/xray?text=the{place}")
    expect(page.locator("#now")).to_contain_text(says)


def test_a_text_past_the_context_is_said(visit: Open, serve: Callable[..., str]) -> None:
    page = visit(serve(), f"/xray?text={'cat' * 400}")
    expect(page.locator("#now")).to_contain_text("A row must have at most 512 ids, the model's context")


def test_it_shuts_no_one_out(
    visit: Open, serve: Callable[..., str], accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """axe-core finds nothing, wide and on a phone, in light and dark; nothing is wider than a phone."""
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    page.get_by_role("button", name="Take the tour").click()
    page.get_by_role("complementary", name="Tour").get_by_role("status").wait_for()
    for scheme, width in (("light", 1100), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 750})
        drawn(page)
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_map_is_walked_by_keys(visit: Open, serve: Callable[..., str]) -> None:
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    canvas = page.locator("#map canvas")
    canvas.focus()
    canvas.press("ArrowLeft")
    expect(page.locator("#now")).to_contain_text(f"at position {len(TEXT) - 1}:")
    canvas.press("ArrowDown")
    expect(page.locator("#map output")).to_contain_text("Entropy")
