"""Puzzles: problems are solvable and belong to one split, and the checkers cannot be fooled."""

import json
from fractions import Fraction
from itertools import permutations

import pytest

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl
from sayso.run.puzzles import Puzzles, puzzles
from sayso.world.puzzles import MAKERS, SCORES, addition, countdown, tictactoe
from sayso.world.puzzles.addition import addition_problem, addition_score
from sayso.world.puzzles.countdown import countdown_score

SIZES = {"addition": (1, 3, 12), "countdown": (2, 3, 4, 6)}
KINDS = [(name, size) for name, sizes in SIZES.items() for size in sizes]
GAME = {"numbers": [3, 5, 8], "target": 10}


@pytest.mark.parametrize(("name", "size"), KINDS)
def test_a_worked_solution_is_right_and_a_problem_is_a_function_of_its_arguments(name, size):
    """Every problem's own solution scores 1, its info survives JSON, and repeated calls return the same."""
    for index in range(200):
        problem = MAKERS[name](7, index, "train", size)
        info = json.loads(json.dumps(problem.row()))
        assert SCORES[name](problem.prompt, problem.solution, info) == 1
        assert problem == MAKERS[name](7, index, "train", size)


@pytest.mark.parametrize(("name", "size"), [("addition", 2), ("countdown", 3)])
def test_no_problem_is_asked_in_two_splits(name, size):
    """Problems of train, val and test are disjoint, even with the numbers in another order."""

    def asked(split: str) -> set[tuple[str, ...]]:
        prompts = (MAKERS[name](0, index, split, size).prompt for index in range(400))
        return {tuple(sorted(prompt.replace("+", " ").replace("=", " =").split())) for prompt in prompts}

    train, val, test = map(asked, ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test


def test_addition_is_written_from_the_last_digit():
    """12 + 34 is asked as 21+43= and answered by 64; the share of digits counts positions."""
    problem = next(p for i in range(999) if (p := MAKERS["addition"](0, i, "train", 3)).solution[:1] == "0")
    first, second = (int(part[::-1]) for part in problem.prompt[:-1].split("+"))
    assert int(problem.solution[::-1]) == first + second
    field = addition_problem(0, 5, "train", 2, field=4)
    assert [len(part) for part in field.prompt.split("+")] == [4, 5]
    assert field.prompt.replace(".", "") == addition_problem(0, 5, "train", 2).prompt
    assert addition_score(field.prompt, field.solution, field.info) == 1
    info = {"answer": "064"}
    assert addition.digits("", "064", info) == 1
    assert addition.digits("", "054", info) == pytest.approx(2 / 3)
    assert addition.digits("", "064064", info) == 0.5
    assert addition.digits("", "", info) == 0


def test_a_field_of_addition_may_be_as_long_as_its_numbers():
    """Two numbers of three digits fit three places, which changes nothing, but not two."""
    exact, plain = (addition_problem(0, 5, "train", 3, field=field) for field in (3, 0))
    assert exact == plain
    for size, field in ((3, 2), (0, 0)):
        with pytest.raises(UserError, match="at least 1 digit that fit the field"):
            addition_problem(0, 5, "train", size, field=field)


def test_the_best_moves_of_tictactoe_are_those_with_the_best_outcome():
    """Win if possible, block if necessary; at the start, all moves are equal."""
    assert tictactoe.best("") == tictactoe.CELLS
    assert [tictactoe.best(game) for game in ("1527", "152", "1")] == ["3", "3", "5"]


@pytest.mark.parametrize(
    "reply", ["", " ", "21+43=", "64 64", "64\n64", "640", "6", "46", "６４", "64.", "6 4", "64" * 5000]
)
def test_addition_accepts_only_the_sum(reply):
    """An empty reply, the prompt, two answers, other digits, or a long reply score 0."""
    assert addition_score("21+43=", reply, {"answer": "64"}) == 0
    assert addition_score("21+43=", "64", {"answer": "64"}) == 1


@pytest.mark.parametrize("reply", ["8+5-3", "(8-3)+5", "5*(8-3)/5*2", "10", "5+5", "3 5 8=10", "(8 - 3) + 5"])
def test_countdown_counts_numbers_used(reply):
    """A number may be used once, in any expression; the target itself, or one number twice, is wrong."""
    right = {"8+5-3", "(8-3)+5", "(8 - 3) + 5"}
    assert countdown_score("3 5 8=10", reply, GAME) == (reply in right)


@pytest.mark.parametrize(
    "reply",
    [
        *("", " ", "10", "8+2", "3 5 8=10", "8+5-3=10", "8+5-3\n8+5-3", "8+5-3, 5+8-3", "8+5-3 or 5"),
        *("8+5-3+0", "8+5-03", "--8+5-3", "-(3-8)+5", "8+5+-3", "+8+5-3", "８+５-３", "8+5-3#", "eval('10')"),
        *("8**1+5-3", "8//1+5-3", "(8+5-3", "8(5)", "[8][0]+5-3", "8/(5-5)", "8/0", "True+8", "1e1", "0xa", "8_+5-3"),
        *("(" * 90 + "8+5-3", "8+5-3" + "+0" * 5000, "9" * 5000, "(" * 40 + "8+5-3" + ")" * 60, "8;5", "8if 5else 3"),
    ],
)
def test_countdown_rejects_anything_but_one_plain_expression(reply):
    """Powers, floor division, signs, other digits, two answers, padding, division by zero: 0, and no error."""
    assert countdown_score("3 5 8=10", reply, GAME) == 0


def test_countdown_is_exact_and_can_ask_for_all_numbers():
    """Intermediate fractions are exact; with "all", each number must be used."""
    info = {"numbers": [1, 3, 3, 7], "target": 1}
    assert countdown_score("", "1/3*3", info) == 1
    assert countdown_score("", "1/3*3", {**info, "all": True}) == 0
    assert countdown_score("", "(7-3-3)*1", {**info, "all": True}) == 1
    assert countdown.legal("", "7*7", info) == 0
    assert countdown.legal("", "7*3", info) == 1


@pytest.mark.parametrize("sign", "+-*/")
def test_brackets_of_a_worked_solution_are_where_they_must_be(sign):
    """Joining two joined terms keeps the value, whatever their signs."""
    singles = [(Fraction(n), str(n), False) for n in (12, 6, 3, 2)]
    for a, b, c, d in permutations(singles):
        for inner in "+-*/":
            pair, other = countdown._join(inner, a, b), countdown._join(inner, c, d)
            if pair and other and (whole := countdown._join(sign, pair, other)):
                used = {"numbers": [12, 6, 3, 2], "target": int(whole[0]), "all": True}
                assert countdown_score("", whole[1], used) == 1, whole[1]


def test_files_of_prompts_and_of_demonstrations(tmp_path, capsys):
    """The act writes prompts with data for the checker, or conversations; the sizes alternate."""
    puzzles(Puzzles("addition", out=tmp_path / "p.jsonl", sizes=(2, 4), count=6, split="val"))
    puzzles(Puzzles("countdown", life=tmp_path, count=5, demonstrations=True))
    prompts, shown = (list(read_jsonl(tmp_path / name)) for name in ("p.jsonl", "data/puzzles/countdown-train.jsonl"))
    assert [row["digits"] for row in prompts] == [2, 4] * 3
    assert prompts[0]["prompt"][0]["role"] == "user"
    assert [message["role"] for message in shown[0]["messages"]] == ["user", "assistant"]
    assert "5 countdown problems" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"puzzle": "adition"}, "addition"),
        ({"puzzle": "addition", "sizes": (0,)}, "--sizes must be from 1 to"),
        ({"puzzle": "countdown", "sizes": (9,)}, "2 to 6"),
        ({"puzzle": "addition", "field": 2}, "3 digits and 2 places"),
        ({"puzzle": "countdown", "field": 9}, "--field"),
        ({"puzzle": "addition", "count": 0}, "--count"),
        ({"puzzle": "addition", "split": "dev"}, "split"),
    ],
)
def test_impossible_options_are_refused_in_a_sentence(tmp_path, options, said):
    """An unknown puzzle, size, count or split is a user's mistake, and no file is left."""
    with pytest.raises(UserError, match=said):
        puzzles(Puzzles(**{"out": tmp_path / "x.jsonl", **options}))
    assert not list(tmp_path.iterdir())
