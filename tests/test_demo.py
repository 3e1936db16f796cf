"""The stages of the demo, by the time that it is given."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.run.demo import WIDE, Demo, chapters
from sayso.run.prepare import Prepare
from sayso.run.pretrain import Pretrain


def stages(minutes: float) -> tuple[Prepare, Pretrain]:
    """Return how a demo of some minutes prepares its text, and pre-trains."""
    acts = [chosen for _, part in chapters(Demo(life=Path("life"), minutes=minutes)) for _, chosen in part]
    [text], [base] = ([one for one in acts if isinstance(one, kind)] for kind in (Prepare, Pretrain))
    return text, base


@pytest.mark.parametrize(("minutes", "short", "width"), [(11.9, True, WIDE), (60, False, WIDE), (100, False, None)])
def test_a_longer_demo_reads_more_and_a_long_one_has_a_larger_model(
    minutes: float, short: bool, width: int | None
) -> None:
    text, base = stages(minutes)
    assert (text.world_documents == 1_800) is short
    assert base.mix == (() if short else ("chitchat=0.01",))
    assert (base.width, base.depth, base.rows) == ((width, 2, 4) if width else (None, 4, None))


def test_no_time_is_left_to_train() -> None:
    with pytest.raises(UserError, match="minutes"):
        chapters(Demo(life=Path("life"), minutes=1))
