"""Speculation: the same text, in fewer passes."""

from dataclasses import replace
from random import Random

import pytest
import torch

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.sample.blocks import blocks_for
from sayso.sample.engine import Engine
from sayso.sample.request import Request
from sayso.sample.row import Row
from sayso.sample.sampling import Sampling
from sayso.sample.speculate import Draft, Lookup

VOCABULARY, CONTEXT = 61, 128
SHAPE = ModelConfig(
    vocab_size=VOCABULARY, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=CONTEXT
)
SAMPLINGS = (
    Sampling(temperature=0, max_tokens=40),
    Sampling(seed=3, max_tokens=40, temperature=0.3),
    Sampling(seed=4, max_tokens=40, temperature=0.6, top_p=0.9, repetition_penalty=1.1),
)


def random_model(seed: int, std: float = 0.25) -> Transformer:
    """A model whose every weight counts."""
    model, generator = Transformer(SHAPE), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=std, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Transformer:
    return random_model(0)


def repetitive(count: int) -> list[list[int]]:
    """Prompts in which much comes again."""
    random = Random(0)
    parts = [[random.randrange(VOCABULARY) for _ in range(6)] for _ in range(count)]
    return [[*(part[:5] * 5), part[5]] for part in parts]


def replied(engine: Engine, sampling: Sampling, prompts: list[list[int]]) -> tuple[list[list[int]], list[str]]:
    """What is said after each prompt, and how it ended."""
    requests = [Request(prompt, sampling, index, frozenset({3, 40})) for index, prompt in enumerate(prompts)]
    for request in requests:
        engine.add(request)
    while not engine.idle:
        engine.step()
    assert engine.blocks.free == engine.blocks.count
    return [request.ids for request in requests], [request.finish for request in requests]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "cool", "filters"])
@pytest.mark.parametrize("kind", ["lookup", "itself", "another", "small cache"])
def test_the_text_is_the_same(model: Transformer, sampling: Sampling, kind: str) -> None:
    """Whatever proposes, and whether it is right always, sometimes or never, each says what it says without."""
    prompts = repetitive(7)
    plain = Engine(model)
    whole = replied(plain, sampling, prompts)
    draft = {"itself": model, "another": random_model(1)}.get(kind)
    tokens = 2 * CONTEXT if kind == "small cache" else None
    engine = Engine(model, speculate=3, draft=draft, tokens=tokens)
    assert replied(engine, sampling, prompts) == whole
    assert engine.counts.proposed_tokens > 0
    if kind == "itself":
        assert engine.counts.accepted_tokens > 0
        assert engine.counts.steps < plain.counts.steps


def test_a_right_draft_saves_passes(model: Transformer) -> None:
    """Greedy with itself as its draft, every proposal is right: four tokens a pass."""
    request = Request([1, 2, 3], replace(SAMPLINGS[0], max_tokens=41))
    engine = Engine(model, speculate=3, draft=model)
    engine.add(request)
    while not engine.idle:
        engine.step()
    assert engine.counts.accepted_tokens == engine.counts.proposed_tokens
    assert engine.counts.steps == 1 + 40 // 4


def test_lookup_proposes_what_followed_last() -> None:
    """The longest n-gram that was there before decides, by its latest place; nothing is proposed where none was."""
    lookup = Lookup(3)
    row = Row(Request([1, 2, 3, 4, 9, 2, 3, 5, 6, 7, 1, 2, 3], SAMPLINGS[0]))
    assert lookup.propose([row]) == [[4, 9, 2]]  # after 1 2 3, although 2 3 was followed by 5 later
    row.request.ids += [8]
    assert lookup.propose([row]) == [[]]
    row.request.ids += [2, 3]
    assert lookup.propose([row]) == [[8, 2, 3]]
    short = Row(Request([1], SAMPLINGS[0]))
    assert lookup.propose([short]) == [[]]


def test_a_proposal_never_passes_the_room(model: Transformer) -> None:
    """Replies end at max_tokens and at the context's end, also when more was proposed."""
    for prompt, most in (([1, 2, 3] * 4, 5), ([1, 2, 3] * (CONTEXT // 3), 40)):
        request = Request(prompt, replace(SAMPLINGS[0], max_tokens=most))
        engine = Engine(model, speculate=4, draft=model)
        engine.add(request)
        while not engine.idle:
            engine.step()
        assert len(request.ids) == min(most, CONTEXT - len(prompt))
        assert request.finish == "length"


def test_a_draft_proposes_as_long_as_its_context_has_room(model: Transformer) -> None:
    """Up to the context's last position, and no further."""
    draft = Draft(model, 3, blocks_for(CONTEXT))
    for length, proposed in ((CONTEXT - 3, 3), (CONTEXT - 2, 0)):
        row = Row(Request([1, 2] * (length // 2) + [1] * (length % 2), SAMPLINGS[0]))
        row.blocks = list(range(blocks_for(CONTEXT)))
        assert [len(tokens) for tokens in draft.propose([row])] == [proposed]


def test_a_draft_of_another_vocabulary_is_refused(model: Transformer) -> None:
    """Its ids would mean other texts."""
    other = Transformer(replace(SHAPE, vocab_size=50))
    with pytest.raises(UserError, match="vocabulary of the main model, 61 ids; got one with 50"):
        Engine(model, draft=other)
