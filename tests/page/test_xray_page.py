"""The x-ray in a real browser: its numbers are those of the lens, live and in a saved file."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sayso
from sayso.base.life import Life
from sayso.feedback.generations import Generations
from sayso.feedback.store import Store
from sayso.lens import direct_attribution, logit_lens, max_examples, scores_by_distance, token_contributions, trace
from sayso.model import Transformer
from sayso.rasp import select, selector_width, tokens
from sayso.rasp.compile.program import compile_program
from sayso.reply import Replier
from sayso.token.train import train
from sayso.weights.folder import save_model
from sayso.xray import View
from sayso.xray.background import Background
from sayso.xray.saved import save_page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
Open = Callable[..., sync_api.Page]
TEXT = "the cat sat on"
DOCS = Path(__file__).parents[2] / "docs" / "xray.md"


def drawn(page: sync_api.Page) -> sync_api.Page:
    """Wait until all panels are drawn."""
    page.locator("body[data-drawn]").wait_for()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    return page


def rows(page: sync_api.Page, table: str) -> list[list[str]]:
    """Return the cells of a table."""
    found = page.get_by_role("group", name=table, exact=True).locator("tbody tr")
    found.first.wait_for()
    return [row.locator("th, td").all_inner_texts() for row in found.all()]


def number(text: str) -> float:
    return float(text.replace("∞", "inf"))


def share(text: str) -> float:
    """Return a number of percents, 0 for a very small one."""
    return 0.0 if text.startswith("<") else float(text.rstrip("%"))


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
    chips = page.get_by_role("group", name="Tokens", exact=True).first.get_by_role("button")
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
    page.get_by_role("group", name="What comes next").wait_for()
    page.locator("#what-if .python summary").click()
    assert (
        'sayso.lens.ablation(model, "blocks.0.attn.hook_z", "zero", heads=[1])'
        in page.locator("#what-if pre").inner_text()
    )
    page.get_by_role("button", name="Undo head 0.1 off").click()
    page.get_by_role("group", name="What comes next").wait_for(state="detached")
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
    expect(page.get_by_role("group", name="Tokens", exact=True).first.get_by_role("button")).to_have_count(count)


def test_a_saved_page_needs_no_network(visit: Open, replier: Replier, tmp_path: Path) -> None:
    """It opens from disk, has the panels of the last positions, and says what it does not have."""
    path = tmp_path / "x-ray.html"
    save_page(View(replier.model, replier.tokenizer, replier.text_ids(TEXT), "tuned"), path)
    page = drawn(visit(path.as_uri(), "", offline=True))
    assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")
    expect(page.locator("#model")).to_contain_text("tuned")
    length = len(replier.text_ids(TEXT))
    page.get_by_role("group", name="Tokens", exact=True).first.get_by_role("button").nth(length - 1).click()
    expect(page.locator("#now")).to_contain_text(f"at position {length - 2}:")
    page.locator("#why .waterfall").wait_for()
    page.get_by_role("group", name="Tokens", exact=True).first.get_by_role("button").nth(2).click()
    expect(page.locator("#now")).to_contain_text("This saved page has no numbers for that")
    expect(page.locator("#why .problem")).to_contain_text("This saved page has no numbers for that")
    expect(page.locator("#embedding caption").first).to_contain_text("Nearest to")
    expect(page.locator("#map output")).to_contain_text("at position 1")


def halves(page: sync_api.Page, panel: str) -> list[sync_api.Locator]:
    """Return the two halves of a panel."""
    found = page.locator(f"#{panel}").get_by_role("group", name=re.compile("^(First|Second)$"))
    expect(found).to_have_count(2)
    return [found.nth(0), found.nth(1)]


def told_by_layer(half: sync_api.Locator) -> list[float]:
    """Return what attention and MLP of the first layer add, as half of a page says."""
    row = half.get_by_role("group", name="By layer", exact=True).locator("tbody tr").first
    return [number(text) for text in row.locator("td").all_inner_texts()]


def test_two_texts_stand_side_by_side(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    """One selection drives both; rows of different lengths end together; the second is asked the same question."""
    first, second = (replier.text_ids(text) for text in ("the cat sat", "a mat on the cat sat"))
    page = drawn(visit(serve(), "/xray?text=the%20cat%20sat&beside_text=a%20mat%20on%20the%20cat%20sat"))
    y, c = (int(page.locator("#why select").nth(i).input_value()) for i in range(2))
    for ids, half in zip((first, second), halves(page, "block"), strict=True):
        found = direct_attribution(replier.model, ids, y, c, position=len(ids) - 1)
        assert told_by_layer(half) == pytest.approx(found.layers[0, 0].tolist(), abs=0.006)
    halves(page, "tokens")[1].get_by_role("group", name="Tokens", exact=True).get_by_role("button").nth(-3).click()
    expect(page.locator("#now")).to_contain_text(f"at position {len(first) - 3}:")
    assert f"p={len(second) - 3}" in page.url
    drawn(page)
    for ids, half in zip((first, second), halves(page, "block"), strict=True):
        y, c = ids[-2], int(page.locator("#why select").nth(1).input_value())
        found = direct_attribution(replier.model, ids, y, c, position=len(ids) - 3)
        assert told_by_layer(half) == pytest.approx(found.layers[0, 0].tolist(), abs=0.006)
    early = halves(page, "tokens")[1].get_by_role("group", name="Tokens", exact=True).get_by_role("button").nth(1)
    early.click()  # before the first row begins
    expect(early).to_have_attribute("aria-pressed", "true")
    assert "p=0" in page.url  # after which it came
    page.get_by_role("button", name="Only the first").click()
    expect(page.locator(".half")).to_have_count(0)
    assert "beside" not in page.url
    assert "p=" not in page.url


def test_halves_are_one_above_the_other_on_a_phone(
    visit: Open, serve: Callable[..., str], accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    page = drawn(visit(serve(), "/xray?text=the%20cat&beside_text=the%20mat"))
    left, right = (half.bounding_box() for half in halves(page, "block"))
    assert left
    assert right
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    page.set_viewport_size({"width": 360, "height": 750})
    left, right = (half.bounding_box() for half in halves(page, "block"))
    assert left
    assert right
    assert left["y"] + left["height"] <= right["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert accessibility_faults(page) == []


def test_two_models_are_saved_side_by_side(visit: Open, replier: Replier, tmp_path: Path) -> None:
    """The file has both, with the question of the first; it says which half is which."""
    other = Transformer(replier.model.config).initialize(torch.Generator().manual_seed(3)).eval()
    ids, path = replier.text_ids(TEXT), tmp_path / "x-ray.html"
    views = [View(model, replier.tokenizer, ids, name) for model, name in ((replier.model, "tuned"), (other, "base"))]
    save_page(views[0], path, views[1])
    page = drawn(visit(path.as_uri(), "", offline=True))
    assert [half.locator(".side").inner_text() for half in halves(page, "why")] == ["tuned", "base"]
    y, c = (int(page.locator("#why select").nth(i).input_value()) for i in range(2))
    for view, half in zip(views, halves(page, "block"), strict=True):
        found = direct_attribution(view.network, ids, y, c, position=len(ids) - 1)
        assert told_by_layer(half) == pytest.approx(found.layers[0, 0].tolist(), abs=0.006)
    halves(page, "why")[1].locator("select").first.select_option(index=2)  # a likely token of the second
    drawn(page)
    expect(page.locator("#block .problem")).to_have_count(0)
    expect(page.locator("#why .half .waterfall")).to_have_count(2)


def test_scores_by_distance_are_the_lenses(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    ids, k = replier.text_ids(TEXT), 4
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}#p=8&l=0&h=1&k={k}"))
    page.locator("#head summary", has_text="Score by distance").click()
    told = [number(score) for _, score in rows(page, "Score by distance")]
    expected = scores_by_distance(replier.model, ids, 0, 1, range(len(told)), query=8, key=k).sum(-1)
    assert len(told) == 64
    assert told == pytest.approx(expected.tolist(), abs=6e-4)
    assert f"would be largest at the distance {int(expected.argmax())}" in page.locator("#head").inner_text()


def test_a_neuron_shows_where_it_is_most_active(visit: Open, replier: Replier, tmp_path: Path) -> None:
    """For the neuron that is chosen; the place is marked in its surroundings."""
    rows_of_text = torch.randint(3, replier.tokenizer.vocab_size, (6, 20), generator=torch.Generator().manual_seed(1))
    path, ids = tmp_path / "x-ray.html", replier.text_ids(TEXT)
    view = View(replier.model, replier.tokenizer, ids, background=Background(corpus=lambda: rows_of_text))
    save_page(view, path)
    page = drawn(visit(path.as_uri(), "", offline=True))
    found = max_examples(replier.model, rows_of_text, "blocks.0.mlp.hook_post", 5)
    second = page.get_by_role("group", name="The neurons that matter most", exact=True).locator("button").nth(1)
    neuron = int(second.inner_text())
    second.click()
    expect(page.locator("#neurons h3")).to_have_text(f"Where neuron 0.{neuron} is most active")
    assert f"n={neuron}" in page.url
    told = [number(text) for text in page.locator("#neurons .examples .number").all_inner_texts()]
    assert told == pytest.approx(found.values[neuron].tolist(), abs=0.006)
    marked = page.locator("#neurons .examples mark").all_inner_texts()
    at = zip(found.rows[neuron], found.positions[neuron], strict=True)
    texts = [view.text(int(rows_of_text[row, place])) for row, place in at]
    assert marked == [text.replace(" ", "·") for text in texts]
    save_page(View(replier.model, replier.tokenizer, ids), path)
    page.reload()
    expect(page.locator("#neurons")).to_contain_text("sayso xray --examples 64 writes those")


def test_a_program_shows_the_names_of_its_parts(visit: Open, tmp_path: Path) -> None:
    """Those of its heads, hidden units and dimensions, with the numbers of the stream."""
    program = selector_width(select(tokens, tokens))
    compiled = compile_program(program, "ab", 6, causal=True)
    view = View(
        compiled.model, compiled.vocabulary.tokenizer, compiled.ids("aaba"), "seen",
        background=Background(names=compiled.names),
    )  # fmt: skip
    save_page(view, tmp_path / "x-ray.html")
    page = drawn(visit((tmp_path / "x-ray.html").as_uri(), "", offline=True))
    page.evaluate("location.hash = 'l=0&h=0'")
    called = compiled.names.heads[0][0]
    expect(page.locator("#head .told").first).to_have_text(f"In the program, this head is {called}.")
    assert rows(page, "Heads of layer 0, the most important first")[0][3] == called
    last = view.length - 1
    found = view.panel("stream", layer=0, position=last).arrays
    used = torch.stack([*found.values()]).abs().amax(0) > 1e-6
    expected = [(compiled.names.dimensions[at], found["after"][at].item()) for at in used.nonzero()[:, 0].tolist()]
    told = rows(page, f"The stream at position {last}, by the names of the program")
    assert [row[0] for row in told] == [name for name, _ in expected]
    assert [number(row[4]) for row in told] == pytest.approx([value for _, value in expected], abs=0.006)
    neuron, *_, called = rows(page, "The neurons that matter most")[0]
    assert called == compiled.names.units[0][int(neuron)]


def test_a_slider_goes_through_training(visit: Open, replier: Replier, tmp_path: Path) -> None:
    """Probabilities and surprise after each of the steps; the chosen one is in the address."""
    ids, early = replier.text_ids(TEXT), Transformer(replier.model.config).initialize(torch.Generator().manual_seed(3))
    save_model(early.eval(), replier.tokenizer, tmp_path / "step-000004", {"stage": "base"})
    view = View(replier.model, replier.tokenizer, ids, "base", background=Background({4: tmp_path / "step-000004"}))
    save_page(view, tmp_path / "x-ray.html")
    page = drawn(visit((tmp_path / "x-ray.html").as_uri(), "", offline=True))
    slider = page.get_by_label("Weights of training")
    for number, model, when in ((1, replier.model, "after all steps"), (0, early, "after step 4")):
        slider.fill(str(number))
        expect(page.locator("#training .told")).to_contain_text(f"{when.capitalize()}, a token of this text surprises")
        logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
        bits = -logprobs[:-1].gather(-1, torch.tensor(ids[1:])[:, None]).mean().item() / torch.tensor(2.0).log().item()
        assert f"{bits:.1f} bits" in page.locator("#training .told").inner_text()
        told = [share(row[1]) for row in rows(page, f"The likeliest next tokens {when}")]
        assert told == pytest.approx((100 * logprobs[-1].exp().topk(5).values).tolist(), abs=0.06)
    assert "s=0" in page.url
    page.locator("#training summary", has_text="All weights").click()
    final = replier.model(torch.tensor([ids]))[0, -1].topk(5).indices
    for row, model in zip(rows(page, "Probability by weights"), (early, replier.model), strict=True):
        shares = model(torch.tensor([ids]))[0, -1].softmax(-1)[final]
        assert [share(cell) for cell in row[1:]] == pytest.approx((100 * shares).tolist(), abs=0.06)
    expect(page.locator("#training polyline")).to_have_count(5)


def test_a_model_without_kept_weights_says_how_to_keep_them(visit: Open, serve: Callable[..., str]) -> None:
    page = drawn(visit(serve(), "/xray?text=the"))
    expect(page.locator("#training")).to_contain_text("sayso pretrain --snapshots 10")


def toured(page: sync_api.Page) -> list[tuple[str, str]]:
    """Take the tour; return the panel and the text of each stop."""
    page.get_by_role("button", name="Take the tour").click()
    box, told = page.get_by_role("complementary", name="Tour"), []
    while True:
        expect(box.locator(".quiet")).to_have_text(re.compile(rf"^{len(told) + 1} of "))
        panel = page.locator(".panel.touring").get_attribute("id")
        assert panel
        told.append((panel, box.get_by_role("status").inner_text()))
        following = box.get_by_role("button", name="Next")
        if not following.count():
            return told
        following.press("Enter")


def test_the_tour_tells_of_every_panel(visit: Open, serve: Callable[..., str]) -> None:
    """In 12 to 16 stops, with numbers of this text; the questions of the docs are at the stops that they name."""
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    stops = toured(page)
    told = [text for _, text in stops]
    assert 12 <= len(told) <= 16
    assert len(set(told)) == len(told)
    assert not [text for text in told if re.search("undefined|NaN|null|object", text)]
    panels = {"tokens", "embedding", "map", "block", "head", "neurons", "logits", "why", "what-if", "training"}
    assert {panel for panel, _ in stops} == panels
    questions = re.findall(r"^\| ([^|]+\?) \| (\d+) \|", DOCS.read_text(), re.MULTILINE)
    assert len(questions) == 10
    for question, stop in questions:
        asked = re.sub(r"\d+", "[0-9.]+", re.escape(question)).replace("blue", '[^"]+').replace("red", '[^"]+')
        assert re.match(asked, told[int(stop) - 1]), question
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Tour")).to_be_hidden()


def test_the_tour_is_computed(visit: Open, serve: Callable[..., str], replier: Replier) -> None:
    """Its answers have the numbers that the lens gives for the text."""
    ids, p = replier.text_ids(TEXT), len(TEXT)
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    y, c = (int(page.locator("#why select").nth(i).input_value()) for i in range(2))
    told = [text for _, text in toured(page)]
    model, view = replier.model, View(replier.model, replier.tokenizer, ids)
    quoted = lambda token: f'"{view.text(int(token)).replace(" ", "·")}"'  # noqa: E731
    probabilities = model(view.ids)[0].softmax(-1)
    rarest = min(range(1, len(ids)), key=lambda at: probabilities[at - 1, ids[at]].item())
    assert f"is {quoted(ids[rarest])}: before it was read, the model gave it a probability of" in told[1]
    assert f"hands of {view.panel('positions').arrays['wavelengths'].numel()} clocks" in told[3]
    lens = logit_lens(model, view.ids)
    assert f"After layer 0 the model would say {quoted(lens.top[1, 0, -1, 0])}" in told[4]
    assert f"an entropy of {lens.entropy[-1, 0, -1].item() / torch.tensor(2.0).log().item():.1f} bits" in told[5]
    found = direct_attribution(model, view.ids, y, c, position=p)
    head = int(found.heads[0, 0].abs().argmax())
    assert f"head 0.{head}, which is head {head} of layer 0: it adds {found.heads[0, 0, head].item():+.2f}" in told[7]
    pattern = trace(model, view.ids, "blocks.0.attn.hook_pattern")["blocks.0.attn.hook_pattern"][0, head, p]
    looked, attention = quoted(ids[int(pattern.argmax())]), 100 * pattern.max().item()
    assert f"most at {looked} (position {int(pattern.argmax())}, {attention:.1f}% of its attention)" in told[8]
    neuron = int(found.neurons[0, 0].abs().argmax())
    assert f"is number {neuron}: it adds {found.neurons[0, 0, neuron].item():+.2f}" in told[10]
    assert f"{quoted(probabilities[-1].argmax())} is always taken" in told[12]
    assert f"Why {quoted(y)} and not {quoted(c)}?" in told[13]
    assert f"a difference of {found.logit.item():+.2f}" in told[13]
    without = view.panel("without", position=p, target=y)
    by_token = token_contributions(model, ids, [y, c], position=p).tokens
    most = int((by_token[0] - by_token[1])[without.arrays["removed"].long()].abs().argmax())
    removed, then = int(without.arrays["removed"][most]), without.arrays["best"][most]
    assert f"Without {quoted(ids[removed])} at position {removed}, the probability of {quoted(y)}" in told[14]
    assert f"to {100 * without.arrays['share'][most].item():.1f}%" in told[14]
    assert re.search(f"{re.escape(quoted(then))} would (still )?be the likeliest", told[14])


def values(page: sync_api.Page, panel: str, scope: dict[str, Any]) -> list[Any]:
    """Run the Python under a panel as it stands there; return the value of each of its expressions."""
    found = []
    for line in ast.parse(page.locator(f"#{panel} .python pre").text_content() or "").body:
        if isinstance(line, ast.Expr):
            found.append(eval(compile(ast.Expression(line.value), panel, "eval"), scope))
        else:
            exec(compile(ast.Module([line], []), panel, "exec"), scope)
    return found


def opened_table(page: sync_api.Page, panel: str, summary: str, table: str) -> list[list[str]]:
    """Open what is folded; return the cells of the table in it."""
    page.locator(f"#{panel} summary", has_text=re.compile(f"^{summary}$")).click()
    return rows(page, table)


def test_the_python_under_each_panel_gives_its_numbers(
    visit: Open,
    replier: Replier,
    sparse: Callable[[Transformer, float], Transformer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it stands there, with a model, a text, its ids and rows of another text, where the life is."""
    model, ids, p = sparse(replier.model, 0.2), replier.text_ids(TEXT), 9
    early = Transformer(model.config).initialize(torch.Generator().manual_seed(3)).eval()
    kept = tmp_path / "life" / "runs" / "pretrain-base" / "snapshots" / "step-000004"
    save_model(early, replier.tokenizer, kept, {"stage": "base"})
    save_model(model, replier.tokenizer, tmp_path / "model", {"stage": "base"})
    texts = torch.randint(3, replier.tokenizer.vocab_size, (6, 20), generator=torch.Generator().manual_seed(1))
    known = Background({4: kept}, lambda: texts, place=tmp_path)
    save_page(View(model, replier.tokenizer, ids, "base", background=known), tmp_path / "x.html")
    page = drawn(visit((tmp_path / "x.html").as_uri(), f"#p={p}&l=0&h=1&k=4&s=0", offline=True))
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"sayso": sayso, "torch": torch, "text": TEXT, "rows": texts, "ids": torch.tensor(ids)}
    scope["model"] = sayso.load("model", device="cpu")
    panels = [panel.get_attribute("id") for panel in page.locator(".panel:has(.python)").all()]
    found = {panel: values(page, panel, scope) for panel in panels if panel}
    assert [*found] == [panel.get_attribute("id") for panel in page.locator(".panel").all()]

    [bits] = found["tokens"]
    told = [number(row[3]) for row in opened_table(page, "tokens", "Table", "Tokens")[1:]]
    assert told == pytest.approx(bits.tolist(), abs=0.006)
    near, vector = found["embedding"]
    assert page.locator("#embedding .strip").get_attribute("width") == str(len(vector))
    caption = page.locator("#embedding caption").first.inner_text()
    assert [number(row[1]) for row in rows(page, caption)] == pytest.approx(near.values.tolist(), abs=0.006)
    [(_, shares)] = found["map"]
    told = [share(f"{one}%") for one in re.findall(r'" (<?[\d.]+)%', page.locator("#map output").inner_text())]
    assert told == pytest.approx((100 * shares[1]).tolist(), abs=0.06)
    [(layers, heads)] = found["block"]
    assert told_by_layer(page.locator("#block")) == pytest.approx(layers[0, 0].tolist(), abs=0.006)
    of_heads = {row[0]: number(row[1]) for row in rows(page, "Heads of layer 0, the most important first")}
    assert of_heads == {f"head 0.{head}": pytest.approx(one, abs=0.006) for head, one in enumerate(heads.tolist())}
    attention, scores = found["head"]
    softmax = page.locator(".arithmetic li", has_text="Softmax").inner_text()
    assert number(softmax.rpartition("=")[2]) == pytest.approx(attention.item(), abs=1e-4)
    told = [number(row[1]) for row in opened_table(page, "head", "Score by distance", "Score by distance")[:8]]
    assert told == pytest.approx(scores.tolist(), abs=6e-4)
    adds, active, most = found["neurons"]
    for neuron, one, _, _, now, *_ in rows(page, "The neurons that matter most"):
        assert number(one) == pytest.approx(adds[int(neuron)].item(), abs=0.006)
        assert number(now) == pytest.approx(active["blocks.0.mlp.hook_post"][0, p, int(neuron)].item(), abs=0.006)
    told = [number(text) for text in page.locator("#neurons .examples .number").all_inner_texts()]
    assert told == pytest.approx(most.tolist(), abs=0.006)
    values(page, "logits", scope)  # once more, as later panels have logits of their own
    told = [number(row[1]) for row in rows(page, "The likeliest tokens")]
    assert told == pytest.approx(scope["logits"].topk(len(told)).values.tolist(), abs=0.006)
    _, by_token = found["why"]
    told = [number(row[2]) for row in opened_table(page, "why", "Table", "What each token adds")]
    assert told == pytest.approx(by_token.tolist(), abs=6e-4)
    [(logit, outputs)] = found["circuit"]
    said = page.locator("#circuit .told").inner_text()
    assert number(said.rpartition(" ")[2].rstrip(".")) == pytest.approx(logit.item(), abs=0.006)
    edges = opened_table(page, "circuit", "All connections drawn", "Connections")
    carried = {int(source.split()[1]): number(carries) for source, target, _, carries in edges if target == "logits"}
    assert len(carried) > 2
    assert carried == {at: pytest.approx(outputs[at].item(), abs=6e-4) for at in carried}
    assert len(found["what-if"]) == 1
    told = [share(row[1]) for row in rows(page, "The likeliest next tokens after step 4")]
    assert told == pytest.approx((100 * found["training"][0].topk(5).values).tolist(), abs=0.06)


def test_the_python_of_a_change_gives_what_the_panel_shows(
    visit: Open, serve: Callable[..., str], replier: Replier, tmp_path: Path
) -> None:
    save_model(replier.model, replier.tokenizer, tmp_path / "model", {"stage": "base"})
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}#l=0&h=1"))
    page.get_by_role("button", name="Head 0.1 off").click()
    told = [share(row[2]) for row in rows(page, "What comes next")]
    scope = {"sayso": sayso, "torch": torch, "ids": replier.text_ids(TEXT)}
    scope["model"] = sayso.load(str(tmp_path / "model"), device="cpu")
    [after] = values(page, "what-if", scope)
    assert max(told) == pytest.approx(100 * after.max().item(), abs=0.06)
    assert all((100 * after - one).abs().min() < 0.06 for one in told)


def test_a_circuit_is_drawn(
    visit: Open,
    serve: Callable[..., str],
    replier: Replier,
    sparse: Callable[[Transformer, float], Transformer],
    accessibility_faults: Callable[[sync_api.Page], list[str]],
) -> None:
    """A line for each connection of the table, whose numbers are those of the lens; a click chooses a part."""
    model, ids = sparse(replier.model, 0.1), replier.text_ids(TEXT)
    page = drawn(visit(serve(), f"/xray?text={TEXT.replace(' ', '%20')}"))
    y, c = (int(page.locator("#why select").nth(i).input_value()) for i in range(2))
    found = sayso.lens.circuit(model, ids, y, c)
    edges = opened_table(page, "circuit", "All connections drawn", "Connections")
    expect(page.locator("#circuit path.flow")).to_have_count(len(edges))
    for source, target, weight, carries in edges:
        unit, read = (target, True) if source.startswith("dimension") else (source, False)
        at = int((source if read else target).split()[1])
        kind, _, place = unit.partition(" 0.")
        if kind in ("tokens", "logits"):
            flows = found.inputs if kind == "tokens" else found.outputs
        elif kind == "head":
            flows = (found.head_reads if read else found.head_writes)[0, int(place)]
        else:
            flows = (found.neuron_reads if read else found.neuron_writes)[0, int(place)]
            mlp = model.blocks[0].mlp
            table = mlp.up.weight if read else mlp.down.weight.T
            assert number(weight) == pytest.approx(table[int(place), at].item(), abs=6e-4)
        assert number(carries) == pytest.approx(flows[at].item(), abs=6e-4)
    neuron = page.locator("#circuit rect.unit[rx='10']").first
    title = neuron.locator("title").text_content() or ""
    neuron.click()
    assert f"n={title.split(':')[0].rpartition('.')[2]}" in page.url
    expect(page.locator("#circuit rect.chosen-unit title", has_text=title)).to_have_count(1)
    page.set_viewport_size({"width": 360, "height": 750})
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert accessibility_faults(page) == []


def test_a_model_with_many_weights_says_why_it_has_no_circuit(visit: Open, serve: Callable[..., str]) -> None:
    page = drawn(visit(serve(), "/xray?text=the%20cat"))
    expect(page.locator("#circuit")).to_contain_text("100.0% of the weights in this model's layers are not zero.")
    expect(page.locator("#circuit pre")).to_contain_text("--weight-sparse 0.05")


def test_a_program_that_looks_ahead_is_shown(
    visit: Open, tmp_path: Path, accessibility_faults: Callable[[sync_api.Page], list[str]]
) -> None:
    """Attention to later positions and its arithmetic; no surprise of tokens, which are all read before."""
    compiled = compile_program(selector_width(select(tokens, tokens)), "ab", 6)
    known = Background(names=compiled.names)
    ids = compiled.ids("aaba")
    view = View(compiled.model, compiled.vocabulary.tokenizer, ids, "counts", background=known)
    save_page(view, tmp_path / "x-ray.html")
    page = drawn(visit((tmp_path / "x-ray.html").as_uri(), "#p=2&l=0&h=0&k=4", offline=True))
    expect(page.locator("#tokens .what")).to_contain_text("attends in both directions")
    expect(page.locator("#now")).to_have_text(re.compile('^For "a" at position 2: why "3" rather than "'))
    pattern = view.panel("head", layer=0, head=0).arrays["pattern"]
    softmax = page.locator(".arithmetic li", has_text="Softmax").inner_text()
    assert number(softmax.rpartition("=")[2]) == pytest.approx(pattern[2, 4].item(), abs=1e-4)
    expect(page.locator(".arithmetic li", has_text="Mask")).to_contain_text("every position is seen")
    page.get_by_role("group", name="Tokens", exact=True).get_by_role("button").nth(3).click()
    expect(page.locator("#now")).to_have_text(re.compile('^For "b" at position 3: why "1" rather than "'))
    drawn(page)
    shown = view.panel("circuit", position=3, target=view.tokenizer.encode("1")[0], contrast=None).meta["dimensions"]
    expect(page.locator("#circuit text title").first).to_have_text(compiled.names.dimensions[shown[0]])
    expect(page.locator("#training")).to_contain_text("its weights were computed from a program")
    assert not [text for _, text in toured(page) if re.search("undefined|NaN|null|object", text)]
    assert accessibility_faults(page) == []


def test_models_that_cannot_be_shown_beside_are_marked(
    visit: Open, serve: Callable[..., str], replier: Replier, tmp_path: Path
) -> None:
    """They say why, and cannot be chosen."""
    life, other = Life(tmp_path / "life"), train("bpe", ["the cat sat on the mat"], 264)
    save_model(replier.model, replier.tokenizer, life.model("base"), {"stage": "base"})
    config = replace(replier.model.config, vocab_size=other.vocab_size)
    save_model(Transformer(config).initialize(torch.Generator()).eval(), other, life.model("other"), {"stage": "base"})
    page = drawn(visit(serve(life=life), "/xray?text=the%20cat"))
    page.locator(".beside summary").click()
    options = page.get_by_label("Another model").locator("option")
    expect(options).to_have_text(["the same model", "tuned", "base", "other: it has another tokenizer"])
    assert [one.is_disabled() for one in options.all()] == [False, False, False, True]


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
