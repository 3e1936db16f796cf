"""The paged cache: it changes no number, however its blocks lie and rows share them."""

from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sayso.model import ModelConfig, Transformer
from sayso.sample.blocks import BLOCK, Blocks, blocks_for, names_after, salt_name
from sayso.sample.pages import Pages, Window, bytes_per_token
from sayso.sample.runner import Chunk, TorchRunner, groups

VOCABULARY, CONTEXT, ROWS = 97, 160, 7


@pytest.fixture(scope="module", params=[((), 0), ((2, 4), 0), ((), 3)], ids=["plain", "n-grams", "shift"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """A small random model whose every weight counts, with grouped heads and a window."""
    config = ModelConfig(
        vocab_size=VOCABULARY, layers=3, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=CONTEXT
    )
    model = Transformer(
        replace(config, windows=(0, 24, 0), ngrams=request.param[0], ngram_rows=500, shift=request.param[1])
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
    return model.eval()


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
def test_cached_logits_equal_uncached(model: Transformer, seed: int) -> None:
    """Prompts of unequal length, then unequal pieces, in blocks that lie anywhere: logits of plain passes.

    In float64, where nothing but a mistake makes a difference; that of float32 depends on the processor.
    """
    model, random = deepcopy(model).double(), Random(seed)
    texts = [[random.randrange(VOCABULARY) for _ in range(CONTEXT)] for _ in range(ROWS)]
    pages = Pages(model.config, ROWS * blocks_for(CONTEXT), torch.device("cpu"), torch.float64)
    pages.clear(range(len(pages)))
    order = random.sample(range(len(pages)), len(pages))
    tables = [order[row::ROWS] for row in range(ROWS)]
    runner, done = TorchRunner(model, pages), [0] * ROWS
    for turn in range(12):
        rows = random.sample(range(ROWS), random.randint(1, ROWS))
        counts = [1 if turn > 8 else random.randint(1, 12) for _ in rows]
        chunks = [
            Chunk(texts[row][done[row] : done[row] + count], done[row], tables[row][: blocks_for(done[row] + count)])
            for row, count in zip(rows, counts, strict=True)
        ]
        parts = runner.head(runner.hidden(chunks)).split(counts)
        for row, count, logits in zip(rows, counts, parts, strict=True):
            whole = model(torch.tensor([texts[row][: done[row] + count]]))[0, done[row] :]
            torch.testing.assert_close(logits, whole, rtol=0, atol=1e-12)
            done[row] += count


@torch.inference_mode()
def test_rows_that_share_blocks_do_not_disturb_each_other(model: Transformer) -> None:
    """Two rows with the same first block go on differently, each as if alone."""
    pages = Pages(model.config, 3, torch.device("cpu"), torch.float32)
    pages.clear(range(3))
    runner, first = TorchRunner(model, pages), list(range(BLOCK))
    runner.hidden([Chunk(first, 0, [0])])
    logits = runner.head(runner.hidden([Chunk([5, 6], BLOCK, [0, 1]), Chunk([7, 8], BLOCK, [0, 2])]))
    for place, tail in ((0, [5, 6]), (2, [7, 8])):
        whole = model(torch.tensor([[*first, *tail]]))[0, BLOCK:]
        torch.testing.assert_close(logits[place : place + 2], whole, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_copied_block_goes_on_alike(model: Transformer) -> None:
    """A row that copies another's half-filled block has the same past and a future of its own."""
    pages = Pages(model.config, 2, torch.device("cpu"), torch.float32)
    pages.clear(range(2))
    runner = TorchRunner(model, pages)
    runner.hidden([Chunk([1, 2, 3], 0, [0])])
    pages.copy(0, 1)
    logits = runner.head(runner.hidden([Chunk([4], 3, [0]), Chunk([5], 3, [1])]))
    for place, last in enumerate((4, 5)):
        torch.testing.assert_close(logits[place], model(torch.tensor([[1, 2, 3, last]]))[0, -1], rtol=0, atol=1e-5)


def test_what_was_in_a_block_before_is_never_met(model: Transformer) -> None:
    """Memory that holds no number at all does not reach a row, since a block is cleared when it is taken."""
    pages = Pages(model.config, 2, torch.device("cpu"), torch.float32)
    for part in (*pages.keys, *pages.values):
        part.fill_(float("nan"))
    pages.clear([0, 1])
    runner = TorchRunner(model, pages)
    runner.hidden([Chunk([1, 2, 3], 0, [1]), Chunk([1], 0, [0])])
    assert bool(runner.hidden([Chunk([4], 3, [1]), Chunk([4], 1, [0])]).isfinite().all())


def test_positions_and_mask_of_a_pass() -> None:
    """Rows that all begin need no mask; a row that goes on sees its past and itself, and padding nothing new."""
    config = ModelConfig(vocab_size=5, layers=1, width=8, heads=1, kv_heads=1, head_size=8, mlp_width=8, context=64)
    pages = Pages(config, 4, torch.device("cpu"), torch.float32)
    fresh = Window(pages, [0, 0], [2, 3], [[0], [1]])
    assert fresh.mask is None
    assert fresh.positions.tolist() == [[0, 1, 2], [0, 1, 2]]
    later = Window(pages, [2, 0], [1, 2], [[0], [1]])
    assert later.mask is not None
    assert later.mask[:, 0].tolist() == [[[True] * 3, [True] * 3], [[True, False, False], [True, True, False]]]


def test_the_cost_of_a_token() -> None:
    """Keys and values of each layer, as many bytes as their numbers have."""
    config = ModelConfig(vocab_size=5, layers=30, width=576, heads=9, kv_heads=3, head_size=64, mlp_width=8, context=64)
    assert bytes_per_token(config, torch.float32) == 2 * 30 * 3 * 64 * 4


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=12))
def test_groups_hold_every_chunk_once_and_little_padding(sizes: list[tuple[bool, int]]) -> None:
    """No chunk is lost, rows that begin stand apart from rows that go on, and at most half of a group is padding."""
    chunks = [Chunk([0] * count, 3 * begun, [0]) for begun, count in sizes]
    found = list(groups(chunks))
    assert sorted(place for group in found for place in group) == list(range(len(chunks)))
    for group in found:
        assert len({chunks[place].start for place in group}) == 1
        lengths = [len(chunks[place].ids) for place in group]
        assert 2 * min(lengths) >= max(lengths)


def test_names_tell_what_came_before() -> None:
    """A block's name is of all tokens up to its end, and of the salt."""
    ids = list(range(3 * BLOCK + 5))
    names = names_after(salt_name(""), ids)
    assert len(names) == 3
    assert names_after(names[0], ids[BLOCK:]) == names[1:]
    other = names_after(salt_name(""), [99, *ids[1:]])
    assert not set(names) & set(other)
    assert not set(names) & set(names_after(salt_name("a"), ids))


@pytest.mark.parametrize("seed", range(40))
def test_blocks_are_never_lost_nor_given_twice(seed: int) -> None:
    """Under any order of taking, sharing, naming and releasing: holders are right, and a found block holds its name."""
    random = Random(seed)
    count = random.randint(4, 12)
    blocks = Blocks(count)
    rows: list[list[int]] = []
    held: dict[bytes, int] = {}
    for turn in range(100):
        if blocks.free and random.random() < 0.5:
            block = blocks.take()
            assert all(block not in row for row in rows)
            held = {name: place for name, place in held.items() if place != block}
            rows.append([block])
            if random.random() < 0.7:
                name = bytes([turn])
                blocks.name(block, name)
                held[name] = block
        elif rows:
            blocks.release(rows.pop(random.randrange(len(rows))))
        if held and random.random() < 0.3:
            name, block = random.choice(list(held.items()))
            assert blocks.find([name, b"unknown"]) == [block]
            blocks.hold([block])
            rows.append([block])
        taken = {block for row in rows for block in row}
        assert blocks.free == count - len(taken)
        assert blocks.holders == [sum(block in row for row in rows) for block in range(count)]
    for row in rows:
        blocks.release(row)
    assert blocks.free == count
