"""Teaching programs: what is drawn, trained and measured is what the program computes, and the model is ordinary."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import sayso.rasp.teach.examples as examples_module
from sayso.base.errors import UserError
from sayso.cli.main import run as command
from sayso.rasp import SOp, indices, run, select, selector_width, tokens
from sayso.rasp.compile.program import compile_program
from sayso.rasp.compile.store import load, names_in
from sayso.rasp.evaluation import Defined
from sayso.rasp.session import Session
from sayso.rasp.teach.accuracy import accuracy
from sayso.rasp.teach.examples import Batches, Encoder, Lesson, answer_loss
from sayso.rasp.teach.expected import expectation
from sayso.rasp.teach.inputs import KINDS, OF_PROGRAMS
from sayso.rasp.tensors import _unique
from sayso.run.quantize_rasp import is_program
from sayso.run.rasp_teach import Teach, teach
from sayso.weights.folder import load_model, load_weights
from sayso.weights.lineage import read_lineage

COUNTS = selector_width(select(tokens, tokens))
SMALL = {"length": 3, "layers": 1, "width": 16, "heads": 2, "rows": 4, "alphabet": "ab", "device": "cpu"}


def library(file: str, name: str, *, causal: bool = True) -> SOp:
    """Return an s-op of a program of the library."""
    found = Session(causal=causal).file(file)
    (item,) = [one.item for one in found if isinstance(one, Defined) and one.name == name]
    assert isinstance(item, SOp)
    return item


def lesson(program: SOp = COUNTS, *, causal: bool = True, kind: str = "uniform", alphabet: str = "ab") -> Lesson:
    """Return a lesson of short inputs."""
    return Lesson(program, causal, kind, tuple(alphabet), longest_taught=4, longest=8)


@pytest.mark.parametrize("name", ["copy", "copy_unique", "next_sorted", "next_count", "next_digit"])
def test_a_program_writes_the_answer_that_follows_its_prompt(name: str) -> None:
    """Each token of the answer is what a next-token program gives for those before it."""
    rng, kind = random.Random(1), KINDS[OF_PROGRAMS[name]]
    program = library(name, name)
    for size in (1, 2, 3, 9):
        drawn, start = kind.draw(rng, size, kind.alphabet or tuple("abc"))
        assert run(program, drawn, causal=True)[start:-1] == drawn[start + 1 :]
        assert len(drawn) > start + size - 1


def test_new_next_token_programs_equal_brute_force() -> None:
    rng = random.Random(2)
    for _ in range(30):
        letters = rng.sample("abcdefgh", rng.randint(1, 6))
        for name, answer in (("copy_unique", letters), ("next_sorted", sorted(letters))):
            found = run(library(name, name), [*letters, "|", *answer], causal=True)
            assert found[len(letters) :] == [*answer, "|"]
        low, high = sorted(rng.sample(range(50), 2))
        found = run(library("next_count", "next_count"), [low, high, *range(low, high + 1)], causal=True)
        assert found[1:] == [*range(low, high + 1), -1]


def test_brackets_are_balanced_often_but_not_always() -> None:
    program = library("dyck", "dyck2_ptf", causal=False)
    drawn = [KINDS["brackets"].draw(random.Random(seed), 8, tuple("(){}"))[0] for seed in range(60)]
    last = [run(program, one)[-1] for one in drawn]
    assert set(last) == {"T", "P", "F"}


class DrawnError(Exception):
    """Carries the lesson of `sayso rasp teach`, in place of training."""


@pytest.fixture
def lesson_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lesson]:
    """Return the lesson that the act makes of its options."""

    def stop(_options: Teach, _session: object, lesson: Lesson, _name: str) -> None:
        raise DrawnError(lesson)

    def found(file: str, **given: Any) -> Lesson:
        with pytest.raises(DrawnError) as raised:
            teach(Teach(file=file, life=tmp_path, **given))
        return raised.value.args[0]

    monkeypatch.setattr("sayso.run.rasp_teach._teach", stop)
    return found


@pytest.mark.parametrize(("result", "alphabet"), [
    ("dyck1_ptf", "()"), ("dyck2_ptf", "(){}"), ("dyck3_ptf", "(){}[]"), ("length", "(){}[]")
])  # fmt: skip
def test_brackets_are_pairs_whatever_the_order_in_a_program(
    result: str, alphabet: str, lesson_of: Callable[..., Lesson]
) -> None:
    """`dyck2_ptf` mentions closers before openers."""
    given = lesson_of("dyck", result=result, inputs="brackets" if result == "length" else None, length=8)
    assert given.alphabet == tuple(alphabet)
    drawn = [one.values[-1] for one in given.draw("test", [8] * 60)]
    assert result == "length" or set(drawn) == {"T", "P", "F"}


def test_an_alphabet_is_more_than_the_tokens_that_every_input_has(lesson_of: Callable[..., Lesson]) -> None:
    """`copy` mentions "|" alone, and `hist_bos` "§"."""
    assert lesson_of("copy", causal=True).alphabet == tuple(ascii_lowercase)
    assert lesson_of("histogram", result="hist_bos").alphabet == tuple(ascii_lowercase)
    assert lesson_of("next_digit", causal=True, alphabet="0123456789+=").alphabet == tuple("0123456789")


def test_lengths_are_tested_in_order(lesson_of: Callable[..., Lesson]) -> None:
    """Also where the longest that is taught is no multiple of its quarter."""
    assert lesson_of("mode", causal=True, length=9).sizes == [2, 4, 6, 8, 9, *range(10, 27, 2), 27]


@pytest.mark.parametrize(
    ("file", "name", "generalizes", "reason"),
    [
        ("copy_unique", "copy_unique", True, "short"),
        ("next_sorted", "next_sorted", True, "short"),
        ("next_count", "next_count", True, "short"),
        ("mode", "mode", True, "short"),
        ("induction", "induction", True, "short"),
        ("copy", "copy", False, "indices - "),
        ("parity", "running_parity", False, "*"),
        ("next_digit", "next_digit", False, "indices - "),
    ],
)
def test_the_conjecture_expects_what_is_published(file: str, name: str, generalizes: bool, reason: str) -> None:
    """Count, mode, copy with unique tokens and sort generalize; other copies, parity and addition do not."""
    found = expectation(library(file, name), causal=True)
    assert found.generalizes is generalizes
    assert reason in found.reason
    assert not expectation(library(file, name), causal=False).generalizes


def test_a_count_may_be_compared_but_not_divided() -> None:
    assert expectation(COUNTS > 3, causal=True).generalizes
    assert expectation(COUNTS + 1, causal=True).generalizes
    assert "% 2" in expectation(COUNTS % 2, causal=True).reason
    assert "+ 2" in expectation(indices + 2, causal=True).reason
    assert expectation(indices - 1, causal=True).generalizes
    assert "1 - indices" in expectation(1 - indices, causal=True).reason
    assert "+" in expectation(COUNTS + indices, causal=True).reason
    long = COUNTS
    for number in range(30):
        long = long + 1 if number % 2 else long - 1
    assert "long" in expectation(long, causal=True).reason


@pytest.mark.parametrize("causal", [True, False])
def test_compiled_weights_get_full_marks(causal: bool) -> None:
    """The compiled model is right on all examples; a model with changed weights, or a wrong answer key, is not."""
    taught = lesson(causal=causal)
    compiled = compile_program(COUNTS, "ab", 8, causal=causal)
    encoder, tests = Encoder(compiled.vocabulary, causal=causal), taught.tests()
    assert list(tests) == [1, 2, 3, 4, 5, 6, 7, 8]
    every = [one for examples in tests.values() for one in examples]
    assert accuracy(compiled.model, encoder, every).inputs == 1
    wrong = [replace(one, values=[*one.values[:-1], 8]) for one in tests[4]]
    found = accuracy(compiled.model, encoder, wrong)
    assert (found.inputs, found.values) == (0, 0.75)
    batch = encoder.batch([*tests[2], *tests[8]])
    term = answer_loss(compiled.model, batch)
    assert (term.items, term.seen) == (64 * 10, 64 * 12)  # the beginning tokens have no target
    assert answer_loss(compiled.model, encoder.batch(wrong)).loss > 10 * term.loss


def test_batches_are_a_function_of_the_step_at_random_positions() -> None:
    taught = lesson()
    compiled = compile_program(COUNTS, "ab", 8, causal=True)
    encoder = Encoder(compiled.vocabulary, causal=True)
    one, other = (Batches(taught, encoder, 8, 9, shifted=True) for _ in range(2))
    late = other.batch(17)
    for step in (0, 17):
        batch = one.batch(step)
        lengths = (batch.documents == 0).sum(1)
        assert int(lengths.max()) <= 5
        assert int((batch.positions[:, 0] + lengths).max()) <= 9
    assert torch.equal(batch.ids, late.ids)
    assert torch.equal(batch.positions, late.positions)
    assert len({int(first) for step in range(4) for first in one.batch(step).positions[:, 0]}) > 4
    assert not torch.equal(one.batch(0).ids, one.batch(1).ids)
    fixed = Batches(taught, encoder, 8, 9, shifted=False).batch(3)
    assert fixed.positions[:, 0].tolist() == [0] * 8


def test_rows_of_integers_are_told_apart_even_if_their_sums_agree() -> None:
    rows = torch.randint(3, (500, 4), generator=torch.Generator().manual_seed(1))
    first, second = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(0)).tolist()
    for given in (rows, torch.tensor([[second, 0], [0, first], [second, 0]])):
        unique, where = torch.unique(given, dim=0, return_inverse=True)
        found = _unique(given)
        assert torch.equal(found[0], unique)
        assert torch.equal(found[1], where)


def test_a_taught_model_is_an_ordinary_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life = tmp_path / "life"
    flags = [f"--{key}={value}" for key, value in SMALL.items()] + [f"--life={life}", "--causal"]
    assert command(["rasp", "teach", "mode", *flags, "--steps=3"]) == 0
    folder = life / "models" / "mode-taught"
    model, tokenizer = load_model(folder)
    assert tokenizer.encode("ab")
    found = read_lineage(folder)
    assert (found["stage"], found["program"], found["metrics"]["steps"]) == ("taught", "mode", 3)
    assert found["run"]["name"] == "rasp-teach-mode-taught"
    assert "`mode` computes" in (folder / "README.md").read_text()
    assert names_in(folder) is None
    assert load(folder).compiled.heads == (2,)
    told = " ".join(capsys.readouterr().out.split())
    assert "The RASP-L conjecture expects accuracy to hold on longer inputs: it is a short program" in told
    assert told.count("longer than trained") == 6
    ElementTree.fromstring((life / "runs" / "rasp-teach-mode-taught" / "accuracy.svg").read_text())
    assert command(["rasp", "teach", "mode", *flags, "--steps=3"]) == 0
    assert "already been taught" in " ".join(capsys.readouterr().out.split())
    assert "of up to 3 tokens were" in told
    assert not is_program(folder)  # so that it is quantized as any model
    assert command(["rasp", "run", "mode-taught", "--input", "aab", "--life", str(life)]) == 0
    told = capsys.readouterr().out
    assert "The interpreter gives" in told
    assert "mistake of the compiler" not in told
    flags = ["aab", "--model", "mode-taught", "--life", str(life), "--raw", "--max-tokens", "1", "--device", "cpu"]
    assert command(["generate", *flags]) == 0
    assert model.config.context == 10


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**SMALL, "file": "histogram", "steps": 5, "save_seconds": 0.0, "seed": 3}
    whole = teach(Teach(**given, life=tmp_path / "a"))
    drawn = examples_module.Batches.batch

    def stops(self: Batches, step: int) -> examples_module.Answers:
        if step == 3:
            raise KeyboardInterrupt
        return drawn(self, step)

    monkeypatch.setattr(examples_module.Batches, "batch", stops)
    with pytest.raises(KeyboardInterrupt):
        teach(Teach(**given, life=tmp_path / "b", out=tmp_path / "there"))
    assert not (tmp_path / "there").exists()
    monkeypatch.undo()
    resumed = teach(Teach(**given, life=tmp_path / "b", out=tmp_path / "there"))
    assert resumed.model == tmp_path / "there"
    one, other = (load_weights(folder).state_dict() for folder in (whole.model, resumed.model))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.accuracy == resumed.accuracy
    assert list(whole.accuracy) == list(range(1, 10))
    assert not whole.expected.generalizes  # it sees both directions


def test_a_program_of_one_lookup_is_learned(tmp_path: Path) -> None:
    """The next letter in a table is learned, and the examples until then are counted."""
    result = '{"a": "b", "b": "a"}[tokens]'
    found = teach(Teach(**SMALL, file="mode", result=result, causal=True, steps=60, life=tmp_path, name="swap"))
    assert found.examples is not None
    assert 0 < found.examples <= 60 * 4
    assert found.examples % 4 == 0
    assert found.accuracy[3].inputs == 1
    assert found.before[3].inputs < 1


def test_compiled_weights_are_right_before_noise_and_wrong_after(tmp_path: Path) -> None:
    given = {"length": 2, "longest": 4, "rows": 4, "alphabet": "ab", "device": "cpu", "steps": 1, "life": tmp_path}
    exact = teach(Teach(**given, file="mode", causal=True, start="compiled", name="exact", rate=1e-9))
    assert all(one.inputs == 1 for one in exact.before.values())
    assert all(one.inputs == 1 for one in exact.accuracy.values())
    noisy = teach(Teach(**given, file="mode", causal=True, start="compiled", noise=1.0, name="noisy"))
    assert noisy.before[4].inputs < 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise": 0.1}, "add --start compiled"),
        ({"start": "compiled", "layers": 2}, "omit --layers"),
        ({"width": 10, "heads": 4}, "multiple of twice the heads"),
        ({"length": 9, "longest": 8}, "at least --length"),
        ({"inputs": "unique", "alphabet": "abc", "length": 4}, "with 3 tokens none has 12"),
        ({"inputs": "brackets", "alphabet": "abc"}, "has pairs"),
        ({"alphabet": ""}, "one or more tokens; give some"),
        ({"file": "copy", "causal": True, "alphabet": "|"}, 'one or more tokens besides "|"; give some'),
        ({"file": "next_digit", "causal": True, "alphabet": "01"}, "kind 'sum' have the digits 0 to 9"),
        ({"inputs": "addition", "tokens": ("0", "1")}, "kind 'addition' have the digits 0 to 9"),
        ({"inputs": "sorted", "tokens": ("1", "a"), "length": 1, "longest": 2}, 'the string "a" and the number 1'),
        ({"result": "select(indices, indices, <=)"}, "is a selector"),
        ({"result": "tokens_int + 1", "alphabet": "ab"}, "no value for an input of kind 'uniform'"),
        ({"result": "aggregate(full_s, tokens_int)", "tokens": tuple(map(str, range(500)))}, "at most 1,000 values"),
    ],
)
def test_bad_options_get_one_sentence(given: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        teach(Teach(**{"file": "mode", "life": tmp_path, "device": "cpu", **given}))  # type: ignore[arg-type]
