"""The numbers of every panel: they add up, and are those that the lens gives."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.jsonl import write_jsonl
from sayso.lens import (
    ablation,
    circuit,
    direct_attribution,
    head_scores,
    linear_map,
    logit_lens,
    max_examples,
    scores_by_distance,
    steering_vector,
    trace,
)
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.xray import View
from sayso.xray import view as view_module
from sayso.xray.background import Background
from sayso.xray.examples import text_rows
from sayso.xray.pack import Panel
from sayso.xray.predictions import COLUMNS
from sayso.xray.saved import POSITIONS, panels_of
from sayso.xray.view import PANELS

TEXT = "the cat sat on the mat and the dog said hello to the cat. "
OURS = ModelConfig(
    vocab_size=300, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=48, context=160, qk_norm="head"
)
SHAPES = {
    "ours": OURS,
    "ngrams": with_fields(OURS, ngrams=(2, 3), ngram_rows=40, shift=2, mlp="relu2"),
    "gpt2": with_fields(
        OURS, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", tie_embeddings=True,
        biases=("qkv", "out", "mlp"),
    ),
    "gemma2": with_fields(OURS, norm_place="both", mlp="geglu", qk_norm="none", attention_cap=2.0, logit_cap=3.0),
    "olmo2": with_fields(OURS, norm_place="post", qk_norm="whole", positions="none"),
}  # fmt: skip


@dataclass
class Opened:
    """A model with its tokenizer."""

    module: Transformer
    tokenizer: Tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train("bpe", [TEXT * 20], 300)


@pytest.fixture(params=SHAPES)
def opened(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Opened:
    """A model of each kind, whose weights are all random."""
    generator = torch.Generator().manual_seed(0)
    config = with_fields(SHAPES[request.param], vocab_size=tokenizer.vocab_size)
    model = Transformer(config).initialize(generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return Opened(model.eval(), tokenizer)


@pytest.fixture
def ids(tokenizer: Tokenizer) -> list[int]:
    return [0, *tokenizer.encode("the cat sat on the mat")]


@pytest.fixture
def view(opened: Opened, ids: list[int]) -> View:
    return View(opened.module, opened.tokenizer, ids, "tuned")


def test_surprisal_and_ranks_are_those_of_the_prediction(view: View) -> None:
    found = view.panel("tokens")
    logprobs = view.network(view.ids)[0].log_softmax(-1)
    for position in range(1, view.length):
        token = view.ids[0, position]
        bits = -logprobs[position - 1, token].item() / np.log(2)
        assert found.arrays["surprisal"][position].item() == pytest.approx(bits, rel=1e-4)
        assert found.arrays["rank"][position] == (logprobs[position - 1] > logprobs[position - 1, token]).sum()
    assert found.arrays["surprisal"][0].isnan()
    assert found.arrays["rank"][0] == -1
    assert "".join(text for _, text in found.meta["tokens"][1:]) == "the cat sat on the mat"
    assert found.meta["tokens"][0] == [0, "<|bos|>"]
    assert (found.meta["name"], found.meta["shape"]["layers"]) == ("tuned", 2)


def test_the_map_is_the_logit_lens(view: View, opened: Opened) -> None:
    found, lens = view.panel("map"), logit_lens(opened, view.ids, k=5)
    assert found.arrays["top"].shape == (3, view.length, 5)
    assert torch.equal(found.arrays["top"], lens.top[:, 0])
    torch.testing.assert_close(found.arrays["logprobs"], lens.top_logprobs[:, 0])
    torch.testing.assert_close(found.arrays["kl"], lens.kl[:, 0] / np.log(2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.arrays["entropy"], lens.entropy[:, 0] / np.log(2))
    assert {*found.meta["words"]} == {*lens.top.flatten().tolist()}


def test_a_long_row_is_read_in_pieces(opened: Opened) -> None:
    generator = torch.Generator().manual_seed(1)
    long = View(opened.module, opened.tokenizer, torch.randint(5, 280, (COLUMNS + 20,), generator=generator))
    whole = logit_lens(opened, long.ids, k=5)
    parts = [long.panel("map", first=first).arrays["top"] for first in (0, COLUMNS)]
    assert torch.equal(torch.cat(parts, dim=1), whole.top[:, 0])
    assert long.panel("tokens").arrays["surprisal"][1:].isfinite().all()


def test_the_pattern_follows_from_queries_and_keys(view: View, opened: Opened) -> None:
    """By the scale, the cap and the softmax that the panel names: what the page calculates before the reader's eyes."""
    for layer, head in ((0, 3), (1, 1)):
        found = view.panel("head", layer=layer, head=head)
        q, k, pattern = (found.arrays[name] for name in ("q", "k", "pattern"))
        scores = q @ k.T * found.meta["scale"]
        if cap := found.meta["cap"]:
            scores = cap * torch.tanh(scores / cap)
        scores.masked_fill_(~torch.ones_like(scores).tril().bool(), float("-inf"))
        torch.testing.assert_close(scores.softmax(-1), pattern, rtol=1e-4, atol=1e-5)
        name = f"blocks.{layer}.attn.hook_pattern"
        torch.testing.assert_close(pattern, trace(opened, view.ids, name)[name][0, head])
        written = trace(opened, view.ids, ("*.hook_result", "*.hook_pattern"))
        whole = written[f"blocks.{layer}.attn.hook_result"][
            0, 0, head
        ].norm()  # of the first token, which sees itself only
        assert found.arrays["value_norms"][0].item() == pytest.approx(whole.item(), rel=1e-4)
        assert found.meta["kv_head"] == head // (4 // view.network.config.kv_heads)


def test_what_a_head_writes_moves_the_logits_as_attribution_says(view: View, opened: Opened) -> None:
    found = view.panel("written", layer=1, head=2, position=4)
    for side in ("promotes", "suppresses"):
        for token, text, value in found.meta[side]:
            part = direct_attribution(opened, view.ids, token, position=4).heads[0, 1, 2].item()
            assert value == pytest.approx(part, rel=1e-3, abs=1e-4)
            assert text == view.text(token)
    values = [value for _, _, value in found.meta["promotes"]]
    assert values == sorted(values, reverse=True)


def test_head_scores_are_those_of_the_lens(view: View, opened: Opened) -> None:
    found, expected = view.panel("heads"), head_scores(opened, view.ids)
    assert torch.equal(found.arrays["previous"], expected.previous)
    assert found.arrays.keys() == set(found.meta["scores"])


def test_neurons_are_sorted_by_what_they_add(view: View, opened: Opened) -> None:
    found = view.panel("neurons", layer=0, position=3, target=20, contrast=30)
    expected = direct_attribution(opened, view.ids, 20, 30, position=3).neurons[0, 0]
    torch.testing.assert_close(found.arrays["all"], expected)
    adds = [abs(one["adds"]) for one in found.meta["neurons"]]
    assert adds == sorted(adds, reverse=True)
    first = found.meta["neurons"][0]
    assert first["neuron"] == expected.abs().argmax()
    seen = trace(opened, view.ids, ("blocks.0.mlp.hook_pre", "blocks.0.mlp.hook_post"))
    assert first["post"] == pytest.approx(seen["blocks.0.mlp.hook_post"][0, 3, first["neuron"]].item())
    for token, _, value in first["promotes"][:2]:
        whole = direct_attribution(opened, view.ids, token, position=3).neurons[0, 0, first["neuron"]].item()
        assert value == pytest.approx(whole, rel=1e-3, abs=1e-4)


def test_rotary_scores_follow_from_the_frequencies(view: View, opened: Opened) -> None:
    """For every distance, as the page turns queries; other layers have none."""
    found = view.panel("head", layer=1, head=3)
    if view.network.config.positions != "rotary":
        assert "frequencies" not in found.arrays
        return
    (q1, q2), (k1, k2) = (found.arrays[name][at].chunk(2) for name, at in (("q", 5), ("k", 2)))
    angles = found.arrays["frequencies"] * (torch.arange(20)[:, None] - 3)
    scores = ((q1 * k1 + q2 * k2) * angles.cos() + (q1 * k2 - q2 * k1) * angles.sin()).sum(-1) * found.meta["scale"]
    expected = scores_by_distance(opened, view.ids, 1, 3, range(20), query=5, key=2).sum(-1)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_examples_of_a_neuron_are_those_of_the_lens(opened: Opened, ids: list[int]) -> None:
    """With the tokens around each place; without a text there are none."""
    rows = torch.randint(5, 280, (7, 30), generator=torch.Generator().manual_seed(1))
    view = View(opened.module, opened.tokenizer, ids, background=Background(corpus=lambda: rows))
    expected = max_examples(opened, rows, "blocks.1.mlp.hook_post", 5)
    for neuron in (3, 40):
        found = view.panel("examples", layer=1, neuron=neuron).meta
        assert found["share"] == pytest.approx(expected.share[neuron].item())
        assert [one["value"] for one in found["examples"]] == pytest.approx(expected.values[neuron].tolist())
        for one, row, at in zip(found["examples"], expected.rows[neuron], expected.positions[neuron], strict=True):
            assert one["tokens"][one["at"]] == view.text(int(rows[row, at]))
            assert one["tokens"] == [view.text(int(token)) for token in rows[row, max(0, at - 10) : at + 6]]
    assert View(opened.module, opened.tokenizer, ids).panel("examples", layer=1, neuron=3).meta["examples"] is None
    with pytest.raises(UserError, match="A neuron must be from 0 to 47 here; got 48"):
        view.panel("examples", layer=1, neuron=48)


def test_rows_of_held_out_text_are_full(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Documents are packed one after another, each after its beginning token; the number of rows is limited."""
    write_jsonl(tmp_path / "val-00000.jsonl", [{"text": TEXT * 4, "source": "a"}, {"text": TEXT * 5, "source": "a"}])
    rows = text_rows(tmp_path, tokenizer, 2)
    assert rows is not None
    assert rows.shape == (2, 64)
    assert rows[0, 0] == 0
    assert tokenizer.decode(rows[0].tolist()).startswith(TEXT)
    assert text_rows(tmp_path / "none", tokenizer, 2) is None


def test_everything_adds_up_to_the_logits(view: View) -> None:
    """By part of the model and by token, for each candidate; those asked for are among them."""
    position = 4
    found = view.panel("why", position=position, tokens=[7, 7])
    cap = view.network.config.logit_cap
    logits = view.network(view.ids)[0, position]
    logits = cap * torch.atanh(logits / cap) if cap else logits
    candidates = [token for token, _ in found.meta["candidates"]]
    assert candidates[0] == logits.argmax()
    assert candidates.count(7) == 1
    arrays = found.arrays
    torch.testing.assert_close(arrays["logit"], logits[candidates], rtol=1e-3, atol=1e-3)
    parts = arrays["inputs"].sum(1) + arrays["layers"].sum((1, 2)) + arrays["last_bias"] + arrays["rest"]
    torch.testing.assert_close(parts, arrays["logit"], rtol=1e-4, atol=1e-4)
    assert arrays["inputs"].shape == (len(candidates), len(found.meta["inputs"]))
    tokens = view.panel("by_token", position=position, tokens=candidates[:2]).arrays
    torch.testing.assert_close(tokens["tokens"].sum(1) + tokens["bias"], arrays["logit"][:2], rtol=1e-3, atol=1e-3)
    exact = linear_map(view.network, view.ids, position=position).contributions(candidates[1])
    torch.testing.assert_close(tokens["tokens"][1], exact.float(), rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(arrays["probability"], view.network(view.ids)[0, position].softmax(-1)[candidates])


def test_logits_and_words_cover_the_whole_vocabulary(view: View) -> None:
    found = view.panel("logits", position=2)
    torch.testing.assert_close(found.arrays["logits"], view.network(view.ids)[0, 2])
    texts = bytes(view.panel("words").arrays["texts"].tolist()).decode().split("\0")
    assert len(texts) == view.network.config.vocab_size
    assert texts[view.ids[0, 1]] == view.text(int(view.ids[0, 1]))


def test_the_model_writes_on(view: View) -> None:
    """As the likeliest token after each says."""
    found = view.panel("continued", count=3)
    ids = view.ids
    for token in found.arrays["ids"].tolist():
        assert view.network(ids)[0, -1].argmax() == token
        ids = torch.cat((ids, torch.tensor([[token]])), dim=1)
    assert found.meta["text"] == view.tokenizer.decode(found.arrays["ids"].tolist())


def test_a_vocabulary_may_be_larger_than_the_tokenizers(tokenizer: Tokenizer) -> None:
    """As in models whose tables are padded; the rows beyond are named by their number."""
    larger = Transformer(with_fields(OURS, vocab_size=tokenizer.vocab_size + 70)).initialize(torch.Generator())
    view = View(larger.eval(), tokenizer, [0, 5, tokenizer.vocab_size + 3])
    assert view.panel("tokens").meta["tokens"][2][1] == f"<{tokenizer.vocab_size + 3}>"
    texts = bytes(view.panel("words").arrays["texts"].tolist()).decode().split("\0")
    assert len(texts) == tokenizer.vocab_size + 70
    for kind in ("logits", "why", "embedding"):
        view.panel(kind, position=2)


def test_an_embedding_has_its_nearest_neighbours(view: View) -> None:
    found = view.panel("embedding", position=2)
    table = view.network.embed.weight
    token = int(view.ids[0, 2])
    cosines = torch.nn.functional.cosine_similarity(table, table[token], dim=-1)
    cosines[token] = -2
    assert [one[0] for one in found.meta["near"]] == cosines.topk(10).indices.tolist()
    assert found.meta["norm"] == pytest.approx(table[token].norm().item())
    stream = trace(view.network, view.ids, "blocks.0.hook_resid_pre")["blocks.0.hook_resid_pre"][0, 2]
    assert torch.equal(found.arrays["vector"], stream)
    assert bool(found.meta["writes"]) == (not view.network.config.tie_embeddings)


def test_positions_are_told_as_they_are(view: View) -> None:
    found = view.panel("positions")
    config = view.network.config
    assert found.meta["kinds"] == [config.positions] * 2
    assert ("wavelengths" in found.arrays) == (config.positions == "rotary")


def test_changes_are_those_of_the_python_that_is_shown(view: View, opened: Opened, ids: list[int]) -> None:
    """Switched off, and taken from another prompt; heads of a layer together."""
    other = [*ids[:-1], 9]
    changes: list[dict[str, Any]] = [
        {"part": "head", "layer": 1, "head": 3},
        {"part": "head", "layer": 1, "head": 0},
        {"part": "mlp", "layer": 0, "ids": other},
    ]
    found = view.panel("what_if", position=5, changes=changes)
    expected = ablation(opened, "blocks.1.attn.hook_z", "zero", heads=[0, 3])
    expected |= ablation(opened, "blocks.0.hook_mlp_out", "resample", reference=other)
    after = trace(opened, view.ids, "logits", interventions=expected)["logits"][0, 5].softmax(-1)
    torch.testing.assert_close(found.arrays["after"], after)
    torch.testing.assert_close(found.arrays["before"], opened.module(view.ids)[0, 5].softmax(-1))
    scope: dict[str, Any] = {"sayso": __import__("sayso"), "model": opened, "ids": view.ids}
    *lines, last = found.meta["python"].splitlines()
    exec("\n".join(lines), scope)
    torch.testing.assert_close(eval(last, scope), after)
    assert {*found.arrays["shown"].tolist()} == {*found.meta["words"]}


def test_a_stream_is_steered_between_two_texts(view: View, opened: Opened) -> None:
    """By the difference of their last streams; once for each stream."""
    change = {"part": "steer", "layer": 0, "text": "the cat", "against": "the dog", "strength": 2.5}
    found = view.panel("what_if", position=5, changes=[change])
    texts = [[0, *opened.tokenizer.encode(text)] for text in ("the cat", "the dog")]
    vector = steering_vector(opened, texts[:1], texts[1:], "blocks.0.hook_resid_post")
    after = trace(opened, view.ids, "logits", interventions=vector.intervention(2.5))["logits"][0, 5].softmax(-1)
    torch.testing.assert_close(found.arrays["after"], after)
    scope: dict[str, Any] = {"sayso": __import__("sayso"), "model": opened, "ids": view.ids}
    *lines, last = found.meta["python"].splitlines()
    exec("\n".join(lines), scope)
    torch.testing.assert_close(eval(last, scope), after)
    with pytest.raises(UserError, match="can be steered once"):
        view.panel("what_if", position=5, changes=[change, change])
    with pytest.raises(UserError, match="needs two texts"):
        view.panel("what_if", position=5, changes=[{**change, "against": ""}])


@pytest.mark.parametrize(
    ("kind", "where", "says"),
    [
        ("haed", {}, "Did you mean 'head'"),
        ("head", {"layer": 2, "head": 0}, "A layer must be from 0 to 1 here; got 2."),
        ("head", {"layer": 0, "head": 4}, "A head must be from 0 to 3 here; got 4."),
        ("written", {"layer": 0, "head": 0, "position": -1}, "A position must be from 0 to"),
        ("why", {"position": 0, "tokens": [10**6]}, "A token must be from 0 to"),
        ("map", {"first": 99}, "A position must be"),
        ("what_if", {"position": 0, "changes": [{"part": "block"}]}, "one of head, attention, mlp, steer; got 'block'"),
        (
            "what_if",
            {"position": 0, "changes": [{"part": "mlp", "layer": 0, "ids": [1]}]},
            "as many as this one; got 1",
        ),
        (
            "what_if",
            {"position": 0, "changes": [{"part": "mlp", "layer": 0}, {"part": "mlp", "layer": 0, "ids": [1]}]},
            "must be of one kind",
        ),
    ],
)
def test_what_is_not_there_is_said(tokenizer: Tokenizer, kind: str, where: dict[str, Any], says: str) -> None:
    model = Transformer(with_fields(OURS, vocab_size=tokenizer.vocab_size)).initialize(torch.Generator().manual_seed(0))
    view = View(model.eval(), tokenizer, [0, 5, 6])
    with pytest.raises(UserError) as error:
        view.panel(kind, **where)
    assert says in str(error.value)


def test_a_view_is_of_one_row(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="one row of tokens; got 2"):
        View(opened.module, opened.tokenizer, [[1, 2], [3, 4]])
    monkeypatch.setattr("sayso.xray.view.LONGEST", 4)
    with pytest.raises(UserError, match="at most 4 tokens; got 5"):
        View(opened.module, opened.tokenizer, [1] * 5)
    with pytest.raises(UserError, match="at most 160 ids"):
        View(opened.module, opened.tokenizer, [1] * 161)


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a packed panel as the page does."""
    size = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + size])
    body = data[4 + size :]
    assert (4 + size) % 8 == 0
    arrays = {}
    for name, (kind, shape, at) in header["arrays"].items():
        count = int(np.prod(shape))
        arrays[name] = torch.from_numpy(np.frombuffer(body, "<" + kind, count, at).reshape(shape).copy())
    return header["meta"], arrays


def test_a_packed_panel_is_read_back() -> None:
    """With odd sizes, wide types and empty arrays."""
    arrays = {
        "bytes": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "wide": torch.tensor([[1, -2]]),
        "double": torch.tensor([0.1, float("nan")], dtype=torch.float64),
        "none": torch.zeros(0, 4),
        "strided": torch.arange(6.0).view(2, 3).T,
    }
    meta, found = unpacked(Panel({"text": "ü\ufffd", "n": 1.5}, arrays).packed())
    assert meta == {"text": "ü\ufffd", "n": 1.5}
    assert found["bytes"].tolist() == [1, 2, 3]
    assert found["wide"].tolist() == [[1, -2]]
    assert found["double"][0].item() == pytest.approx(0.1)
    assert found["double"][1].isnan()
    assert found["none"].shape == (0, 4)
    assert found["strided"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_every_panel_can_be_packed(view: View) -> None:
    """Without numbers that JSON has not."""
    where: dict[str, dict[str, Any]] = {
        "head": {"layer": 0, "head": 0},
        "written": {"layer": 0, "head": 0, "position": 1},
        "neurons": {"layer": 0, "position": 1, "target": 5},
        "what_if": {"position": 1, "changes": []},
        "continued": {"count": 2},
        "examples": {"layer": 0, "neuron": 1},
        "stream": {"layer": 0, "position": 1},
        "by_token": {"position": 1, "tokens": [5, 6]},
        "circuit": {"position": 1, "target": 5},
        "without": {"position": 1, "target": 5},
    }
    for kind in PANELS:
        given = where.get(kind, {"position": 1} if kind in ("embedding", "logits", "why") else {})
        meta, _ = unpacked(view.panel(kind, **given).packed())
        assert isinstance(meta, dict)


def test_a_circuit_has_what_each_weight_carries(
    opened: Opened, ids: list[int], sparse: Callable[[Transformer, float], Transformer]
) -> None:
    """For the largest flows, whose parts and weights are named; a dense model has none, and says how dense it is."""
    dense = View(opened.module, opened.tokenizer, ids).panel("circuit", position=4, target=20, contrast=30).meta
    assert (dense["edges"], dense["share"]) == (None, pytest.approx(1.0, abs=0.01))
    view = View(sparse(opened.module, 0.1), opened.tokenizer, ids)
    if opened.module.config.norm_place != "pre":
        with pytest.raises(UserError, match="whose norms come before attention and MLP"):
            view.panel("circuit", position=4, target=20, contrast=30)
        return
    found = view.panel("circuit", position=4, target=20, contrast=30)
    flows = circuit(opened, ids, 20, 30, position=4)
    assert found.meta["share"] == pytest.approx(0.1, abs=0.02)
    assert torch.equal(found.arrays["outputs"], flows.outputs)
    assert found.meta["logit"] == pytest.approx(flows.logit.item())
    assert 5 < len(found.meta["edges"]) <= 90
    carried = [abs(flow) for *_, flow in found.meta["edges"]]
    assert carried == sorted(carried, reverse=True)
    of_units = {"h": (flows.head_reads, flows.head_writes), "n": (flows.neuron_reads, flows.neuron_writes)}
    for source, target, weight, flow in found.meta["edges"]:
        unit, dimension = (target, source) if source.startswith("d") else (source, target)
        if unit in ("tokens", "logits"):
            expected = {"tokens": flows.inputs, "logits": flows.outputs}[unit][int(dimension[1:])]
            assert (weight is None) == (unit == "tokens")
        else:
            layer, number = map(int, unit[1:].split("."))
            expected = of_units[unit[0]][source == unit][layer, number, int(dimension[1:])]
            assert weight != 0
            mlp = view.network.blocks[layer].mlp
            if unit[0] == "n":
                table = mlp.down.weight.T if source == unit else mlp.up.weight
                assert weight == pytest.approx(table[number, int(dimension[1:])].item())
        assert flow == pytest.approx(expected.item(), rel=1e-5)
    strongest = flows.neuron_writes.abs().sum(-1).argmax().item()
    width = flows.neuron_writes.shape[1]
    name = f"n{strongest // width}.{strongest % width}"
    assert found.meta["units"][name] == pytest.approx(
        flows.neuron_writes.flatten(0, 1)[strongest].sum().item(), rel=1e-4
    )


def test_a_saved_page_reads_the_row_no_more_often_than_it_must(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of many heads and neurons share what they are made from; all but attribution is from one pass."""
    passes = []
    monkeypatch.setattr(view_module, "trace", lambda *given: passes.append(given) or trace(*given))
    view = View(view.network, view.tokenizer, view.ids)
    assert list(panels_of(view))
    assert len(passes) == 1 + min(view.length, POSITIONS)
    layers, positions = view.network.config.layers, min(view.length, POSITIONS)
    misses = {name: getattr(view, name).cache_info().misses for name in ("read", "attribution", "attention", "neurons")}
    assert misses == {"read": positions, "attribution": positions, "attention": layers, "neurons": layers}
    assert view.written.cache_info().misses == layers * positions
