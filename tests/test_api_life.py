"""`sayso.Life`: every act as a method with keyword arguments, which returns its result."""

import asyncio
import functools
import importlib.util
import inspect
import linecache
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sayso
from sayso.base.functions import name_of, passed
from sayso.base.log import read_log
from sayso.cli.main import run
from sayso.run.acts import COMMANDS
from sayso.run.results import Trained, Written

ROOT = Path(__file__).parent.parent
PRETRAIN = {"depth": 1, "steps": 2, "rows": 2, "context": 64, "device": "cpu", "processes": 1}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> sayso.Life:
    """Return a life with text and a tokenizer."""
    root = tmp_path_factory.mktemp("life")
    text = root / "text"
    text.mkdir()
    for number in range(40):
        words = f"Tom and cat {number} sat on mat {number % 7}. They ran {number * 3} steps and came back to eat. "
        (text / f"{number}.txt").write_text(words * 4)
    life = sayso.Life(root / "life")
    manifest = life.prepare([str(text)], val=0.2, quality=False, near_duplicates=0, workers=1)
    assert manifest["totals"]["in"]["documents"] == 40
    assert life.tokenizer_train(vocab_size=300).vocab_size <= 300
    return life


@pytest.fixture(scope="module")
def base(life: sayso.Life) -> Trained:
    """Return the result of pre-training."""
    return life.pretrain(**PRETRAIN)


def test_an_act_returns_its_result(life: sayso.Life, base: Trained) -> None:
    """Paths exist, figures are those of the run, and a second call has nothing to do."""
    assert (base.model / "config.json").exists()
    assert (base.run / "run.jsonl").exists()
    assert base.figures["steps"] == 2
    assert 0 < base.figures["val_bpb"] < 20
    assert not base.finished_before
    again = life.pretrain(**PRETRAIN)
    assert again.finished_before
    assert (again.model, again.figures) == (base.model, base.figures)
    assert life.models() == ["base"]
    assert "base" in repr(life)
    assert len(life.load("base").generate("Tom", max_tokens=3, seed=0)) > 0


def test_acts_that_write_files_return_their_paths(life: sayso.Life, base: Trained, tmp_path: Path) -> None:
    """A path may be a string; an act's first option may be positional."""
    puzzles = life.puzzles("addition", count=3, out=str(tmp_path / "p.jsonl"))
    assert puzzles == Written(tmp_path / "p.jsonl")
    assert len(puzzles.path.read_text().splitlines()) == 3
    imported = life.import_model(base.model, name="copy")
    assert imported.path == life.root / "models" / "copy"
    assert life.import_model(base.model, name="copy").finished_before
    assert life.export("base", to=tmp_path / "m.gguf").path.exists()
    assert life.generate("Tom", model="base", max_tokens=3, seed=0, count=2)[0]
    assert "step 2 of 2" in life.train_status()
    assert life.report()


def test_the_command_line_recognizes_a_run_from_python(life: sayso.Life, base: Trained, capsys) -> None:
    """Options are equal, whether they are NumPy numbers, integers, or from flags."""
    flags = [part for name, value in PRETRAIN.items() for part in (f"--{name}", str(value))]
    assert run(["pretrain", "--life", str(life.root), "--rate", "1", *flags]) == 0
    assert "already" in capsys.readouterr().out
    assert life.pretrain(**PRETRAIN | {"rate": 1, "depth": np.int64(1)}).finished_before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda life: life.pretrain(step=3), r"no argument 'step'. Did you mean 'steps'"),
        (lambda life: life.pretrain(life="x"), "no argument 'life'"),
        (lambda life: life.pretrain(steps=0), "must be at least 1; got 0"),
        (lambda life: life.pretrain(steps="many"), "must be an integer"),
        (lambda life: life.pretrain(3), "takes keyword arguments"),
        (lambda life: life.pretrain(mlp="swiglo"), "Did you mean 'swiglu'"),
        (lambda life: life.pretrain(name=3), "name must be a string; got 3"),
        (lambda life: life.pretrain(restart=1), "restart must be True or False; got 1"),
        (lambda life: life.quantize(bits=5), "bits must be 8 or 4; got 5"),
        (lambda life: life.merge(name="x"), "needs the argument 'parent'"),
        (lambda life: life.export("a", model="b"), "got 'model' twice"),
        (lambda life: life.puzzles("addition", sizes=[3, "x"]), "must be an integer"),
        (lambda life: life.prepare(sources=3), "must be a string; got 3"),
        (lambda life: sayso.Life(__file__), "is a file"),
        (lambda life: life.load("basee"), "Did you mean 'base'"),
    ],
)
def test_mistakes_are_user_errors(life: sayso.Life, base: Trained, call, message: str) -> None:
    """Each is one sentence, before anything is done."""
    with pytest.raises(sayso.UserError, match=message):
        call(life)


def test_an_unknown_act_suggests_the_nearest(life: sayso.Life) -> None:
    """It is an AttributeError, so that `hasattr` and copying work."""
    with pytest.raises(AttributeError, match="Did you mean 'pretrain'"):
        _ = life.pretrane


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_a_method_with_the_flags_names(life: sayso.Life, command) -> None:
    """`help` and editors show each argument with its meaning and default."""
    method = getattr(life, command.method)
    assert command.method in dir(life)
    names = list(inspect.signature(method).parameters)
    assert "life" not in names
    if command.place:
        assert names[0] == command.place
    assert all(f"\n    {name}: " in method.__doc__ for name in names)


def test_the_stub_is_up_to_date() -> None:
    """`acts.pyi` is the output of `make docs`."""
    spec = importlib.util.spec_from_file_location("stub", ROOT / "tools" / "stub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.STUB.read_text() == module.stub(), "run `make docs`"


def test_a_life_loads_no_torch_until_an_act_is_called() -> None:
    """Creating a life and listing its acts is fast."""
    code = "import sayso, sys; life = sayso.Life('x'); dir(life); life.pretrain; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def rows():
    """Yield a text, a row of text and a conversation."""
    for number in range(30):
        yield f"Tom and cat {number} sat on a mat and ate {number} small fish in the old town."
    yield {"text": "A row of text about a dog that ran to the river."}
    yield {"messages": [{"role": "user", "content": "Who sat?"}, {"role": "assistant", "content": "Tom sat on it."}]}


def broken():
    """Yield one text, then fail."""
    yield "A text."
    raise ValueError("no more")


def score(prompt, reply, info) -> float:
    """Return a reward for long replies."""
    return float(len(reply))


def test_a_function_can_be_a_source(tmp_path: Path) -> None:
    """Its texts and rows become documents; unchanged code is not run again."""
    life = sayso.Life(tmp_path / "life")
    manifest = life.prepare([rows], quality=False, near_duplicates=0)
    (entry,) = manifest["sources"]
    assert entry["in"]["documents"] == 32
    assert sum(entry["conversations"].values()) == 1
    assert f"{__name__}.rows#" in entry["name"]
    before = (life.root / "data/text/manifest.json").stat().st_mtime_ns
    assert life.prepare(rows, quality=False, near_duplicates=0) == manifest
    assert (life.root / "data/text/manifest.json").stat().st_mtime_ns == before
    with pytest.raises(sayso.UserError, match=r"broken#.*raised ValueError: no more"):
        life.prepare([broken], quality=False)


def test_a_function_can_be_a_reward(life: sayso.Life, base: Trained, tmp_path: Path) -> None:
    """The policy is trained on it, and a second call with the same function has nothing to do."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "Tom and cat {number}"}}\n' for number in range(8)))
    options = {"prompts": prompts, "parent": "base", "name": "longer", "reward": [score], "judged": 2}
    options |= {"iterations": 1, "groups": 2, "replies": 2, "max_tokens": 4, "device": "cpu", "processes": 1}
    made = life.reinforce(**options)
    assert (made.model / "model.safetensors").exists()
    assert "python:" in (made.run / "config.toml").read_text()
    assert life.reinforce(**options).finished_before


def close_over(value):
    """Return a function with a value in its closure."""

    def inner(prompt, reply, info) -> float:
        return float(value)

    return inner


def doubled(function):
    """Return a wrapper of a function."""

    @functools.wraps(function)
    def wrapper(*given):
        return 2 * function(*given)

    return wrapper


def calling(first: int):
    """Return a function that calls itself through another one."""

    def down(n: int = first) -> int:
        return up(n - 1)

    def up(n: int) -> int:
        return n if n < 0 else down(n)

    return down


def in_cell(code: str, number: int):
    """Return the function `f` of a notebook's cell, whose source only `linecache` has."""
    place, names = f"/nowhere/ipykernel_1/{number}.py", {"__name__": "__main__"}
    linecache.cache[place] = (len(code), None, code.splitlines(True), place)
    exec(compile(code, place, "exec"), names)
    return names["f"]


def test_a_function_is_identified_by_code_and_closure() -> None:
    """Another value or another body is another function."""
    assert name_of(doubled(score)) not in (name_of(score), name_of(doubled(rows)))
    assert name_of(calling(1)) == name_of(calling(1)) != name_of(calling(2))
    cells = [in_cell(f"def f():\n    return {value}\n", number) for number, value in enumerate((1, 2, 1))]
    assert name_of(cells[0]) == name_of(cells[2]) != name_of(cells[1])
    names: dict = {}
    exec("def f():\n    return 1", names)
    with pytest.raises(sayso.UserError, match="cannot be found"):
        name_of(names["f"])
    names = [name_of(close_over(value)) for value in (1, 2, 1)]
    assert names[0] == names[2] != names[1]
    assert name_of(score) != name_of(rows)
    assert passed(name_of(score)) is score


@pytest.mark.parametrize("given", [lambda p, r, i: 1.0, len, "x".join, close_over(object()), type("C", (), {})])
def test_a_function_without_identity_is_refused(life: sayso.Life, given) -> None:
    """A lambda or an object could change without a trace in the run."""
    with pytest.raises(sayso.UserError, match="defined with 'def'"):
        life.reinforce(prompts="x.jsonl", reward=given)
    with pytest.raises(sayso.UserError, match="name must be a string"):
        life.pretrain(name=score)
    with pytest.raises(sayso.UserError, match="pass the function itself"):
        passed("python:x.y#123")


def count(life: sayso.Life, word: str, of=None) -> dict[str, int]:
    """Return counts, as a custom act."""
    return {"letters": len(word), "models": len(life.models())}


def test_a_function_can_be_an_act(life: sayso.Life, base: Trained) -> None:
    """Its run has a config and a log; names of built-in acts are refused."""
    assert life.run(count, name="first", word="cat", of=object())["letters"] == 3
    folder = life.root / "runs" / "count-first"
    assert 'word = "cat"' in (folder / "config.toml").read_text()
    events = read_log(folder / "run.jsonl")
    assert [event["event"] for event in events] == ["start", "result", "end"]
    assert events[1]["value"]["letters"] == 3
    assert life.report()

    def pretrain(life: sayso.Life) -> None:
        """Do nothing."""

    with pytest.raises(sayso.UserError, match="must not have the name of a built-in act"):
        life.run(pretrain)
    with pytest.raises(sayso.UserError, match="A name must consist of"):
        life.run(lambda life: None)


def test_a_notebook_serves_until_it_is_interrupted(life: sayso.Life, base: Trained) -> None:
    """Inside a running event loop the server uses its own loop, and Ctrl-C returns to the cell."""
    lines = []

    def interrupt(line: str) -> None:
        lines.append(line)
        os.kill(os.getpid(), signal.SIGINT)

    async def cell() -> None:
        life.serve(model="base", port=0, device="cpu")

    loop = asyncio.new_event_loop()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with sayso.output(interrupt):
            loop.run_until_complete(cell())
    finally:
        signal.signal(signal.SIGINT, before)
        loop.close()
    assert [line.partition(" (")[0] for line in lines] == ["Serving base"]
