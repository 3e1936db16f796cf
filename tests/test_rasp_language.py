"""The RASP text language: its grammar as published, names, functions, loops, files, and errors with their place."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.rasp.errors import ProgramError
from sayso.rasp.evaluation import Command, Defined
from sayso.rasp.scope import Evaluated, Item
from sayso.rasp.session import Session, library_names


def last(text: str, **settings: Any) -> Item:
    """The item that the last statement of a program gives."""
    result = Session(**settings).text(text)[-1]
    assert isinstance(result, Defined)
    return result.item


def values(text: str, **settings: Any) -> list[Any]:
    """The values of a program whose last statement runs an s-op on an input."""
    item = last(text, **settings)
    assert isinstance(item, Evaluated)
    assert item.values is not None
    return list(item.values)


def told(text: str) -> str:
    """The error of a program."""
    with pytest.raises(ProgramError) as raised:
        Session().text(text)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3;", 7),
        ("10 - 3 - 2;", 5),
        ("7 / 2;", Fraction(7, 2)),
        ("0.5 + 0.1;", Fraction(3, 5)),
        ("2 * 7 % 4;", 2),
        ("1 + 5 % 3;", 3),
        ("-2 ^ 2;", 4),  # a sign binds tighter than a power
        ("2 ^ 3 ^ 2;", 64),  # powers bind to the left
        ("2 ^ -1;", Fraction(1, 2)),
        ("not 1 == 2;", False),  # (not 1) == 2
        ("True or True and False;", False),  # (True or True) and False
        ("1 if True else 2 if False else 3;", 3),  # (1 if True else 2) if False else 3
        ("1 + 1 in [2];", True),
        ("True and 3 in [3];", True),
        ('"b" in "abc";', True),
        ('"a" + "b";', "ab"),
        ("[1, 2] + [3];", [1, 2, 3]),
        ('{"a": 1, 2: "b"}[2];', "b"),
        ("[5, 8, 2][-1];", 2),
        ('"hello"[1];', "e"),
        ('len([1, 2]) + len("abc");', 5),
        ("range(2, 8, 3);", [2, 5]),
        ('zip([1, 2], ["a", "b"]);', [[1, "a"], [2, "b"]]),
        ('[p[0] for p in ["()", "{}"]];', ["(", "{"]),
        ("[a + b for a, b in zip([1, 2], [3, 4])];", [4, 6]),
        ("{k: k * k for k in range(3)};", {0: 0, 1: 1, 2: 4}),
        ('[k for k in {"x": 1, "y": 2}];', ["x", "y"]),
        ("[];", []),
        ("{};", {}),
        ("round(2.5);", 2),  # to the even number, as Python rounds
        ("round(7 / 3);", 2),
        ("max(2, 3) - min(2, 3);", 1),
        ("+3; # a comment", 3),
    ],
)
def test_constants_follow_the_published_grammar(text: str, expected: Item) -> None:
    """Precedence differs from Python's where the published grammar does."""
    assert last(text) == expected


@pytest.mark.parametrize(
    ("expression", "sequence", "expected"),
    [
        ("indices", '"abc"', [0, 1, 2]),
        ("3 * indices + 1", '"abc"', [1, 4, 7]),
        ("length", '"abc"', [3, 3, 3]),
        ("tokens_int + 1", "[1, 2]", [2, 3]),
        ("tokens_int", '"12"', [1, 2]),
        ("tokens_float * 2", '[0.5, "0.25"]', [1, Fraction(1, 2)]),
        ("not tokens_bool", "[True, False]", [False, True]),
        ("tokens", "[1, 0.5]", ["1", "0.5"]),
        ("tokens_asis", "[1, 2]", [1, 2]),
        ('tokens in ["a", "e"]', '"hey"', [False, True, False]),
        ('"e" in tokens', '"hey"', [True] * 3),
        ('"b" if tokens == "a" else tokens', '"ac"', ["b", "c"]),
        ('{"a": 1, "b": 2}[tokens]', '"ba"', [2, 1]),
        ('"xyz"[indices]', '"ab"', ["x", "y"]),
        ("[4, 5, 6][indices]", '"ab"', [4, 5]),
        ("tokens[1]", '"abc"', ["b"] * 3),
        ("tokens[-1]", '"abc"', ["c"] * 3),
        ("-indices", '"ab"', [0, -1]),
        ('indicator(tokens == "a")', '"aba"', [1, 0, 1]),
        ("aggregate(select(indices, indices, <), indices)", '"abc"', [0, 0, Fraction(1, 2)]),
        ("aggregate(select(indices, indices, <), indices, -1)", '"ab"', [-1, 0]),
        ("aggregate(select(indices, indices - 1, ==), tokens, None)", '"ab"', [None, "a"]),
        ("selector_width(select(tokens, tokens, !=))", '"aab"', [1, 1, 2]),
        ("selector_width(not select(indices, 0, ==))", '"abc"', [2, 2, 2]),
        ("has_focus(select(indices, indices, >))", '"ab"', [True, False]),
        ('count(tokens, "a")', '"aba"', [2, 2, 2]),
        ('contains(tokens, "c")', '"aba"', [False] * 3),
        ("average(indices)", '"abc"', [1, 1, 1]),
        ("load_from_location(tokens, 1 - indices)", '"ab"', ["b", "a"]),
        ('shift(tokens, 1, "_")', '"abc"', ["_", "a", "b"]),
        ('shift(tokens, -1, "_")', '"abc"', ["b", "c", "_"]),
        ('mark_last_instance(tokens, "a")', '"aba"', [False, False, True]),
        ('mark_first_instance(tokens, "a")', '"aba"', [True, False, False]),
        ('aggregate(select_from_last(tokens, "a"), indices)', '"aba"', [2, 2, 2]),
        ('aggregate(select_from_first(tokens, "a"), indices)', '"aba"', [0, 0, 0]),
        ("sort(tokens, -indices)", '"abc"', ["c", "b", "a"]),
        ("aggregate(select_next_identical(tokens), indices, -1)", '"abab"', [2, 3, -1, -1]),
        ("aggregate_sum(full_s, indices)", '"abc"', [3, 3, 3]),
    ],
)
def test_sequences(expression: str, sequence: str, expected: list[Any]) -> None:
    """Every operation and basic function, on an input."""
    assert values(f"x = {expression};\nx({sequence});") == expected


def test_a_selector_runs_on_an_input() -> None:
    """Its rows are the queries."""
    item = last('select(indices, indices, <)("abc");')
    assert isinstance(item, Evaluated)
    assert item.rows == ((False, False, False), (True, False, False), (True, True, False))


def test_functions_keep_their_names_to_themselves() -> None:
    """Arguments and assignments are local, what is outside can be read, and several values can be returned."""
    session = Session()
    session.text("a = 1;\nk = 10;\ndef f(a, b) {\n  # twice\n  c = a + b;\n  return c * k, a;\n}\nx, y = f(3, 4);")
    assert [session.scope.get(name) for name in ("a", "x", "y")] == [1, 70, 3]
    with pytest.raises(UserError, match="There is no name 'c'"):
        session.scope.get("c")
    assert last("def f() { def g(x) { return x + 1; } return g(2); }\nf();") == 3
    assert last("def twice(f, x) { return f(f(x)); }\ndef inc(x) { return x + 1; }\ntwice(inc, 1);") == 3


def test_a_loop_builds_a_chain_of_any_length() -> None:
    """Its names stay; a comprehension's do not."""
    session = Session()
    session.text("z = 0;\nfor i in range(3000) { z = z + tokens_int; }\nl = [j for j in [1, 2]];")
    assert values_of(session, "z([1, 2]);") == [3000, 6000]
    assert session.scope.get("i") == 2999
    with pytest.raises(UserError, match="There is no name 'j'"):
        session.scope.get("j")


def values_of(session: Session, text: str) -> list[Any]:
    """The values of an s-op run in a session."""
    result = session.text(text)[-1]
    assert isinstance(result, Defined)
    assert isinstance(result.item, Evaluated)
    return list(result.item.values or ())


def test_an_assignment_does_not_change_earlier_expressions() -> None:
    """As published: a new meaning of `tokens` counts from there on."""
    session = Session()
    session.text("old = tokens;\ntokens = tokens_int;\nnew = tokens + 1;")
    assert values_of(session, "old([1]);") == ["1"]
    assert values_of(session, "new([1]);") == [2]


def test_statements_may_span_lines_and_share_one() -> None:
    """Whitespace and comments are free."""
    assert values('a = 1; b = 2; # both\nc =\n  a +  # first\n  b\n;\n(c + 0 * indices)("x");') == [3]


def test_commands_stand_alone_on_a_line() -> None:
    """Console commands are distinguished from statements, and do not reserve their names."""
    session = Session()
    assert session.text('set example "abc"\nexamples off\nselector examples on\nshow s-op example\nexit()') == [
        Command("set", None, '"abc"', "abc"),
        Command("examples", None, "off"),
        Command("examples", "selector", "on"),
        Command("show", "s-op"),
        Command("exit"),
    ]
    session.text("set = 1; example = 2; show = set + example;")
    assert session.scope.get("show") == 3
    assert session.text("set example [1, set]")[0] == Command("set", None, "[1, set]", [1, 1])
    (command,) = session.text('set example "a;b"; # with a comment')
    assert isinstance(command, Command)
    assert command.value == "a;b"
    assert [command.value for command in session.text('set example "c" # #') if isinstance(command, Command)] == ["c"]


def test_commands_of_a_loaded_file_reach_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As do its drawings; its exit ends only the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rasp").write_text('set example "ab"\nx = 1;\ndraw(indices);\nx = 2;\n_y = 3;\nexit\nz = 4;\n')
    results = Session().text('load "a";\nw = 5;')
    assert [result.name for result in results] == ["set", "indices", "x", "w"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 5000 + ";", "A number may have at most 3,000 digits; got 5,000."),
        ("0." + "1" * 5000 + ";", "A number may have at most 3,000 digits"),
        ("x = 2 ^ 9999;\nx * x;", "A number may have at most 10,000 bits; got 19,999."),
        ("2 ^ 10001;", "has more than 10,000 bits"),
        ("x = 2 ^ 9999; y = x + indices; (y * y)([1]);", "A number may have at most 10,000 bits"),
        ('x = "ab";\nfor i in range(60) { x = x + x; }', "A string may have at most 100,000 characters; got 131,072."),
        ("x = [1, 2];\nfor i in range(60) { x = x + x; }", "A list may have at most 100,000 items; got 131,072."),
        ('tokens_int("' + "9" * 10 + '\u00b2");', 'tokens_int needs an input of integers; got "\u00b2".'),
    ],
)
def test_what_would_fill_the_memory_is_refused(text: str, message: str) -> None:
    """Numbers, strings and lists have a largest size."""
    assert message in told(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1;\ny = revrse + x;", "There is no name 'revrse'.|2, column 5|y = revrse + x;|    ^"),
        ("idnices;", "There is no name 'idnices'. Did you mean 'indices'?|1, column 1|idnices;|^"),
        ("a = 3 b;", "'b' cannot stand here; expected ';'.|1, column 7|a = 3 b;|      ^"),
        ("a = @;", "The character '@' does not belong to the language.|1, column 5|a = @;|    ^"),
        ("a = (1;", "';' cannot stand here; expected ')'.|1, column 7|a = (1;|      ^"),
        ("a = 3", "The statement is not finished; ';' is missing.|1, column 6|a = 3|     ^"),
        ("def f() {\n  return a", "The statement is not finished; ';' is missing.|2, column 11|  return a|          ^"),
        ("select(1, tokens);", "')' cannot stand here; expected ','|1, column 17|select(1, tokens);|                ^"),
        ("\tx = tokens + full_s;", "'+' needs constants or s-ops; got select(1, 1, ==).|1, column 6|"
                                    "\tx = tokens + full_s;|\t    ^"),
        ("aggregate(tokens, tokens);", "aggregate needs a selector first; got tokens_str.|1, column 1|"
                                       "aggregate(tokens, tokens);|^"),
        ("full_s and tokens;", "'and' needs two selectors or none; one operand is tokens_str.|1, column 1|"
                               "full_s and tokens;|^"),
        ("sort(tokens);", "sort takes 2 arguments; got 1.|1, column 1|sort(tokens);|^"),
        ("round(1, 2);", "round takes 1 argument; got 2.|1, column 1|round(1, 2);|^"),
        ("out = 3;", "'out' is a word of the language; assign to another name.|1, column 1|out = 3;|^"),
        ("a, b = 1;", "2 names need 2 values; got one value, 1.|1, column 1|a, b = 1;|^"),
        ("a, b = 1, 2, 3;", "2 names need 2 values; got 3 values.|1, column 1|a, b = 1, 2, 3;|^"),
        ("3(1);", "Only functions, s-ops and selectors can be called; got 3.|1, column 1|3(1);|^"),
        ("indices(3);", "An input is a string or a list of constants, such as \"hello\" or [1, 2]; got 3.|1, column 1|"
                        "indices(3);|^"),
        ("tokens[indices];", "An s-op is indexed with an integer; got indices.|1, column 1|tokens[indices];|^"),
        ('{"a": 1}[4];', 'The dict has no entry for 4.|1, column 1|{"a": 1}[4];|^'),
        ("[1][3];", "The index 3 is outside the list, whose length is 1.|1, column 1|[1][3];|^"),
        ("{[1]: 2};", "A key of a dict must be a constant; got [1].|1, column 2|{[1]: 2};| ^"),
        ("for x in 3 { y = x; }", "A loop goes over a list or a dict; got 3.|1, column 1|for x in 3 { y = x; }|^"),
        ("range(1.5);", "range needs integers, and a step other than 0; got 3/2.|1, column 1|range(1.5);|^"),
        ("range(10 ^ 9);", "A range may have at most 100,000 numbers; got 1,000,000,000.|1, column 1|range(10 ^ 9);|^"),
        ("1 / 0;", "A number cannot be divided by 0; got 1 / 0.|1, column 1|1 / 0;|^"),
        ("def f(x) { return f(x); }\nf(1);", "Calls may be 20 deep; f calls itself, or others that do.|1, column 19|"
                                              "def f(x) { return f(x); }|                  ^"),
        ('x = 1;\ny = tokens * 2;\nz = y + 1;\nz("ab");', "'*' needs numbers; got the string \"a\". This happens in "
                                                          "tokens_str * 2.|2, column 5|y = tokens * 2;|    ^"),
        ("set example foo", "There is no name 'foo'.|1, column 13|set example foo|            ^"),
        ("set example 3", "got 3.|1, column 13|set example 3|            ^"),
        ('load "no such file";', "There is no file 'no such file.rasp' here|1, column 1|load \"no such file\";|^"),
        ('load "revers";', "Did you mean 'reverse'?|1, column 1|load \"revers\";|^"),
        ("draw(3);", "draw needs an s-op or a selector; got 3.|1, column 1|draw(3);|^"),
    ],
)  # fmt: skip
def test_an_error_has_its_line_column_and_a_caret(text: str, expected: str) -> None:
    """One sentence with the place, then the line, then a caret under the column."""
    sentence, place, line, caret = expected.split("|")
    first, shown, under = told(text).split("\n")
    assert sentence in first
    assert first.endswith(f"(input, line {place})")
    assert (shown, under) == (f"  {line}", f"  {caret}")


def test_an_error_inside_a_function_is_placed_there() -> None:
    """Also if the function was written in a file."""
    assert "(basics.rasp, line " in told("average(full_s);")
    assert "(basics.rasp, line " in told('average(tokens)("ab");')
    assert "line 2, column 10" in told("def f(a) {\n  return a + full_s;\n}\nf(1);")


def test_a_program_that_nests_too_deeply_is_refused() -> None:
    """A thousand parentheses are fine, a thousand operations in one expression are not."""
    assert last("(" * 1000 + "1" + ")" * 1000 + ";") == 1
    assert "The program is nested too deeply" in told("1" + " + 1" * 3000 + ";")


def test_files_load_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to the loading one; private names stay there, public ones come along, the loader's are not seen."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.rasp").write_text('load "two";\nvalue = _secret + two;\n_mine = 1;\nset example "x"\n')
    (tmp_path / "parts" / "two.rasp").write_text("two = 2;\n_secret = 40;\ndef secret() { return _secret; }\n")
    (tmp_path / "good.rasp").write_text('load "parts/two";\nfour = two + two;\n')
    session = Session()
    results = session.text('load "good";')
    assert [result.name for result in results if isinstance(result, Defined)] == ["two", "secret", "four"]
    assert last('load "good"; secret();') == 40
    assert "There is no name '_secret'" in told('load "parts/one";')
    (tmp_path / "seen.rasp").write_text("x = outside;\n")
    message = told('outside = 1;\nload "seen";')
    assert "There is no name 'outside'." in message
    assert "(seen.rasp, line 1, column 5)" in message


def test_a_cycle_of_loads_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not followed until the stack is full; loading a file twice is fine."""
    monkeypatch.chdir(tmp_path)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.rasp").write_text(f'load "{other}";\n')
    message = told('load "a";')
    assert "A file cannot load itself: a.rasp loads b.rasp loads c.rasp loads a.rasp" in message
    assert "(c.rasp, line 1, column 1)" in message
    session = Session()
    with pytest.raises(ProgramError):
        session.text('load "a";')
    (tmp_path / "c.rasp").write_text("c = 1;\n")
    session.text('load "a"; load "a"; load "b";')
    assert session.scope.get("c") == 1


def test_a_program_is_text_in_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bytes are refused, and "§" is a character like any other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "windows.rasp").write_bytes(
        '\ufeffx = 1;\r\n# comment\r\nset example "a"\r\ny = x +\r\n1;\r\n'.encode()
    )
    assert last('load "windows"; y;') == 2
    (tmp_path / "bad.rasp").write_bytes(b"\xff\xfe")
    assert "must be a text file in UTF-8" in told('load "bad";')
    assert values('(tokens == "§")("§a");') == [True, False]


def test_every_library_program_loads() -> None:
    """Each on its own, and all of them into one session."""
    session = Session()
    assert len(library_names()) >= 20
    for name in library_names():
        assert Session().file(name)
        session.text(f'load "{name}";')


def test_causal_sessions() -> None:
    """A session has one dialect for all that it runs."""
    assert values('length("abc");', causal=True) == [1, 2, 3]
    assert values('aggregate_max(full_s, tokens_int)("132");', causal=True) == [1, 3, 3]
    assert "exists only in the causal dialect" in told('aggregate_max(full_s, tokens_int)("132");')


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab1(){}[]"=;,+-*<>! \n#:in', max_size=30))
def test_any_text_runs_or_is_refused_in_a_sentence(text: str) -> None:
    """No text raises anything but a `ProgramError` with a place inside it."""
    try:
        Session().text(text)
    except ProgramError as error:
        place = error.place
    else:
        return
    assert place.text == text.split("\n")[place.line - 1]
    assert 1 <= place.column <= len(place.text) + 1


def test_without_lark_the_error_says_what_to_install() -> None:
    """The extra is needed only by the text language."""
    code = (
        "import sys; sys.modules['lark'] = None\n"
        "from sayso.rasp.session import Session\nfrom sayso.base.errors import UserError\n"
        "try: Session()\nexcept UserError as error: assert \"pip install 'sayso[rasp]'\" in str(error), error\n"
        "else: raise SystemExit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
