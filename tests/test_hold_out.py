"""`--held-out`: a share, a number or a file, with the same meaning in every act that trains."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut, held_out_file, separate


@pytest.mark.parametrize(
    ("size", "total", "count"),
    [(0, 10, 0), (0.1, 40, 4), (0.5, 1, 0), (0.99, 3, 2), (1, 2, 1), (9, 10, 9), (0.04, 10, 0), (0.06, 10, 1)],
)
def test_a_share_or_a_number(size: float, total: int, count: int) -> None:
    """A share is rounded; at least one item remains for training."""
    assert HoldOut(size).count(total) == count


def test_limits_apply_only_to_a_share() -> None:
    """`most` and `fewest` do not limit a number."""
    share = HoldOut(0.1, most=20, fewest=8)
    assert [share.count(total) for total in (74, 76, 80, 1000)] == [0, 8, 8, 20]
    assert HoldOut(30, most=20, fewest=8).count(100) == 30
    assert HoldOut(2, fewest=8).count(100) == 2
    assert HoldOut(0.5, most=0).count(100) == 0


def test_all_of_the_items_that_are_not_trained_on_may_be_held_out() -> None:
    """`room` limits both a share and a number, without an error."""
    assert HoldOut(9).count(5, room=3) == 3
    assert HoldOut(0.5).count(100, room=20) == 20
    assert HoldOut(0.5, most=10).count(100, room=20) == 10
    assert HoldOut(9).count(5, room=0) == HoldOut(0.5).count(5, room=0) == 0


def test_nothing_is_held_out_of_nothing() -> None:
    """No items are no error here: each act reports missing data itself."""
    assert [HoldOut(size).count(0) for size in (0, 0.5, 1, 9)] == [0, 0, 0, 0]
    assert HoldOut(3).split([], str) == ([], [])


@pytest.mark.parametrize(("size", "message"), [(10, "got 10, and there are 10 different"), (2.5, "got 2.5")])
def test_an_invalid_number_is_an_error(size: float, message: str) -> None:
    """All of the data, and a number that is not an integer."""
    with pytest.raises(UserError, match=message):
        HoldOut(size).count(10)


def test_keys_of_equal_rank_are_selected_in_the_same_order_everywhere() -> None:
    """The selection does not depend on the order of the items, nor on the order of a set."""
    items = [f"key {number}" for number in range(200)]
    expected = sorted(items)[:50]
    for order in (items, items[::-1]):
        assert sorted(HoldOut(50).split(order, str, rank=lambda _: 0)[1]) == expected


def test_equal_items_are_on_one_side() -> None:
    """The keys of the lowest rank are held out, with every item that has them; order is kept."""
    items = ["b1", "a1", "c1", "a2", "d1", "b2"]
    assert HoldOut(2).split(items, lambda item: item[0]) == (["c1", "d1"], ["b1", "a1", "a2", "b2"])
    backwards = HoldOut(1).split(items, lambda item: item[0], rank=lambda key: -ord(key))
    assert backwards == (["b1", "a1", "c1", "a2", "b2"], ["d1"])
    assert separate(items, ["c"], lambda item: item[0]) == (["b1", "a1", "a2", "d1", "b2"], ["c1"])


def test_a_file_must_exist(tmp_path: Path) -> None:
    """A share and None are not files; a missing file is an error with its path."""
    (tmp_path / "held.jsonl").touch()
    assert held_out_file(tmp_path / "held.jsonl") == tmp_path / "held.jsonl"
    assert held_out_file(0.1) is None
    assert held_out_file(None) is None
    with pytest.raises(UserError, match="a number, or an existing file; there is no file 'ten'"):
        held_out_file(Path("ten"))
