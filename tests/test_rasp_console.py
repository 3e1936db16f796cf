"""`sayso rasp`: the console in its published forms, files on inputs, drawings, and the examples of the docs."""

import io
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.cli.main import run
from sayso.rasp.draw import as_svg, steps
from sayso.rasp.errors import ProgramError
from sayso.rasp.expression import aggregate, indices, select, tokens
from sayso.rasp.session import library_names
from sayso.run.rasp import Ran, Rasp, rasp

PAGE = (Path(__file__).parent.parent / "docs" / "rasp.md").read_text()
CONSOLES = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
SHOWN = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
EXAMPLES = [(command, output) for block in CONSOLES for command, output in SHOWN.findall(block)]


class Typed(io.StringIO):
    """Lines that someone types at a terminal."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return True


def printed(text: str, **options: object) -> str:
    """What the console prints for piped statements."""
    target = io.StringIO()
    rasp(Rasp(**options), io.StringIO(text), target)  # type: ignore[arg-type]
    return target.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("indices;", '     s-op: indices\n \t Example: indices("hello") = [0, 1, 2, 3, 4] (ints)\n'),
        ("length;", '     s-op: length\n \t Example: length("hello") = [5]*5 (ints)\n'),
        ("tokens;", '     s-op: tokens\n \t Example: tokens("hello") = [h, e, l, l, o] (strings)\n'),
        ("3 * indices;", '     s-op: out\n \t Example: out("hello") = [0, 3, 6, 9, 12] (ints)\n'),
        (
            "set example [4, 7, 10]\ntokens = tokens_int;",
            "     s-op: tokens\n \t Example: tokens([4, 7, 10]) = [4, 7, 10] (ints)\n",
        ),
        (
            'set example "hey"\nprevs=select(indices,indices,<);',
            "     selector: prevs\n \t Example:\n"
            " \t\t\t     h e y\n \t\t\t h |      \n \t\t\t e | 1    \n \t\t\t y | 1 1  \n",
        ),
        ('indices(["hi","there"]);', "\t =  [0, 1] (ints)\n"),
        (
            'set example "hey"\naggregate(full_s,indicator(tokens=="e"));',
            '     s-op: out\n \t Example: out("hey") = [0.333]*3 (floats)\n',
        ),
        ('set example "hey"\n"e" in tokens;', '     s-op: out\n \t Example: out("hey") = [T]*3 (bools)\n'),
        ('vowels = ["a","e"];', "     list: vowels = ['a', 'e']\n"),
        ("d = {'1': 1};".replace("'", '"'), "     dict: d = {'1': 1}\n"),
        (
            "examples off\nx = [indices, 3, full_s, [1]];",
            "     list: x =  [\n\t\t     s-op: indices\n\t\t    value:  3\n\t\t     selector: select(1, 1, ==)\n"
            "\t\t     list: [1]\n               ]\n",
        ),
        (
            'set example "ab"\nd = {"a": indices + 1};',
            '     dict: d =  {\n\t\t\t"a" :     s-op: indices + 1\n'
            '\t\t\t \t Example: indices + 1("ab") = [1, 2] (ints)\n               }\n',
        ),
        ("a, b = 3, 5;", "    value: a =  3\n    value: b =  5\n"),
        ('a = "qwerty"; a[1];', '    value: a =  "qwerty"\n    value: out =  "w"\n'),
        ("0.5 + 1;", "    value: out =  1.5\n"),
        ("def foo(a, b) { return a; }", "     console function: foo(a, b)\n"),
        ("examples off\nindices; full_s;", "     s-op: indices\n     selector: full_s\n"),
        ("selector examples off\nfull_s;\nexamples on\n", "     selector: full_s\n"),
        (
            'set s-op example "ab"\nshow example\nshow selector example',
            '\ts-op example: "ab"\n\tselector example: "hello"\n\tselector example: "hello"\n',
        ),
        ('full seq display on\nexamples off\nindices("ab");', "\t = \n \t\t\t a | 0\n \t\t\t b | 1\n"),
        ("for i in [1, 2] { x = i; }\nx;", "    value: x =  2\n"),
        ("a = 1;\nexit\nb = 2;", "    value: a =  1\n"),
        ('set example "a"\nshift(tokens, 1, None);', '     s-op: out\n \t Example: out("a") = [None] (values)\n'),
        (
            'set example "ab"\ntokens * 2;',
            '     s-op: out\n \t No value for out("ab"): \'*\' needs numbers; got the string "a". This happens in '
            "tokens_str * 2.\n",
        ),
    ],
)
def test_the_console_prints_the_published_forms(text: str, expected: str) -> None:
    """As the original's transcripts do."""
    assert printed(text) == expected


def test_a_load_lists_the_names_it_gives() -> None:
    """Each once, without private ones."""
    assert printed('examples off\nload "histogram";') == (
        "     histogram function: width_with_bos(sel)\n     s-op: hist_bos\n     s-op: hist_nobos\n"
    )


def test_a_terminal_survives_errors() -> None:
    """The error is shown, and the next statement runs; Ctrl-D ends, also within a statement."""
    target = io.StringIO()
    rasp(Rasp(), Typed("x = idices;\nx = 1;\ny = (x +\n"), target)
    shown = target.getvalue()
    assert "Did you mean 'indices'? (input, line 1, column 5)\n  x = idices;\n      ^\n" in shown
    assert "    value: x =  1\n" in shown
    assert "The statement is not finished" in shown
    assert shown.count(">> ") == 3
    assert shown.count(".. ") == 1


def test_a_pipe_stops_at_the_first_error() -> None:
    """With what came before it printed."""
    target = io.StringIO()
    with pytest.raises(ProgramError, match="There is no name 'b'"):
        rasp(Rasp(), io.StringIO("a = 1;\nb;\nc = 3;"), target)
    assert target.getvalue() == "    value: a =  1\n"


def test_a_file_runs_on_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the last s-op or selector, or the one that is asked for; Python gets it as values."""
    monkeypatch.chdir(tmp_path)
    Path("twice.rasp").write_text("twice = 2 * tokens_int;\nbefore = select(indices, indices, <);\n_x = 3;\n")
    target = io.StringIO()
    assert rasp(Rasp("twice", values=("1", "2")), None, target).rows == [[False, False], [True, False]]
    assert rasp(Rasp("twice.rasp", values=("1", "2"), result="twice"), None, target) == Ran(values=[2, 4])
    assert rasp(Rasp("twice", input="12", result="twice + _x;"), None, target) == Ran(values=[5, 7])
    assert "s-op: twice" in printed("", file="twice")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file": "reverse", "input": "a", "values": ("a",)}, "either --input or --values"),
        ({"result": "indices"}, "--result needs an input to evaluate 'indices' on"),
        ({"input": "a"}, "An input needs a program"),
        (
            {"input": "a", "result": "1 + 1"},
            "--result must give an s-op or a selector to evaluate on the input; got 2.",
        ),
        ({"input": "a", "result": "x = 3; x"}, "must give an s-op or a selector"),
        ({"file": "revers", "input": "a"}, "There is no file 'revers.rasp' here, nor a library program of this name."),
        ({"file": "reverse", "input": "a" * 100, "draw": True}, "A drawing shows at most 64 positions"),
        ({"file": "induction", "input": "ab"}, "The max of the selected values exists only in the causal dialect"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    """Each is refused in one sentence."""
    with pytest.raises(UserError) as raised:
        rasp(Rasp(**options), io.StringIO(), io.StringIO())  # type: ignore[arg-type]
    assert message in str(raised.value)


def test_drawings_never_replace_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one of a name gets a number; without --draw, none is written."""
    monkeypatch.chdir(tmp_path)
    printed('draw(indices, "ab");')
    assert list(tmp_path.iterdir()) == []
    target = io.StringIO()
    ran = rasp(Rasp(draw=True), io.StringIO('x = indices + 1; draw(x, "ab"); draw(x); draw(full_s);'), target)
    names = ["x.svg", "x-2.svg", "full_s.svg"]
    assert [path.relative_to("life/drawings").as_posix() for path in ran.drawings] == names
    assert "\t Wrote life/drawings/x-2.svg.\n" in target.getvalue()
    for path in ran.drawings:
        ElementTree.fromstring(path.read_text())


def test_a_drawing_shows_every_step() -> None:
    """Selectors as cells, of which those that are selected are marked; values as text, escaped."""
    program = aggregate(select(tokens, "<"), indices + 1, 0)
    drawn = steps(program, "a<<")
    assert [step.text for step in drawn] == ['select(tokens, "<", ==)', "indices + 1", "aggregate(#1, #2, 0)"]
    picture = ElementTree.fromstring(as_svg(drawn, "<x>"))
    svg = "{http://www.w3.org/2000/svg}"
    cells = picture.findall(f"{svg}rect")
    assert len(cells) == 9 + 3 + 3
    assert len([cell for cell in cells if cell.get("class") == "on"]) == 6
    earlier = ElementTree.fromstring(as_svg(steps(select(indices, indices, "<"), "abc"), "earlier"))
    marked = {
        (float(cell.get("y", 0)), float(cell.get("x", 0))) for cell in earlier.iter(f"{svg}rect") if cell.get("class")
    }
    rows = sorted({float(cell.get("y", 0)) for cell in earlier.iter(f"{svg}rect")})
    columns = sorted({float(cell.get("x", 0)) for cell in earlier.iter(f"{svg}rect")})
    assert marked == {(rows[1], columns[0]), (rows[2], columns[0]), (rows[2], columns[1])}
    texts = [text.text for text in picture.findall(f"{svg}text")]
    assert '#1 = select(tokens, "<", ==)' in texts
    assert texts[-3:] == ["2.5", "2.5", "2.5"]


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_examples_of_the_page(
    command: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints what the page says, errors included."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)
    if words[1:3] in (["rasp", "run"], ["quantize", "hist"]):  # which take what the command above them made
        assert run(shlex.split(EXAMPLES[EXAMPLES.index((command, output)) - 1][0])[1:]) == 0
        capsys.readouterr()
    code = run(words[1:])
    told = capsys.readouterr()
    assert told.out + told.err == output
    assert code == (2 if told.err else 0)


def test_every_library_program_is_on_the_page() -> None:
    """In the table, and with an example."""
    shown = {shlex.split(command)[2] for command, _ in EXAMPLES}
    for name in library_names():
        assert f"| `{name}` |" in PAGE
        assert name in shown


def test_the_session_on_the_page_is_real() -> None:
    """What follows each prompt is what the console prints."""
    (session,) = (block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if block.startswith(">> "))
    typed = "\n".join(line.removeprefix(">> ") for line in session.split("\n") if line.startswith(">> "))
    assert printed(typed) == "".join(f"{line}\n" for line in session.rstrip("\n").split("\n") if line[:3] != ">> ")


def test_the_program_on_the_page_runs() -> None:
    """Every construct in it."""
    (program,) = (block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if block.startswith("# "))
    assert "dyck2_ptf" in printed(f"examples off\n{program}")
