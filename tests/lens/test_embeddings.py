"""Neighbors, analogies, maps and contexts of word vectors against their definitions."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import analogy, nearest_tokens, principal_map, token_vectors, trace, word_contexts
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.token.train import train

TEXT = "the server brings water to the river bank and the money bank server is down. "


@dataclass(frozen=True)
class Opened:
    """A model with a tokenizer."""

    module: Transformer
    tokenizer: Tokenizer


@pytest.fixture(scope="module")
def opened() -> Opened:
    tokenizer = train("bpe", [TEXT * 9], 310)
    shape = ModelConfig(tokenizer.vocab_size, 3, 32, 2, 1, 16, 48, context=64)
    model, generator = Transformer(shape), torch.Generator().manual_seed(0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.3, generator=generator)
    return Opened(model.eval(), tokenizer)


def set_vectors(opened: Opened, vectors: dict[str, list[float]]) -> None:
    """Set the embeddings of words to the given first numbers, and all others far from them."""
    with torch.no_grad():
        opened.module.embed.weight.zero_()
        opened.module.embed.weight[:, 31] = 9
        for word, numbers in vectors.items():
            (token,) = opened.tokenizer.encode(word)
            opened.module.embed.weight[token] = F.pad(torch.tensor(numbers), (0, 32 - len(numbers)))


def words(opened: Opened, ids: Tensor) -> list[str]:
    return [opened.tokenizer.decode([token]) for token in ids.tolist()]


def test_neighbors_are_those_of_all_vectors(opened: Opened) -> None:
    """By cosine the largest, by Euclidean distance the smallest, of both tables, without the token itself."""
    (token,) = opened.tokenizer.encode(" bank")
    for table, vectors in (("input", opened.module.embed.weight), ("output", opened.module.unembed.weight)):
        for by, order in (
            ("cosine", F.cosine_similarity(vectors, vectors[token][None]).argsort(descending=True)),
            ("euclidean", (vectors - vectors[token]).norm(dim=1).argsort()),
        ):
            found = nearest_tokens(opened, " bank", 5, by=by, table=table)
            assert order[0] == token
            assert found.ids.tolist() == order[1:6].tolist()
            torch.testing.assert_close(found.norms, vectors[found.ids].norm(dim=1).detach())
    vector = opened.module.embed.weight[token].detach()
    assert nearest_tokens(opened, vector, 1).ids.tolist() == [token]
    assert nearest_tokens(opened, token, 5).ids.tolist() == nearest_tokens(opened, "bank", 5).ids.tolist()


def test_distance_counts_lengths_and_cosine_does_not(opened: Opened) -> None:
    """A long vector of the same direction is nearest by cosine, a short one of another direction by distance."""
    set_vectors(opened, {" bank": [1.0, 0.0], " river": [5.0, 0.5], " money": [0.1, 0.3]})
    cosine, distance = (nearest_tokens(opened, " bank", 2, by=by) for by in ("cosine", "euclidean"))
    assert words(opened, cosine.ids) == [" river", " money"]
    assert words(opened, distance.ids) == [" money", " river"]
    torch.testing.assert_close(distance.values[0], torch.tensor([0.9, 0.3]).norm())
    torch.testing.assert_close(
        cosine.values[0], F.cosine_similarity(torch.tensor([5, 0.5]), torch.tensor([1, 0.0]), dim=0)
    )


def test_vectors_of_one_length_have_the_same_neighbors(opened: Opened) -> None:
    with torch.no_grad():
        opened.module.embed.weight.copy_(F.normalize(torch.randn(opened.module.embed.weight.shape), dim=1))
    cosine, distance = (nearest_tokens(opened, 70, 20, by=by) for by in ("cosine", "euclidean"))
    assert cosine.ids.tolist() == distance.ids.tolist()
    torch.testing.assert_close(distance.values.square(), 2 - 2 * cosine.values, rtol=1e-3, atol=1e-4)


def test_an_analogy_adds_the_difference_of_directions(opened: Opened) -> None:
    """River : bank as money : ..., for vectors of different lengths; the three words are left out."""
    made = {" river": [2.0, 0, 0], " bank": [3.0, 3.0, 0], " money": [0.0, 0, 1.0], " water": [-0.3, 0.7, 1.0]}
    set_vectors(opened, made)
    found = analogy(opened, " river", " bank", " money", 3)
    assert words(opened, found.ids)[0] == " water"
    unit = {word: F.normalize(torch.tensor(numbers), dim=0) for word, numbers in made.items()}
    expected = F.cosine_similarity(unit[" bank"] - unit[" river"] + unit[" money"], unit[" water"], dim=0)
    torch.testing.assert_close(found.values[0], expected)
    used = {opened.tokenizer.encode(word)[0] for word in (" river", " bank", " money")}
    assert not used & set(found.ids.tolist())


def test_a_map_keeps_the_distances_of_vectors_in_a_plane() -> None:
    """Two axes hold all of the variance of vectors in a plane; the first holds most of it."""
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(7, 2, generator=generator) * torch.tensor([3.0, 1.0])
    plane = torch.linalg.qr(torch.randn(20, 2, generator=generator))[0]
    vectors = flat @ plane.T + 5
    found = principal_map(vectors)
    torch.testing.assert_close(
        torch.cdist(found.points, found.points), torch.cdist(vectors, vectors), rtol=1e-3, atol=1e-3
    )
    assert found.shares.sum() == pytest.approx(1, abs=1e-5)
    assert found.shares[0] > found.shares[1]
    torch.testing.assert_close(found.points.var(0) / vectors.var(0).sum(), found.shares)
    again = principal_map(vectors.flip(0), 1)
    torch.testing.assert_close(again.points.flip(0), found.points[:, :1], rtol=1e-3, atol=1e-4)
    assert principal_map(vectors.view(7, 1, 20)).points.shape == (7, 1, 2)


def test_a_words_vectors_are_those_of_its_last_token_in_each_layer(opened: Opened) -> None:
    texts = ["the server brings water", "the money bank server is down, the server", "serverés? server."]
    found = word_contexts(opened, texts, "server")
    assert [text for text, _ in found.places] == [0, 1, 1, 2]
    for number, (text, place) in enumerate(found.places):
        ids = [opened.tokenizer.specials[BOS], *opened.tokenizer.encode(texts[text])]
        assert opened.tokenizer.decode(ids[: place + 1]).endswith("server")
        for layer, name in enumerate(found.names):
            torch.testing.assert_close(found.vectors[layer, number], trace(opened.module, ids, name)[name][0, place])
    assert found.names[0] == "blocks.0.hook_resid_pre"
    assert found.names[-1] == "blocks.2.hook_resid_post"


def test_a_last_letter_may_be_a_token_of_its_own(opened: Opened) -> None:
    found = word_contexts(opened, ["the bankX is down"], "bankX")
    ids = [opened.tokenizer.specials[BOS], *opened.tokenizer.encode("the bankX is down")]
    assert opened.tokenizer.decode([ids[found.places[0][1]]]) == "X"


def test_context_moves_a_word_only_after_the_first_block(opened: Opened) -> None:
    """Its vector is the same everywhere before the first block, and the same after any block in the same context."""
    texts = ["the river bank", "the money bank", "the river bank is down"]
    found = word_contexts(opened, texts, "bank")
    torch.testing.assert_close(found.cosines[0], torch.ones(3, 3))
    torch.testing.assert_close(found.cosines[:, 0, 2], torch.ones(4))
    assert found.cosines[-1, 0, 1] < 0.999
    torch.testing.assert_close(found.moved[0], torch.ones(3))
    expected = F.cosine_similarity(found.vectors[3, 1], found.vectors[0, 1], dim=0)
    torch.testing.assert_close(found.moved[3, 1], expected)


def test_bad_input_is_refused(opened: Opened) -> None:
    with pytest.raises(UserError, match="'water bank' is 3: "):
        analogy(opened, " river", " bank", "water bank")
    for call, message in (
        (lambda: nearest_tokens(opened, ""), "is 0: nothing"),
        (lambda: nearest_tokens(opened, " bank", by="cosin"), "Did you mean 'cosine'"),
        (lambda: nearest_tokens(opened, " bank", table="out"), "Did you mean 'output'"),
        (lambda: nearest_tokens(opened, 999), "from 0 to"),
        (lambda: nearest_tokens(opened, " bank", 0), "k must be from 1 to"),
        (lambda: nearest_tokens(opened, torch.zeros(31)), r"must have 32 numbers; got \(31,\)"),
        (lambda: principal_map(torch.zeros(2, 5)), r"at least 3 vectors of as many numbers; got \(2, 5\)"),
        (lambda: word_contexts(opened, ["the bank"], "river"), "'river' does not occur in the text 'the bank'"),
        (lambda: word_contexts(opened, ["the banks"], "bank"), "does not occur"),
        (lambda: word_contexts(opened, [], "bank"), "at least one text"),
    ):
        with pytest.raises(UserError, match=message):
            call()
    assert token_vectors(opened, [" bank", 3]).shape == (2, 32)
