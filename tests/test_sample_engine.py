"""The engine: rows that do not feel their neighbours, whatever is read in pieces, used again, or given up."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from random import Random

import pytest
import torch

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, adapters, add_lora
from sayso.sample.blocks import BLOCK
from sayso.sample.engine import Engine
from sayso.sample.generate import Completion, generate, stream
from sayso.sample.pages import bytes_per_token
from sayso.sample.request import Request
from sayso.sample.runner import AloneRunner
from sayso.sample.sampling import Sampling

VOCABULARY, CONTEXT = 97, 160
GREEDY = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module", params=[((), 0), ((2, 4), 0), ((), 3)], ids=["plain", "n-grams", "shift"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """A small random model whose every weight counts, with grouped heads."""
    config = ModelConfig(
        vocab_size=VOCABULARY, layers=3, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=CONTEXT
    )
    model = Transformer(replace(config, ngrams=request.param[0], ngram_rows=500, shift=request.param[1]))
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


@torch.inference_mode()
def plain_greedy(model: Transformer, prompt: list[int], count: int, stop_ids: frozenset[int]) -> Completion:
    """The same without cache or batch: the definition."""
    ids: list[int] = []
    logprobs: list[float] = []
    for _ in range(min(count, CONTEXT - len(prompt))):
        chances = model(torch.tensor([prompt + ids]))[0, -1].log_softmax(-1)
        token = int(chances.argmax())
        if token in stop_ids:
            return Completion(ids, "stop", logprobs, token, float(chances[token]))
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
        assert (ours.ids, ours.finish, ours.ended_by) == (plain.ids, plain.finish, plain.ended_by)
        assert ours.logprobs == pytest.approx(plain.logprobs, abs=1e-4)
        assert ours.ended_logprob == pytest.approx(plain.ended_logprob, abs=1e-4)


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
    return [
        replace(
            done,
            logprobs=pytest.approx(done.logprobs, abs=1e-4),
            ended_logprob=pytest.approx(done.ended_logprob, abs=1e-4),
        )
        for done in completions
    ]


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
    message = rf"context of {CONTEXT} tokens; it has {length}: shorten it"
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
        with pytest.raises(UserError, match="produced NaN"):
            generate(broken, [[1, 2]], sampling)


def replied(engine: Engine, requests: list[Request]) -> list[list[int]]:
    """What each request says when all are asked at once."""
    for request in requests:
        engine.add(request)
    while not engine.idle:
        engine.step()
    assert {request.finish for request in requests} <= {"stop", "length"}
    assert engine.blocks.free == engine.blocks.count, "every block came back"
    return [request.ids for request in requests]


def requests_of(prompts: list[list[int]], sampling: Sampling = SAMPLED[0], salt: str = "") -> list[Request]:
    """A request a prompt, numbered."""
    return [Request(prompt, sampling, index, frozenset({3}), salt) for index, prompt in enumerate(prompts)]


@pytest.mark.parametrize("pass_tokens", [1, 7, 50])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_prompts_read_in_pieces_say_the_same(model: Transformer, rows: int, pass_tokens: int) -> None:
    """However few tokens a pass takes, beside however many rows that decode, each request's text is its own."""
    prompts = random_prompts(9)
    whole = [done.ids for done in generate(model, prompts, SAMPLED[0], frozenset({3}))]
    assert replied(Engine(model, rows=rows, pass_tokens=pass_tokens), requests_of(prompts)) == whole


def test_a_long_prompt_does_not_hold_up_the_others(model: Transformer) -> None:
    """While a prompt is read in pieces, a row that decodes gets a token in every step."""
    engine = Engine(model, pass_tokens=11)
    first = Request([1], GREEDY)
    engine.add(first)
    engine.step()
    late = Request([2] * 100, GREEDY)
    engine.add(late)
    for steps in range(1, 11):
        assert not late.ids
        assert engine.step().count(first) == 1
        assert len(first.ids) == 1 + steps
    assert len(late.ids) == 1


def test_requests_that_belong_together_take_turns_with_others(model: Transformer) -> None:
    """On one row: many of one caller, and others of which three always wait, start by turns; nobody waits forever."""
    engine, one = Engine(model, rows=1), replace(GREEDY, max_tokens=1)
    many = [Request([1], one, index) for index in range(5)]
    others = [Request([2], one, index) for index in range(40)]
    for place, request in enumerate(many):
        engine.add(request, place)
    started, coming = [], iter(others)
    while not all(request.finish for request in many):
        while sum(request in others for request in engine.waiting) < 3:
            engine.add(next(coming))
        started += ["many" if request in many else "other" for request in engine.step()]
    gaps = "".join(name[0] for name in started).split("m")[1:-1]
    assert all(1 <= len(gap) <= 4 for gap in gaps), started


def test_a_prefix_is_computed_once(model: Transformer) -> None:
    """Requests that begin alike, at once or later, compute only what is new, and say what they say without that."""
    shared = [5, 6, 7, 8] * 20
    prompts = [[*shared, *tail] for tail in random_prompts(8, longest=5)]
    alone = replied(Engine(model, reuse=False), requests_of(prompts))
    engine = Engine(model)
    assert replied(engine, requests_of(prompts)) == alone
    assert engine.counts.reused_tokens == 7 * len(shared)
    assert replied(engine, requests_of(prompts)) == alone
    assert engine.counts.reused_tokens == 15 * len(shared)


@pytest.mark.parametrize("bits", [0, 8])
def test_a_prefix_that_ends_inside_a_block_is_computed_once_too(model: Transformer, bits: int) -> None:
    """Who comes while others of the same beginning speak computes nothing but the tokens of its own."""
    shared = [5, 6, 7, 8] * 6 + [9, 9, 9]
    prompts = [[*shared, 20 + row, 3] for row in range(6)]
    alone = replied(Engine(model, reuse=False, cache_bits=bits), requests_of(prompts))
    engine = Engine(model, cache_bits=bits)
    assert replied(engine, requests_of(prompts)) == alone
    assert engine.counts.reused_tokens == 5 * len(shared)
    assert replied(engine, requests_of(prompts, salt="b")) == alone
    assert engine.counts.reused_tokens == 10 * len(shared)


def test_what_was_replied_is_a_prefix_too(model: Transformer) -> None:
    """The next turn of a conversation finds the last one's reply computed already."""
    engine = Engine(model)
    first = requests_of([[9] * 20], GREEDY)[0]
    first.stop_ids = frozenset()
    (said,) = replied(engine, [first])
    before = engine.counts.reused_tokens
    replied(engine, requests_of([[*first.prompt, *said, 4, 5]], GREEDY))
    assert engine.counts.reused_tokens - before == (20 + len(said) - 1) // BLOCK * BLOCK


def test_another_salt_shares_nothing(model: Transformer) -> None:
    """What one user's prompt cost cannot be told from another's (vLLM's cache_salt)."""
    engine = Engine(model)
    for salt in ("", "a", "b"):
        replied(engine, requests_of([[7] * 50], salt=salt))
        assert engine.counts.reused_tokens == 0


@pytest.mark.parametrize("tokens", [CONTEXT, 2 * CONTEXT + 20])
@pytest.mark.parametrize("reuse", [True, False])
def test_rows_that_give_up_their_blocks_say_the_same(model: Transformer, tokens: int, *, reuse: bool) -> None:
    """With a cache too small for all, rows leave and come back, and nothing they say changes."""
    prompts = random_prompts(12, longest=40)
    sampling = replace(SAMPLED[1], max_tokens=60)
    whole = replied(Engine(model), requests_of(prompts, sampling))
    engine = Engine(model, tokens=tokens, reuse=reuse)
    assert replied(engine, requests_of(prompts, sampling)) == whole
    assert engine.counts.preemptions > 0


def test_memory_is_taken_back_from_prefixes(model: Transformer) -> None:
    """Many different prompts pass through a small cache: old prefixes make room for new ones."""
    engine = Engine(model, rows=2, tokens=CONTEXT)
    prompts = random_prompts(40)
    assert replied(engine, requests_of(prompts)) == [
        done.ids for done in generate(model, prompts, SAMPLED[0], frozenset({3}))
    ]


def test_a_cancelled_request_frees_its_blocks_at_once(model: Transformer) -> None:
    """Waiting or running, it leaves, and the others do not notice."""
    prompts = random_prompts(5)
    whole = replied(Engine(model), requests_of(prompts))
    engine = Engine(model, rows=4)
    requests = requests_of(prompts)
    for request in requests:
        engine.add(request)
    engine.step()
    engine.cancel(requests[4])
    engine.cancel(requests[1])
    assert [requests[place].finish for place in (1, 4)] == ["cancelled"] * 2
    held = sum(len(row.blocks) for row in engine.running)
    assert engine.blocks.free == engine.blocks.count - held
    while not engine.idle:
        engine.step()
    assert [requests[place].ids for place in (0, 2, 3)] == [whole[place] for place in (0, 2, 3)]


def test_a_request_larger_than_the_cache_is_refused(model: Transformer) -> None:
    """It could never run to its end."""
    with pytest.raises(UserError, match="cache of 64 tokens; this one may need 74: lower max_tokens"):
        Engine(model, tokens=60).add(Request([1] * 50, GREEDY))


def test_requests_of_one_batch_have_their_own_settings(model: Transformer) -> None:
    """Greedy, sampled, short and long side by side give each what it gets alone."""
    prompts = random_prompts(6)
    samplings = [
        GREEDY,
        *SAMPLED,
        replace(GREEDY, max_tokens=1),
        replace(SAMPLED[0], seed=3),
        replace(SAMPLED[1], top_k=2),
    ]
    requests = [Request(prompt, sampling) for prompt, sampling in zip(prompts, samplings, strict=True)]
    alone = [generate(model, [one.prompt], one.sampling)[0].ids for one in requests]
    assert replied(Engine(model), requests) == alone


def test_each_request_has_its_own_adapter(model: Transformer) -> None:
    """Rows of the plain model and of two adapters side by side say what each model says alone, and share no prefix."""
    models = {"": model}
    for number, name in enumerate(("a", "b")):
        twin = deepcopy(model)
        generator = torch.Generator().manual_seed(number)
        add_lora(twin, LoRA(rank=2, alpha=4.0, targets=()), generator)
        with torch.no_grad():
            for layer in adapters(twin).values():
                layer.b.normal_(std=0.3, generator=generator)
        models[name] = twin
    prompts = [[5, 6, 7] * 10] * 6
    requests = requests_of(prompts)
    for request, name in zip(requests, ["", "a", "b"] * 2, strict=True):
        request.adapter = name
    said = replied(Engine(model, adapters={"a": models["a"], "b": models["b"]}), requests)
    for request, ids in zip(requests, said, strict=True):
        only = Request(request.prompt, request.sampling, request.index, request.stop_ids)
        assert replied(Engine(models[request.adapter]), [only]) == [ids]
    assert said[0] != said[1] != said[2]


def test_an_unknown_adapter_is_refused(model: Transformer) -> None:
    """The error has those that there are."""
    with pytest.raises(UserError, match="opened without adapters; got 'x'"):
        Engine(model).add(Request([1], GREEDY, adapter="x"))
    with pytest.raises(UserError, match=r"Adapters are poet; got 'poets'\. Did you mean 'poet'\?"):
        Engine(model, adapters={"poet": model}).add(Request([1], GREEDY, adapter="poets"))


def test_a_cache_of_whole_numbers_changes_little(model: Transformer) -> None:
    """Keys and values in 8 bits: log-probabilities move by a hundredth or so; memory is a quarter and scales."""
    prompts = random_prompts(8)
    with torch.inference_mode():
        exact = [model(torch.tensor([prompt]))[0, -1].log_softmax(-1) for prompt in prompts]
    engine = Engine(model, cache_bits=8, pass_tokens=9)
    requests = requests_of(prompts, replace(GREEDY, max_tokens=1))
    replied(engine, requests)
    moved = [
        abs(float(one[request.ids[0]]) - request.logprobs[0])
        for one, request in zip(exact, requests, strict=True)
        if request.ids  # the others end at once
    ]
    assert len(moved) > 5
    assert 0 < max(moved) < 0.1
    assert bytes_per_token(model.config, torch.float32, 8) == 2 * 3 * 2 * (8 + 4)
    again = Engine(model, cache_bits=8, rows=3)
    assert replied(again, requests_of(prompts)) == replied(Engine(model, cache_bits=8), requests_of(prompts))
    with pytest.raises(UserError, match=r"with 8 bits, or unquantized \(0\); got 4"):
        Engine(model, cache_bits=4)


def test_a_prompt_is_scored_once_and_whole(model: Transformer) -> None:
    """Log-probabilities of the prompt's tokens are those of a plain pass, read in pieces, reused or redone."""
    prompts = [[7] * 20 + tail for tail in random_prompts(6, longest=50)]
    for engine in (Engine(model), Engine(model, pass_tokens=7), Engine(model, tokens=2 * CONTEXT)):
        replied(engine, requests_of(prompts))  # whose prefixes are known then
        requests = requests_of(prompts, replace(SAMPLED[0], max_tokens=60))
        for request in requests:
            request.prompt_tops = 2
        replied(engine, requests)
        for request in requests:
            with torch.inference_mode():
                logprobs = model(torch.tensor([request.prompt]))[0].log_softmax(-1)
            assert len(request.prompt_scores) == len(request.prompt) - 1
            for place, score in enumerate(request.prompt_scores):
                own = logprobs[place, request.prompt[place + 1]]
                assert score.logprob == pytest.approx(float(own), abs=1e-4)
                assert abs(score.rank - 1 - int((logprobs[place] > own).sum())) <= 1  # two may be as likely
                assert list(score.tops.values()) == pytest.approx(logprobs[place].topk(2).values.tolist(), abs=1e-4)


def test_the_likeliest_tokens_are_told(model: Transformer) -> None:
    """Each place of a reply has as many as were asked for, likeliest first, under the model itself."""
    request = requests_of([[1, 2, 3]], replace(SAMPLED[1], logprobs=3))[0]
    replied(Engine(model), [request])
    with torch.inference_mode():
        logprobs = model(torch.tensor([[1, 2, 3, *request.ids]]))[0, 2:].log_softmax(-1)
    for place, best in enumerate(request.tops):
        assert list(best.values()) == pytest.approx(logprobs[place].topk(3).values.tolist(), abs=1e-4)
    assert len(request.tops) == len(request.ids) > 3


def test_a_reply_that_cannot_go_on_ends_alone(model: Transformer) -> None:
    """Settings that leave no token end their own request with a sentence; the others say what they say."""
    prompts = random_prompts(3)
    whole = replied(Engine(model), requests_of(prompts))
    requests = requests_of(prompts)
    stuck = Request([1, 2], replace(GREEDY, allowed_ids=(5,), banned=((5, 5),)))
    engine = Engine(model)
    engine.add(stuck)
    assert replied(engine, requests) == whole
    assert (stuck.ids, stuck.finish) == ([5], "error")
    assert "'allowed_ids' and 'banned' together exclude all tokens at position 1" in str(stuck.error)
    with pytest.raises(UserError, match="exclude all tokens at position 1"):
        generate(model, [stuck.prompt], stuck.sampling)
    with pytest.raises(UserError, match="97"):
        engine.add(Request([1], replace(GREEDY, allowed_ids=(97,))))


@pytest.mark.parametrize("runner", [AloneRunner, None], ids=["each token alone", "as chosen"])
def test_deterministic_replies_are_the_same_to_the_bit(model: Transformer, runner: type[AloneRunner] | None) -> None:
    """Alone or among others, read at once or in pieces, from memory or anew: log-probabilities have the same bits."""
    prompts = [[7] * 20 + tail for tail in random_prompts(5, longest=30)]

    def bits(engine: Engine, *asked: int) -> dict[int, tuple[list[int], list[float]]]:
        if runner is not None:
            engine.runners[""] = runner(model, engine.pages)
        requests = [request for request in requests_of(prompts, SAMPLED[1]) if request.index in asked]
        replied(engine, requests)
        return {request.index: (request.ids, request.logprobs) for request in requests}

    alone = {}
    engine_of = partial(Engine, model, deterministic=True)
    for index in range(5):
        alone |= bits(engine_of(reuse=False), index)
    assert bits(engine_of(), *range(5)) == alone
    assert bits(engine_of(pass_tokens=7), *range(5)) == alone
    assert bits(engine_of(tokens=CONTEXT), *range(5)) == alone
    engine = engine_of(speculate=3)
    assert bits(engine, 0) | bits(engine, *range(1, 5)) == alone
    assert engine.counts.reused_tokens > 0
