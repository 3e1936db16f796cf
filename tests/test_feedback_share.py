"""The share of feedback among the conversations of a fine-tuning: how many others are left out, and which."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sayso.align import instructions
from sayso.align.instruction_eval import Judged
from sayso.align.instructions import Finetune
from sayso.base.jsonl import BadRows, write_jsonl
from sayso.base.life import Life
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with twenty prepared conversations and two of feedback."""
    life = Life(tmp_path)
    for path, name, count in (("chat", "train", 20), ("chat", "val", 0), ("feedback", "chat", 2)):
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"{path} {number}"},
                    {"role": "assistant", "content": "Yes."},
                ],
                "source": path,
            }
            for number in range(count)
        ]
        life.data(path).mkdir(parents=True, exist_ok=True)
        write_jsonl(life.data(path) / f"{name}.jsonl", rows)
    return life


def asked(life: Life, **options: float) -> list[str]:
    """The questions that are trained on, in order."""
    chosen = Finetune(life=life.root, held_out=0, **options)  # type: ignore[arg-type]
    read = instructions._read(chosen, life, [], BadRows("stop"))
    return [str(talk.messages[0]["content"]) for talk in (*read.others, *read.liked)]


@pytest.mark.parametrize(("held_out", "count"), [(0.02, 1), (0.5, 1), (0.0, 0), (3.0, 0)])
def test_feedback_has_held_out_conversations_of_its_own(life: Life, held_out: float, count: int) -> None:
    """If a share is held out; a number is one of prepared conversations alone. None of them is trained on."""
    read = instructions._read(Finetune(life=life.root, held_out=held_out), life, [], BadRows("stop"))
    assert len(read.liked_held) == count
    assert len({talk.key for talk in read.liked}) == 2 - count
    assert not {talk.key for talk in read.liked_held} & {talk.key for talk in (*read.others, *read.liked)}


def test_both_losses_count_as_much_as_both_are_trained_on() -> None:
    """A model that says "Yes" to both has the loss of each, weighted by the share of feedback."""
    tokenizer = train("character", ["abcdef"], 300)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 48, context=96)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    others, feedback = ([(tokenizer.encode(text), [True] * len(text))] for text in ("abcabc", "fedfed"))
    state = SimpleNamespace(model=model)
    losses = [Judged(some, [], 0.25).figures(state, 32)["held_out_loss"] for some in (others, feedback)]
    assert losses[0] != losses[1]
    assert Judged([], feedback, 0.25).figures(state, 32)["held_out_loss"] == losses[1]
    found = Judged(others, feedback, 0.25).figures(state, 32)
    assert found["held_out_loss"] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], abs=1e-5)
    assert [found["prepared_loss"], found["feedback_loss"]] == losses


def test_an_evaluation_takes_a_twentieth_of_the_time() -> None:
    """Half of the tokens of each kind; all, if a number is held out; at least one, however short the run."""
    held = Judged([([0] * 10, [True] * 10)] * 30, [([0] * 10, [True] * 10)] * 20, 0.5)
    few = held.within(7000, limited=True)  # 0.15 of 7,000 tokens for 7 evaluations: 75 of each kind
    assert (len(few.others), len(few.feedback)) == (7, 7)
    assert held.within(7000, limited=False) == held
    assert held.within(1, limited=True).count == 2
    assert len(Judged(held.others, [], 0.0).within(7000, limited=True).others) == 15


@pytest.mark.parametrize(("share", "others"), [(0.0, 20), (0.5, 4), (0.25, 12), (1.0, 0), (0.1, 20)])
def test_others_are_left_out_until_the_share_is_reached(life: Life, share: float, others: int) -> None:
    """Four copies of feedback stand beside as many others as the share allows, or all if there are fewer."""
    found = asked(life, feedback_weight=2, feedback_share=share)
    assert found.count("feedback 0") == found.count("feedback 1") == 2
    kept = [text for text in found if text.startswith("chat")]
    assert len(kept) == others
    assert len({*kept}) == others
    assert kept == sorted(kept, key=lambda text: int(text.split()[1]))  # in their order


def test_the_seed_decides_which_others_are_left_out(life: Life) -> None:
    """The same for a seed, others for another one."""
    first, again, other = (asked(life, feedback_weight=1, feedback_share=0.25, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
