"""Tic-tac-toe as text: a game is the cells in the order in which they were taken, so `519` has crosses in 5 and 9.

    1 2 3
    4 5 6
    7 8 9

Rules and perfect play, as pure functions; crosses, the first player, move if an even number of cells is taken.
"""

from functools import cache

_LINES = ("123", "456", "789", "147", "258", "369", "159", "357")
CELLS = "123456789"


def free(game: str) -> str:
    """Return the cells that may be taken next, or "" if the game is over."""
    return "" if won(game) else "".join(cell for cell in CELLS if cell not in game)


def won(game: str) -> bool:
    """Whether the player who moved last has three in a row."""
    mine = set(game[-1::-2])
    return any(mine.issuperset(line) for line in _LINES)


def best(game: str) -> str:
    """Return all best moves for the player to move, by exhaustive search."""
    values = {cell: -_value(game + cell) for cell in free(game)}
    return "".join(cell for cell in values if values[cell] == max(values.values()))


def board(game: str) -> str:
    """Return the position of a game, independent of the order of moves: crosses and noughts, such as `x59 o1`."""
    return f"x{''.join(sorted(game[::2]))} o{''.join(sorted(game[1::2]))}"


def move_prompt(position: str) -> list[dict[str, str]]:
    """Return a position from `board` as a conversation that requests the next move, one digit."""
    return [{"role": "user", "content": f"tictactoe {position}"}]


def _value(game: str) -> int:
    """Return 1 if the player to move wins with best play, -1 if the other does, else 0."""
    return _position_value(frozenset(game[::2]), frozenset(game[1::2]))


@cache
def _position_value(first: frozenset[str], second: frozenset[str]) -> int:
    """Return the value of a position; there are 5,478 of them."""
    moved, moving = (first, second) if len(first) > len(second) else (second, first)
    if any(moved.issuperset(line) for line in _LINES):
        return -1
    values = [
        -(_position_value(first | {cell}, second) if moving is first else _position_value(first, second | {cell}))
        for cell in CELLS
        if cell not in first | second
    ]
    return max(values, default=0)
