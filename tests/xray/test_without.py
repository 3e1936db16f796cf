"""What the model would predict without one of the tokens: equal to reading the shorter row."""

import gc
from weakref import ref

import pytest
import torch

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import BOS
from sayso.token.train import train
from sayso.xray import View
from sayso.xray.without import BUDGET


@pytest.fixture(scope="module")
def view() -> View:
    """A row of 60 tokens in a small random model."""
    tokenizer = train("character", ["the cat sat on the mat"], 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 48, context=64)
    model = Transformer(config).initialize(torch.Generator().manual_seed(2)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # or all predictions are nearly alike
    return View(model, tokenizer, tokenizer.encode("the cat sat on the mat the cat sat on the mat the cat sat on"))


def test_it_is_the_prediction_of_the_shorter_row(view: View) -> None:
    ids, position, target = view.ids[0], 9, 5
    found = view.panel("without", position=position, target=target)
    assert found.arrays["removed"].tolist() == [*range(position + 1)]
    for at in range(position + 1):
        shorter = torch.cat((ids[:at], ids[at + 1 : position + 1]))
        expected = view.network(shorter[None])[0, -1].softmax(-1)
        assert found.arrays["share"][at].item() == pytest.approx(expected[target].item(), abs=1e-6)
        assert found.arrays["best"][at] == expected.argmax()
        assert found.arrays["best_share"][at].item() == pytest.approx(expected.max().item(), abs=1e-6)
    whole = view.network(ids[None, : position + 1])[0, -1].softmax(-1)[target]
    assert found.meta["share"] == pytest.approx(whole.item(), abs=1e-6)


def test_only_the_last_tokens_of_a_long_text_are_left_out(view: View) -> None:
    position = view.length - 1
    removed = view.panel("without", position=position, target=0).arrays["removed"].tolist()
    assert removed == [*range(view.length - BUDGET // view.length, view.length)]


def test_nothing_is_left_out_of_one_token(view: View) -> None:
    found = view.panel("without", position=0, target=0)
    assert {name: len(values) for name, values in found.arrays.items()} == dict.fromkeys(found.arrays, 0)
    assert found.packed()


def test_a_token_outside_the_vocabulary_is_refused(view: View) -> None:
    with pytest.raises(UserError, match="A token must be from 0 to"):
        view.panel("without", position=1, target=10_000)


def test_a_model_that_attends_both_ways_reads_all_other_tokens() -> None:
    """Also those behind the position, whose result moves with it; control tokens and its own token stay."""
    tokenizer = train("character", ["the cat sat on the mat"], 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 48, context=64)
    model = Transformer(config).initialize(torch.Generator().manual_seed(2)).eval()
    model.looks_ahead = True
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
    ids = torch.tensor([tokenizer.specials[BOS], *tokenizer.encode("the cat")])
    both, position = View(model, tokenizer, ids.tolist()), 3
    found = both.panel("without", position=position, target=5)
    assert found.arrays["removed"].tolist() == [1, 2, 4, 5, 6, 7]
    for row, at in enumerate(found.arrays["removed"].tolist()):
        shorter = torch.cat((ids[:at], ids[at + 1 :]))
        expected = model(shorter[None])[0, position - (at < position)].softmax(-1)
        assert found.arrays["share"][row].item() == pytest.approx(expected[5].item(), abs=1e-6)
    assert found.meta["share"] == pytest.approx(model(ids[None])[0, position].softmax(-1)[5].item(), abs=1e-6)


def test_a_view_is_gone_when_nobody_needs_it() -> None:
    """At once: the model in it may be large, and the garbage collector does not see how large."""
    tokenizer = train("character", ["the cat sat"], 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 16, 2, 1, 8, 24, context=16)
    view = View(Transformer(config).eval(), tokenizer, tokenizer.encode("the cat"))
    for kind, where in (("why", {"position": 1}), ("written", {"layer": 0, "head": 0, "position": 1})):
        view.panel(kind, **where)
    network = ref(view.network)
    gc.disable()
    try:
        del view
        assert network() is None
    finally:
        gc.enable()
