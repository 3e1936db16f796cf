"""The share of feedback among the conversations of a fine-tuning: how many others are left out, and which."""

from pathlib import Path

import pytest

from sayso.align import instructions
from sayso.align.instructions import Finetune
from sayso.base.jsonl import BadRows, write_jsonl
from sayso.base.life import Life


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
    talks, _ = instructions._read(chosen, life, [], BadRows("stop"))
    return [str(talk.messages[0]["content"]) for talk in talks]


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
