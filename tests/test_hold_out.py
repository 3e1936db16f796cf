"""`--held-out`: a share, a number or a file, with the same meaning in every act that trains."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut, apart, held_out_file


@pytest.mark.parametrize(
    ("size", "total", "count"),
    [(0, 10, 0), (0.1, 40, 4), (0.5, 1, 0), (0.99, 3, 2), (1, 2, 1), (9, 10, 9), (0.04, 10, 0), (0.06, 10, 1)],
)
def test_a_share_or_a_number(size: float, total: int, count: int) -> None:
    """A share is rounded; at least one item remains for training."""
    assert HoldOut(size).count(total) == count


def test_limits_are_those_of_a_share() -> None:
    """`most` and `fewest` limit what a share gives, and leave a number as it is."""
    usual = HoldOut(0.1, most=20, fewest=8)
    assert [usual.count(total) for total in (74, 76, 80, 1000)] == [0, 8, 8, 20]
    assert HoldOut(30, most=20, fewest=8).count(100) == 30
    assert HoldOut(2, fewest=8).count(100) == 2


def test_of_other_items_all_may_be_held_out() -> None:
    """Items that are not trained on anyway limit the number without an error."""
    assert HoldOut(9).count(5, room=3) == 3
    assert HoldOut(0.5).count(100, room=20) == 20


@pytest.mark.parametrize(("size", "message"), [(10, "got 10, and there are 10 different"), (2.5, "got 2.5")])
def test_what_cannot_be_held_out_is_an_error(size: float, message: str) -> None:
    """All of the data, and a number that is not an integer."""
    with pytest.raises(UserError, match=message):
        HoldOut(size).count(10)


def test_equal_items_are_on_one_side() -> None:
    """Keys of the lowest rank are held out, with every item that has them; order is kept."""
    items = ["b1", "a1", "c1", "a2", "d1", "b2"]
    assert HoldOut(2).split(items, lambda item: item[0]) == (["c1", "d1"], ["b1", "a1", "a2", "b2"])
    backwards = HoldOut(1).split(items, lambda item: item[0], rank=lambda key: -ord(key))
    assert backwards == (["b1", "a1", "c1", "a2", "b2"], ["d1"])
    assert apart(items, ["c"], lambda item: item[0]) == (["b1", "a1", "a2", "d1", "b2"], ["c1"])


def test_a_file_must_exist(tmp_path: Path) -> None:
    """An amount is no file; a path that is none is named."""
    (tmp_path / "held.jsonl").touch()
    assert held_out_file(tmp_path / "held.jsonl") == tmp_path / "held.jsonl"
    assert held_out_file(0.1) is None
    assert held_out_file(None) is None
    with pytest.raises(UserError, match="--held-out must be a share below 1, a number, or an existing file; got 'ten'"):
        held_out_file(Path("ten"))
