"""Constraints, bans, biases and penalties on the logits: what transformers' processors and brute force do."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from sayso.sample import Request, Sampling, distribution, pick
from sayso.sample.edits import NothingLeftError, edit
from sayso.sample.filters import EXCLUDED
from sayso.sample.history import History

VOCABULARY = 12
IDS = st.integers(0, VOCABULARY - 1)
TEXTS = st.lists(IDS, min_size=1, max_size=40)
PENALTIES = st.floats(-2, 2, allow_subnormal=False)  # a processor may be set to count those as 0


def random_logits(rows: int, seed: int = 0) -> torch.Tensor:
    """Logits [B, V]."""
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3


def request(prompt: list[int], reply: list[int] = (), stop_ids: frozenset[int] = frozenset(), **asked) -> Request:
    """A request on its way."""
    return Request(prompt, Sampling(**{"seed": 0} | asked), stop_ids=stop_ids, ids=list(reply))


class Only:
    """A constraint of given ids, which counts how often it was asked."""

    def __init__(self, *ids: int) -> None:
        self.mask = torch.zeros(VOCABULARY, dtype=torch.bool)
        self.mask[list(ids)] = True
        self.asked = 0

    def allowed(self) -> torch.Tensor:
        """Return the mask."""
        self.asked += 1
        return self.mask

    def accept(self, token: int) -> None:
        """It is the engine that tells of tokens."""
        raise AssertionError(token)


@given(st.lists(st.tuples(TEXTS, st.lists(IDS, max_size=30)), min_size=1, max_size=4), st.floats(0.5, 3))
@settings(max_examples=40, deadline=None)
def test_repetition_penalty_equals_transformers(texts: list[tuple[list[int], list[int]]], penalty: float) -> None:
    """Over prompt and reply, each id once however often it was said."""
    logits = random_logits(len(texts))
    ours = edit(logits, [request(*text, repetition_penalty=penalty) for text in texts])
    for row, (prompt, reply) in enumerate(texts):
        theirs = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([prompt + reply]), logits[row : row + 1])
        torch.testing.assert_close(ours[row : row + 1], theirs)


@given(TEXTS, st.lists(IDS, max_size=30), PENALTIES, PENALTIES)
@settings(max_examples=40, deadline=None)
def test_presence_and_frequency_penalty_are_openais(
    prompt: list[int], reply: list[int], presence: float, frequency: float
) -> None:
    """Of each id its count in the reply, not in the prompt, times one, and the other once if it is there at all."""
    logits = random_logits(1)
    [ours] = edit(logits, [request(prompt, reply, presence_penalty=presence, frequency_penalty=frequency)])
    lost = torch.tensor([reply.count(token) * frequency + (token in reply) * presence for token in range(VOCABULARY)])
    torch.testing.assert_close(ours, logits[0] - lost, rtol=1e-5, atol=1e-5)


def dry_by_hand(text: list[int], dry: Sampling, stop_ids: frozenset[int]) -> dict[int, float]:
    """For each id, what the longest repeat that it would make longer costs: all places, one token at a time."""
    breakers = {*dry.dry_breakers, *stop_ids}
    text = text[-dry.dry_penalty_last_n :] if dry.dry_penalty_last_n else text
    lost: dict[int, float] = {}
    for place in range(1, len(text)):
        length = 0
        while length < place and text[place - 1 - length] == text[-1 - length] not in breakers:
            length += 1
        if length >= dry.dry_allowed_length and text[place] not in breakers:
            cost = dry.dry_multiplier * dry.dry_base ** (length - dry.dry_allowed_length)
            lost[text[place]] = max(cost, lost.get(text[place], 0.0))
    return lost


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), max_size=30),
    st.builds(
        Sampling,
        seed=st.just(0),
        dry_multiplier=st.floats(0, 3, allow_subnormal=False),
        dry_base=st.floats(1, 2),
        dry_allowed_length=st.integers(1, 5),
        dry_penalty_last_n=st.integers(0, 70),
        dry_breakers=st.tuples(st.integers(0, 3)) | st.just(()),
    ),
    st.frozensets(st.integers(0, 3), max_size=1),
)
@settings(max_examples=200, deadline=None)
def test_dry_equals_brute_force(prompt: list[int], reply: list[int], dry: Sampling, stop_ids: frozenset[int]) -> None:
    """Over prompt and reply, within its range, never across a breaker nor at the cost of one."""
    logits = random_logits(1)
    [ours] = edit(logits, [Request(prompt, dry, stop_ids=stop_ids, ids=list(reply))])
    expected = logits[0].clone()
    for token, cost in dry_by_hand(prompt + reply, dry, stop_ids).items():
        expected[token] -= cost
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_dry_stays_a_number_on_the_longest_repeats() -> None:
    """A text of one token alone loses that token, without overflow."""
    [scores] = edit(random_logits(1), [request([3] * 5000, dry_multiplier=0.8)])
    assert scores.isfinite().all()
    assert scores.argmin() == 3


@given(
    TEXTS,
    st.lists(IDS, max_size=8),
    st.lists(st.lists(IDS, min_size=1, max_size=4), min_size=1, max_size=6, unique_by=tuple),
)
@settings(max_examples=60, deadline=None)
def test_banned_sequences_equal_transformers(prompt: list[int], reply: list[int], banned: list[list[int]]) -> None:
    """The last id of a sequence is left out where the text ends in all before it, prompt and reply alike."""
    logits = random_logits(1)
    theirs = NoBadWordsLogitsProcessor(banned)(torch.tensor([prompt + reply]), logits.clone())
    asked = request(prompt, reply, banned=tuple(map(tuple, banned)))
    if theirs.isinf().all():
        with pytest.raises(NothingLeftError):
            edit(logits, [asked])
    else:
        assert torch.equal(edit(logits, [asked]), theirs)


@pytest.mark.parametrize("said", [0, 3, 4, 9])
def test_stop_ids_are_banned_before_the_least_length_as_in_transformers(said: int) -> None:
    """Until the reply has `min_tokens`, none of the stop ids can come; ids beyond the vocabulary do not matter."""
    logits, prompt = random_logits(1), [1, 2, 3]
    [ours] = edit(logits, [request(prompt, [5] * said, frozenset({2, 7, 99}), min_tokens=4)])
    judge = MinNewTokensLengthLogitsProcessor(3, 4, [2, 7], device="cpu")
    assert torch.equal(ours, judge(torch.tensor([prompt + [5] * said]), logits)[0])


def test_logit_bias_equals_transformers() -> None:
    """Each bias is added to its id's logit."""
    logits, bias = random_logits(1), ((4, 2.5), (0, -100.0), (11, 0.25))
    theirs = SequenceBiasLogitsProcessor([[[token], value] for token, value in bias])(torch.tensor([[1, 2]]), logits)
    assert torch.equal(edit(logits, [request([1, 2], logit_bias=bias)]), theirs)


def test_only_what_is_allowed_can_come() -> None:
    """A constraint and allowed ids leave what both have; the constraint is asked once and told of no token."""
    constraint, asked = Only(1, 2, 3, 4), request([1], allowed_ids=(9, 4, 3, 3))
    asked.constraint = constraint
    others = [request([1]), request([1], allowed_ids=(7,)), request([2], temperature=0)]
    chances = distribution(random_logits(4), [asked, *others])
    assert [(row > 0).nonzero()[:, 0].tolist() for row in chances[:3]] == [[3, 4], list(range(VOCABULARY)), [7]]
    assert pick(random_logits(4), [asked, *others]).ids[0] in (3, 4)
    assert constraint.asked == 2


def test_a_constraint_leaves_out_ids_that_it_does_not_know() -> None:
    """A head padded beyond the tokenizer's vocabulary gives no id from there."""
    asked, constraint = request([1]), Only(1, 2)
    asked.constraint, constraint.mask = constraint, constraint.mask[:5]
    [chances] = distribution(random_logits(1), [asked])
    assert chances.nonzero()[:, 0].tolist() == [1, 2]


def test_an_edited_row_leaves_the_model_logits_alone() -> None:
    """The caller's logits are not written to, with rows that ask and rows that do not."""
    logits = random_logits(2)
    before = logits.clone()
    pick(logits, [request([1], allowed_ids=(7,), repetition_penalty=2.0), request([1])])
    assert torch.equal(logits, before)
    assert edit(logits, [request([1])] * 2) is logits  # and nothing is copied where no row asks


def test_a_bias_comes_before_the_penalties() -> None:
    """The repetition penalty divides the shifted logit, and presence is taken from the quotient."""
    asked = request([], [3], logit_bias=((3, 4.0),), repetition_penalty=2.0, presence_penalty=0.5)
    logits = torch.zeros(1, VOCABULARY)
    assert edit(logits, [asked])[0, 3] == 4.0 / 2.0 - 0.5


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"allowed_ids": (3,), "banned": ((3,),)}, "'allowed_ids' and 'banned' together exclude all tokens"),
        ({"allowed_ids": (2,), "min_tokens": 5}, "'allowed_ids' and 'min_tokens' together exclude all tokens"),
        ({"banned": tuple((token,) for token in range(VOCABULARY))}, "'banned' excludes all tokens"),
    ],
)
def test_a_row_with_nothing_left_is_told(asked: dict[str, object], said: str) -> None:
    """The error says what may have left nothing, has the request, and comes before anything is drawn."""
    good, bad = request([1]), request([1], [4, 5], frozenset({2}), **asked)
    state = good.generator.getstate()
    with pytest.raises(NothingLeftError, match=f"^{said} at position 2 of the reply; relax ") as told:
        pick(random_logits(2), [good, bad])
    assert told.value.request is bad
    assert good.generator.getstate() == state


def test_a_constraint_without_a_token_is_told() -> None:
    """So does a constraint that allows nothing."""
    bad = request([1])
    bad.constraint = Only()
    with pytest.raises(NothingLeftError):
        pick(random_logits(1), [bad])


@given(TEXTS, st.lists(st.tuples(st.integers(0, 5), st.lists(IDS, max_size=5)), max_size=12), st.booleans())
@settings(max_examples=100, deadline=None)
def test_history_follows_a_reply_that_takes_back_and_goes_on(
    prompt: list[int], changes: list[tuple[int, list[int]]], prompt_counts: bool
) -> None:
    """However the end of the reply changes, the counts are those of a fresh look at it."""
    history, reply = History(prompt, prompt_counts), []
    for back, more in changes:
        reply = reply[: max(0, len(reply) - back)] + more
        history.update(reply)
        fresh = History(prompt, prompt_counts)
        fresh.update(reply)
        assert history.ids.tolist() == prompt + reply
        assert (history.seen, history.counts, history.slots) == (fresh.seen, fresh.counts, fresh.slots)
        wanted = dict.fromkeys(prompt if prompt_counts else (), 0) | {token: reply.count(token) for token in reply}
        assert dict(zip(history.seen, history.counts, strict=True)) == wanted


def test_guesses_leave_no_trace() -> None:
    """A distribution after guessed tokens that are then taken back changes nothing of what comes."""
    asked = {"repetition_penalty": 1.2, "frequency_penalty": 0.5, "dry_multiplier": 1.0, "dry_allowed_length": 1}
    prompt, draw = [Random(3).randrange(4) for _ in range(9)], Random(4)
    guessed, plain = request(prompt, **asked), request(prompt, **asked)
    for place in range(20):
        logits, length = random_logits(1, place), len(guessed.ids)
        guessed.ids += [draw.randrange(4) for _ in range(3)]
        distribution(logits, [guessed])
        del guessed.ids[length:]
        assert torch.equal(distribution(logits, [guessed]), distribution(logits, [plain]))
        picked = pick(logits, [guessed, plain][:1]).ids + pick(logits, [plain]).ids
        assert picked[0] == picked[1]
        guessed.ids.append(picked[0])
        plain.ids.append(picked[0])
    assert (edit(random_logits(1), [plain]) == EXCLUDED).sum() == 0
