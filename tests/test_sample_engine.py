"""The decoder: a cache that changes no number, and rows that do not feel their neighbours."""

from dataclasses import replace
from random import Random

import pytest
import torch

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.sample.cache import BLOCK, Cache
from sayso.sample.engine import Completion, generate, stream
from sayso.sample.sampling import Sampling

VOCABULARY, CONTEXT = 97, 160
GREEDY = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module", params=[(), (2, 4)], ids=["plain", "n-grams"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """A small random model whose every weight counts, with grouped heads."""
    config = ModelConfig(
        vocab_size=VOCABULARY, layers=3, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=CONTEXT
    )
    model = Transformer(replace(config, ngrams=request.param, ngram_rows=500))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.25, generator=generator)
    return model.eval()


def random_prompts(count: int, longest: int = 60, seed: int = 0) -> list[list[int]]:
    """Prompts of unequal length."""
    draw = Random(seed)
    return [[draw.randrange(VOCABULARY) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def extended(model: Transformer, cache: Cache, first: int, pieces: list[list[int]]) -> torch.Tensor:
    """Logits [B, T, V] of one pass that gives each row from `first` on its next tokens."""
    counts = [len(piece) for piece in pieces]
    ids = torch.tensor([piece + [0] * (max(counts) - len(piece)) for piece in pieces])
    positions, mask = cache.extend(first, counts)
    return model(ids, positions=positions, mask=mask, cache=cache)


@torch.inference_mode()
def test_cached_logits_equal_uncached(model: Transformer) -> None:
    """Prompts of unequal length, then unequal pieces, then single tokens: the logits of plain passes to 1e-5."""
    rows = random_prompts(7, longest=40)
    cuts = [[random.randint(1, 9) for _ in range(3)] + [1] * 8 for random in map(Random, range(7))]
    texts = [row + random_prompts(1, 60, 100)[0] * 60 for row in rows]
    cache = Cache(model.config, 7, torch.device("cpu"), torch.float32)
    done = [0] * 7
    for turn in range(12):
        counts = [len(row) for row in rows] if turn == 0 else [cut[turn - 1] for cut in cuts]
        pieces = [text[start : start + count] for text, start, count in zip(texts, done, counts, strict=True)]
        logits = extended(model, cache, 0, pieces)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            whole = model(torch.tensor([text[: done[row] + count]]))[0, done[row] :]
            torch.testing.assert_close(logits[row, :count], whole, rtol=0, atol=1e-5)
            done[row] += count
    assert cache.lengths == done


@torch.inference_mode()
def test_rows_drop_and_come_without_touching_others(model: Transformer) -> None:
    """After rows left and others took their places, each row's logits are still those of its own text."""
    texts = dict(enumerate(random_prompts(6)))
    cache = Cache(model.config, 6, torch.device("cpu"), torch.float32)
    extended(model, cache, 0, list(texts.values()))
    order = list(texts)
    for place in (5, 1, 0):
        cache.drop(place)
        order[place] = order[-1]
        order.pop()
    texts |= {6: [5, 6, 7], 7: random_prompts(1, seed=9)[0]}
    extended(model, cache, len(order), [texts[6], texts[7]])
    order += [6, 7]
    logits = extended(model, cache, 0, [[row] for row in order])
    for place, row in enumerate(order):
        whole = model(torch.tensor([[*texts[row], row]]))[0, -1]
        torch.testing.assert_close(logits[place, 0], whole, rtol=0, atol=1e-5)


def test_memory_is_taken_in_blocks(model: Transformer) -> None:
    """A short prompt takes one block of columns, and more only when it is needed."""
    cache = Cache(model.config, 2, torch.device("cpu"), torch.float32)
    cache.extend(0, [3, BLOCK - 1])
    assert cache.keys[0].shape[2] == BLOCK
    cache.extend(0, [1, 1])
    assert cache.keys[0].shape[2] == BLOCK
    cache.extend(0, [1, 1])
    assert cache.keys[0].shape[2] == 2 * BLOCK


@torch.inference_mode()
def plain_greedy(model: Transformer, prompt: list[int], count: int, stop_ids: frozenset[int]) -> Completion:
    """The same without cache or batch: the definition."""
    ids: list[int] = []
    logprobs: list[float] = []
    for _ in range(min(count, CONTEXT - len(prompt))):
        chances = model(torch.tensor([prompt + ids]))[0, -1].log_softmax(-1)
        token = int(chances.argmax())
        if token in stop_ids:
            return Completion(ids, "stop", logprobs)
        ids.append(token)
        logprobs.append(float(chances[token]))
    return Completion(ids, "length", logprobs)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_greedy_equals_the_uncached_loop(model: Transformer, rows: int) -> None:
    """Ids, finish and log-probabilities are those of a loop without cache, however many rows decode side by side."""
    prompts, stop_ids = random_prompts(23), frozenset(range(0, VOCABULARY, 24))
    done = generate(model, prompts, GREEDY, stop_ids, rows=rows)
    assert {completion.finish for completion in done} == {"stop", "length"}
    for prompt, ours in zip(prompts, done, strict=True):
        plain = plain_greedy(model, prompt, GREEDY.max_tokens, stop_ids)
        assert (ours.ids, ours.finish) == (plain.ids, plain.finish)
        assert ours.logprobs == pytest.approx(plain.logprobs, abs=1e-4)


SAMPLED = (
    Sampling(seed=11, max_tokens=24),
    Sampling(seed=11, max_tokens=24, temperature=1.3, top_k=30, top_p=0.9, min_p=0.01, repetition_penalty=1.2),
)


@pytest.mark.parametrize("sampling", [GREEDY, *SAMPLED], ids=["greedy", "sampled", "all filters"])
def test_batched_equals_alone(model: Transformer, sampling: Sampling) -> None:
    """A row's text is the same in a batch of all, in small batches that refill, and streamed alone."""
    prompts, stop_ids = random_prompts(17), frozenset({3, 50})
    together = generate(model, prompts, sampling, stop_ids)
    assert generate(model, prompts, sampling, stop_ids, rows=4) == approximately(together)
    for row, (prompt, completion) in enumerate(zip(prompts, together, strict=True)):
        assert list(stream(model, prompt, sampling, stop_ids, row=row)) == completion.ids


def approximately(completions: list[Completion]) -> list[Completion]:
    """The same completions, whose log-probabilities are compared to 1e-4."""
    return [Completion(done.ids, done.finish, pytest.approx(done.logprobs, abs=1e-4)) for done in completions]


def test_same_seed_same_text_another_seed_another(model: Transformer) -> None:
    """A seed fixes every row's text; rows of one prompt, other seeds and runs without a seed all differ."""
    prompts = [[1, 2, 3]] * 4

    def texts(seed: int | None) -> list[list[int]]:
        return [done.ids for done in generate(model, prompts, Sampling(seed=seed, max_tokens=24))]

    assert texts(5) == texts(5)
    assert len({tuple(ids) for ids in (*texts(5), *texts(6), *texts(None), *texts(None))}) == 16


def test_the_global_generator_is_left_alone(model: Transformer) -> None:
    """Sampling neither reads nor moves torch's global random state."""
    before = torch.get_rng_state()
    first = generate(model, [[1, 2]], SAMPLED[0])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert generate(model, [[1, 2]], SAMPLED[0]) == first
    torch.set_rng_state(before)


def test_a_reply_ends_where_the_context_is_full(model: Transformer) -> None:
    """max_tokens is cut to the room that is left, down to a single token."""
    prompts = [[1] * (CONTEXT - 1), [2] * (CONTEXT - 10), [3]]
    done = generate(model, prompts, Sampling(temperature=0, max_tokens=12))
    assert [len(completion.ids) for completion in done] == [1, 10, 12]
    assert {completion.finish for completion in done} == {"length"}


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 5])
def test_a_prompt_without_room_is_refused(model: Transformer, length: int) -> None:
    """The error has both numbers and the mend, and comes before anything is decoded, streamed or not."""
    message = rf"context of {CONTEXT} tokens; this one has {length}: shorten it"
    with pytest.raises(UserError, match=message):
        generate(model, [[1], [1] * length], GREEDY)
    with pytest.raises(UserError, match=message):
        stream(model, [1] * length, GREEDY)


def test_an_empty_prompt_is_refused_and_no_prompts_are_fine(model: Transformer) -> None:
    """Nothing to continue is a mistake; nothing to do is not."""
    with pytest.raises(UserError, match="at least one token"):
        generate(model, [[]], GREEDY)
    assert generate(model, [], GREEDY) == []


def test_a_watcher_ends_rows_and_sees_every_token(model: Transformer) -> None:
    """The watcher gets each row's ids in order; a row it ends has finish "stop" and keeps the last id."""
    seen: dict[int, list[int]] = {}

    def watch(row: int, token: int) -> bool:
        seen.setdefault(row, []).append(token)
        return row % 2 == 0 and len(seen[row]) == 5

    done = generate(model, random_prompts(9), SAMPLED[0], rows=4, watch=watch)
    assert [completion.ids for completion in done] == [seen[row] for row in range(9)]
    assert [(len(one.ids), one.finish) for one in done] == [(5, "stop"), (24, "length")] * 4 + [(5, "stop")]


def test_a_damaged_model_is_told(model: Transformer) -> None:
    """Logits that are no numbers end in a sentence, greedy or sampled, not in a crash."""
    broken = Transformer(model.config)
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))
    for sampling in (GREEDY, *SAMPLED):
        with pytest.raises(UserError, match="gave NaN"):
            generate(broken, [[1, 2]], sampling)
