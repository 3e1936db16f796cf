"""No file of the user is overwritten or removed: every command of the table, with its output paths taken."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import torch

import sayso
from sayso.base.errors import UserError
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import LONGEST_NAME, Life, name_from
from sayso.base.made import check_replaceable, made_folder
from sayso.cli.main import run
from sayso.feedback.store import Store
from sayso.law.compress import Compressor, compress
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, adapters, add_lora
from sayso.run.acts import COMMANDS
from sayso.token.load import tokenizer_fingerprint
from sayso.token.train import train
from sayso.weights.adapter import save_adapter
from sayso.weights.folder import load_model, save_model

TEXTS = [f"The {animal} went to the {place} and found {count} red apples." for count, animal, place in
         [(2, "fox", "hill"), (3, "cat", "mill"), (5, "hen", "barn"), (7, "owl", "wood")]] * 8  # fmt: skip
PREPARE = "prepare smallworld --world-conversations 20 --workers 1 --world-documents"
STEP = "--rows 2 --device cpu --processes 1"


@dataclass(frozen=True)
class Row:
    """How a command is run, and all paths that it writes to, below a folder with `life/`."""

    command: str
    flags: str
    outputs: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Part of the life for other commands that this command creates."""
    finishes: bool = True
    """Whether to run it to its end in a life with free paths, to check that `outputs` is complete."""


def training(act: str, name: str, flags: str, *, rounds: int = 0, finishes: bool = True) -> Row:
    """Return the row of a command that trains: its run and its model, and those of its rounds."""
    names = [name, *(f"{name}-{number}" for number in range(1, rounds + 1))]
    outputs = [place for one in names for place in (f"life/models/{one}", f"life/runs/{act}-{one}")]
    return Row(act, f"{flags} {STEP}", tuple(outputs), finishes=finishes)


ROWS = (
    # Its acts are the other rows; the first place that it writes to stands for the others.
    Row("demo", "--tiny --no-serve", ("life/data/text",), ("life",), finishes=False),
    Row(
        "prepare",
        "smallworld --world-documents 40 --world-conversations 20 --workers 1",
        ("life/data/text", "life/data/chat", "life/runs/prepare"),
        ("life/data",),
    ),
    Row("import", "there/other", ("life/models/other", "life/runs/import-other")),
    Row("tokenizer train", "--vocab-size 290", ("life/tokenizer", "life/runs/tokenizer-train"), ("life/tokenizer",)),
    Row("tokenizer compare", "--vocab-size 290", ("life/runs/tokenizer-compare",)),
    Row(
        "pretrain",
        f"--depth 1 --steps 1 --context 32 --name new {STEP}",
        ("life/models/new", "life/runs/pretrain-new", "life/data/text/tokens-MARK"),
    ),
    training("finetune", "tuned", "--steps 1 --row-tokens 64 --held-out 2"),
    training("reward", "reward", "--pairs there/pairs.jsonl --parent base --held-out 0 --samples 0"),
    training("align", "aligned", "--pairs there/pairs.jsonl --parent base"),
    training(
        "improve",
        "improved",
        "--prompts there/prompts.jsonl --held-out 1 --parent base --rounds 2 --max-tokens 4",
        rounds=2,
        finishes=False,  # this model never ends a reply, so that there is nothing to learn from
    ),
    training("selfplay", "player", "--parent base --rounds 1 --games 2 --panel-games 1 --epochs 0.1", rounds=1),
    Row("puzzles", "addition --count 3 --out there/new.jsonl", ("there/new.jsonl",)),
    Row("puzzles", "addition --count 3", ("life/data/puzzles/addition-train.jsonl",)),
    Row(
        "reinforce",
        "addition --sizes 1 --parent base --groups 2 --replies 2 --max-tokens 4 --iterations 1 --judged 2 --device cpu "
        "--processes 1 --name practised",
        ("life/models/practised", "life/runs/reinforce-practised"),
    ),
    Row(
        "merge",
        "--adapter there/adapter --parent base --name merged",
        ("life/models/merged", "life/runs/merge-merged"),
    ),
    Row(
        "quantize",
        "base --method nearest --n 0 --text there/texts.jsonl",
        ("life/models/base-8bit", "life/runs/quantize-base-8bit"),
    ),
    Row("export", "base --to there/new.gguf", ("there/new.gguf",)),
    Row("train-status", "", ()),
    Row("evaluate", "--model base --n 0 --text-bytes 500", ("life/runs/evaluate-base", "life/runs/baselines")),
    Row("compare", "base there/other", (), finishes=False),  # which takes two evaluations
    Row(
        "judge",
        "base there/other --prompts there/prompts.jsonl --endpoint http://127.0.0.1:1/v1 --judge big",
        ("life/runs/judge-base-other",),
        finishes=False,  # there is no judge
    ),
    Row("arena", "", ("life/runs/arena",), finishes=False),  # which takes people's choices
    Row("leaderboard", "--export eee --out there/eee", ("there/eee",), finishes=False),
    Row("chat", "--model base", ("there/talk.jsonl",)),
    Row("generate", "Hello --model base --max-tokens 2", ()),
    Row("serve", "--model base --port 0", ("life/store.sqlite",), ("life/store.sqlite",), finishes=False),
    Row(
        "page",
        "--base-url http://127.0.0.1:1/v1 --port 0",
        ("life/store.sqlite",),
        ("life/store.sqlite",),
        finishes=False,
    ),
    Row("promote", "base", (), finishes=False),  # which takes an evaluation
    Row("rollback", "", ("life/store.sqlite",), ("life/store.sqlite",), finishes=False),  # which takes a promotion
    Row("aliases", "", ("life/store.sqlite",), ("life/store.sqlite",)),
    Row("keys add", "anna", ("life/store.sqlite",), ("life/store.sqlite",)),
    Row("keys list", "", ("life/store.sqlite",), ("life/store.sqlite",)),
    Row("keys revoke", "anna", ("life/store.sqlite",), ("life/store.sqlite",), finishes=False),  # which takes a key
    Row("keys rotate", "anna", ("life/store.sqlite",), ("life/store.sqlite",), finishes=False),
    Row("flags scan", "", ("life/store.sqlite",)),
    Row("flags list", "", ()),
    Row("flags show", "1", (), finishes=False),  # which takes a flag
    Row("flags mark", "1 real", (), finishes=False),
    Row("gather", "", ("life/data/feedback", "life/store.sqlite"), ("life/data/feedback",)),
    Row("store export", "there/store.jsonl", ("there/store.jsonl",), finishes=False),  # which takes a store
    Row("store import", "there/pairs.jsonl", ("life/store.sqlite",), finishes=False),  # which takes an exported one
    Row("store prompts", "there/prompts.jsonl", ("life/store.sqlite",), ("life/store.sqlite",)),
    Row("forget", "--user nobody", ("life/store.sqlite",), finishes=False),  # which takes a store
    Row("cycle", "", (), finishes=False),  # which takes an alias; a number that is taken is skipped
    Row("verify", "--no-resume --no-export --model base", ("life/runs/verify",)),
    Row("report", "", ("life/report.html", "life/report.json"), ("life/data/text",)),
    Row("xray", "base Hello --out there/x.html", ("there/x.html",)),
    Row(
        "law fit", "there/runs.csv --out there/law.svg", ("life/runs/law", "there/law.svg"), finishes=False
    ),  # which takes runs
    Row("law sweep", "--minutes 9 --device cpu", ("life/runs/law-sweep",), finishes=False),  # which takes minutes
    Row("law attention", "base Hello --out there/head.svg --python there/head.py", ("there/head.svg", "there/head.py")),
    Row("law perplexity", "there/notes.txt --out there/bits.svg", ("there/bits.svg",), finishes=False),  # no text
    Row("plan", "--flops 1e15", ()),
    Row("rasp", "reverse --input hello", ()),
    Row("law gemm", "base --out there/new.svg", ("there/new.svg", "life/runs/law"), finishes=False),
    Row("compress", "there/pairs.jsonl --to there/new.sayso", ("there/new.sayso",)),
    Row("decompress", "there/notes.sayso --to there/notes.txt", ("there/notes.txt",)),
    Row("rasp compile", "reverse --alphabet ab --length 4 --name reverse", ("life/models/reverse",)),
    Row(
        "rasp teach",
        f"mode --causal --alphabet ab --length 2 --layers 1 --width 8 --heads 1 --steps 1 --name mode {STEP}",
        ("life/models/mode", "life/runs/rasp-teach-mode"),
    ),
    Row("rasp run", "reverse --input ab", (), finishes=False),  # which takes a compiled program
)
FOREIGN = (
    *("notes.txt", "config.json", "model.safetensors", "sayso.json", "manifest.json", "tokenizer.json", "train.jsonl"),
    *("run.jsonl", "plan.json", "config.toml", "scores.json", "pairs.jsonl", "answers.jsonl", "round-1.jsonl"),
    *("checkpoints/step-000001/state.json", "best/best.json", "rollouts/000000.jsonl", "adapter/adapter_config.json"),
)
CONTENT = '{"years": "of work"}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a life in which any command can run, next to files of the user."""
    place = tmp_path_factory.mktemp("made")
    life, there = Life(place / "life"), place / "there"
    texts = [{"text": text, "source": "test"} for text in TEXTS]
    write_jsonl(life.data("text") / "train-00000.jsonl", texts)
    write_jsonl(life.data("text") / "val-00000.jsonl", texts[:4])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    turns = [[{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": text}] for n, text in
             enumerate(TEXTS)]  # fmt: skip
    write_jsonl(life.data("chat") / "train.jsonl", ({"messages": both, "source": "test"} for both in turns))
    tokenizer = train("bpe", TEXTS, 300)
    with made_folder(life.tokenizer) as part:
        tokenizer.save(part)
    config = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 2, 16, 48, context=128)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    save_model(model, tokenizer, life.model("base"), {"stage": "base"})
    Store(life.store).close()
    shutil.copytree(life.model("base"), there / "other")
    add_lora(model, lora := LoRA(2, 4.0, ("query",)), torch.Generator().manual_seed(0))
    save_adapter(adapters(model), config, lora, "base", there / "adapter")
    pairs = [{"prompt": [one], "chosen": said["content"], "rejected": "No."} for one, said in turns]
    write_jsonl(there / "pairs.jsonl", pairs)
    write_jsonl(there / "prompts.jsonl", ({"prompt": [one], "answer": "5"} for one, _ in turns[:2]))
    write_jsonl(there / "texts.jsonl", texts)
    compress(there / "texts.jsonl", there / "notes.sayso", Compressor(life.model("base")))
    write_jsonl(life.run("pretrain-old") / "run.jsonl", [{"event": "step", "step": 1, "steps": 1, "loss": 1.0,
                "lr": 1.0, "gradient_norm": 1.0, "tokens": 1, "seconds": 1.0, "tokens_per_second": 1}])  # fmt: skip
    write_json(life.run("pretrain-old") / "plan.json", {"options": {}, "inputs": {}, "derived": {}})
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which commands run."""
    folder = Path(shutil.copytree(made, tmp_path / "place"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", StringIO("/save there/talk.jsonl\n/quit\n"))

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a server started on the store of the user")

    monkeypatch.setattr("asyncio.run", never)
    return folder


def call(words: str) -> int:
    """Run a command line."""
    return run(words.split())


def files(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder with their content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def clear(place: Path, names: tuple[str, ...]) -> None:
    """Remove the outputs of a command."""
    for name in names:
        if (place / name).is_dir():
            shutil.rmtree(place / name)
        else:
            (place / name).unlink(missing_ok=True)


def concrete(place: Path, output: str) -> str:
    """Return an output with the fingerprint of the life's tokenizer in it."""
    return (
        output.replace("MARK", tokenizer_fingerprint(place / "life" / "tokenizer")[:12]) if "MARK" in output else output
    )


def taken(path: Path) -> None:
    """Put files of the user, or one, at a path."""
    if path.suffix == ".sqlite":
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE customers (name TEXT)")
            file.commit()
        return
    names = (path,) if path.suffix else tuple(path / name for name in FOREIGN)
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(CONTENT)


def cases() -> Iterator[pytest.param]:
    """Return each output of each command."""
    for row in ROWS:
        yield from (pytest.param(row, output, id=f"{row.command} {output}") for output in row.outputs)


def test_every_command_has_a_row() -> None:
    """A new command must declare where it writes."""
    assert {row.command for row in ROWS} == {command.name for command in COMMANDS}


@pytest.mark.parametrize("row", [row for row in ROWS if row.finishes], ids=lambda row: f"{row.command} {row.flags}")
def test_a_command_writes_only_to_the_paths_of_its_row(row: Row, place: Path) -> None:
    """Run to its end, it creates all of them and changes nothing else except markers."""
    clear(place, row.without)
    outputs = [concrete(place, output) for output in row.outputs]
    before = files(place)
    assert run([*row.command.split(), *row.flags.split()]) == 0
    after = files(place)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    beside = {name for name in changed if not any(name.startswith(output) for output in outputs)}
    assert beside <= {"life/.sayso"}
    missing = [output for output in outputs if not any(name.startswith(output) for name in changed)]
    assert set(missing) <= {"life/store.sqlite"}, "it was there"


@pytest.mark.parametrize(("row", "output"), list(cases()))
def test_files_of_the_user_are_not_changed(row: Row, output: str, place: Path, capsys) -> None:
    """If one of its paths is taken, a command reports it in one sentence and changes no byte, even with --replace."""
    clear(place, row.without)
    path = place / concrete(place, output)
    taken(path)
    before = files(place)
    force = [["--replace"]] if output.startswith("life/models") else []
    for more in ([], *force):
        code = run([*row.command.split(), *row.flags.split(), *more])
        told = capsys.readouterr()
        assert code == (0 if row.command == "chat" else 2)
        assert "Traceback" not in told.err
        assert path.name in told.err.replace("\n", " ")
        after = files(place)
        assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.outputs[:1] == ("there/new.gguf",) or
                                 row.command == "puzzles"], ids=lambda row: row.flags)  # fmt: skip
def test_a_named_file_is_overwritten_only_with_the_flag(row: Row, place: Path) -> None:
    """One flag for all commands; files of a life are protected even then."""
    path = place / row.outputs[0]
    taken(path)
    words = [*row.command.split(), *row.flags.split(), "--replace"]
    assert run(words) == 0
    assert path.read_bytes() != CONTENT.encode()
    option = "--to" if row.command == "export" else "--out"
    weights = place / "life/models/base/model.safetensors"
    before = weights.read_bytes()
    words = [*words[:2], option, str(weights), "--replace"]
    assert run(words) == 2
    assert weights.read_bytes() == before


NAMES = (
    "",
    ".",
    "..",
    "a/b",
    "../data",
    "/tmp",
    "a\\b",
    "-x",
    ".hidden",
    "a b",
    "a\n",
    "é",
    "x" * (LONGEST_NAME + 1),
    "~",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_one_path_component(name: str, place: Path, capsys, monkeypatch) -> None:
    """Anything else is refused before anything is written, from a flag, the environment or a file."""
    before = files(place)
    flags = ["finetune", "--steps", "1", "--rows", "1"]
    assert run([*flags, f"--name={name}"]) == 2
    assert "A name must consist of" in capsys.readouterr().err
    write_json(place / "config.toml", name)
    (place / "config.toml").write_text(f"name = {(place / 'config.toml').read_text()}")
    assert run([*flags, "--config", "config.toml"]) == 2
    assert "A name must consist of" in capsys.readouterr().err
    (place / "config.toml").unlink()
    monkeypatch.setenv("SAYSO_FINETUNE_NAME", name)
    assert run(flags) == 2
    assert files(place) == before


@pytest.mark.parametrize("command", ["pretrain", "finetune", "reward", "align", "improve", "selfplay", "reinforce",
                                     "import", "merge", "quantize"])  # fmt: skip
@pytest.mark.parametrize("name", ["", ".", "../data", "/tmp/x"])
def test_every_command_checks_its_name(command: str, name: str, place: Path, capsys) -> None:
    """Every command with a name checks it."""
    row = next(row for row in ROWS if row.command == command)
    flags = [word for word in row.flags.split() if word not in ("--name", "new", "merged", "practised")]
    before = files(place)
    assert run([command, *flags, f"--name={name}"]) == 2
    assert "A name must consist of" in capsys.readouterr().err
    assert files(place) == before


def test_a_name_can_be_made_of_any_text() -> None:
    """The name of a file or folder becomes a valid name."""
    life = Life(Path("life"))
    for text in (*NAMES, "My model (v2)", "日本語", "a..b"):
        life.model(name_from(text))
    assert name_from("My model (v2)") == "My-model-v2"
    assert name_from("smollm2-135m_instruct.Q8") == "smollm2-135m_instruct.Q8"


def test_a_parent_is_not_replaced_by_its_child(place: Path, capsys) -> None:
    """A model cannot replace the one that it is made from, under any spelling, round or flag."""
    (place / "life/models/link").symlink_to("base")
    before = files(place)
    for words in (
        "finetune --parent base --name base",
        "finetune --parent life/models/../models/base --name base --replace",
        "finetune --parent link --name base --restart --replace",
        "merge --adapter there/adapter --parent base --name base --replace",
        "import life/models/base --name base --replace",
        "align --parent base --name x --pairs life/runs/align-x/pairs.jsonl",
        "finetune --parent base --name x --data life/models/x/chat.jsonl",
    ):
        if "chat.jsonl" in words:
            shutil.copytree(place / "life/data/chat", place / "life/models/x")
            (place / "life/models/x/train.jsonl").rename(place / "life/models/x/chat.jsonl")
            before = files(place)
        assert run(words.split()) == 2, words
        assert "cannot replace" in capsys.readouterr().err
        assert files(place) == before
    shutil.copytree(place / "life/models/base", place / "life/models/improved-1")
    words = "improve --parent improved-1 --prompts there/prompts.jsonl --held-out 1 --replace"
    assert run(words.split()) == 2
    assert "cannot replace" in capsys.readouterr().err


def test_a_corpus_is_not_replaced_by_its_prepared_text(place: Path, capsys, monkeypatch) -> None:
    """Sources and evaluation texts inside the output folder, or links to it, are refused."""
    project = place / "project"
    for number in range(3):
        taken_file = project / "data" / "text" / f"{number}.txt"
        taken_file.parent.mkdir(parents=True, exist_ok=True)
        taken_file.write_text("\n\n".join(TEXTS))
    (project / "linked").symlink_to(project / "data" / "text")
    monkeypatch.chdir(project)
    before = files(project)
    for words in (
        ["data/text"],
        ["data/text/1.txt"],
        ["linked"],
        [str(project / "data" / "text")],
        ["smallworld", "--eval-texts", "data/text"],
        ["smallworld"],
    ):
        assert run(["prepare", *words, "--life", ".", "--world-documents", "20", "--workers", "1"]) == 2
        assert "data/text" in capsys.readouterr().err
        assert files(project) == before


def test_files_that_the_user_adds_to_our_folders_are_noticed(place: Path, capsys) -> None:
    """A file added to a tokenizer, prepared text or a model protects the folder; without it, the folder is replaced."""
    clear(place, ("life/data",))
    assert call(f"{PREPARE} 30") == 0
    for folder, words in (
        ("life/tokenizer", "tokenizer train --vocab-size 280"),
        ("life/data/chat", f"{PREPARE} 40"),
        ("life/data/text", f"{PREPARE} 40"),
    ):
        added = place / folder / "mine" / "notes.txt"
        added.parent.mkdir()
        added.write_text("mine")
        before = files(place)
        assert call(words) == 2
        assert "notes.txt" in capsys.readouterr().err
        assert files(place) == before
        added.unlink()
    assert call(f"{PREPARE} 40") == 0
    assert call("tokenizer train --vocab-size 280") == 0


def test_a_folder_that_is_filled_while_another_is_made_is_not_replaced(tmp_path: Path) -> None:
    """It is checked again before it is replaced."""
    with pytest.raises(UserError, match="mine"), made_folder(tmp_path / "x") as part:  # noqa: PT012
        (part / "a").write_text("a")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "mine").write_text("mine")
    assert files(tmp_path) == {"x/mine": b"mine"}


def test_links_and_files_are_not_our_folders(tmp_path: Path) -> None:
    """Neither is replaced; an empty folder is, and a folder made inside one of ours belongs to it."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UserError, match="in the way; move it"):
            check_replaceable(tmp_path / name)
    (tmp_path / "model").mkdir()
    for number in range(2):
        with made_folder(tmp_path / "model") as part:
            (part / "weights").write_text(str(number))
        with made_folder(tmp_path / "model" / "adapter") as part:
            (part / "weights").write_text("a")
    (tmp_path / "model" / "adapter" / "mine").write_text("mine")
    with pytest.raises(UserError, match="mine"):
        check_replaceable(tmp_path / "model")


def test_only_the_run_that_made_a_model_replaces_it(place: Path, capsys) -> None:
    """Align and reinforce with one name: the second command says how to proceed; the first may run again."""
    align = f"align --pairs there/pairs.jsonl --parent base --held-out 0 {STEP}"
    reinforce = "reinforce addition --sizes 1 --parent base --groups 2 --replies 2 --max-tokens 4 --iterations 1"
    weights = place / "life/models/aligned/model.safetensors"
    assert call(align) == 0
    first = weights.read_bytes()
    assert read_json(weights.with_name("sayso.json"))["run"]["name"] == "align-aligned"
    capsys.readouterr()
    assert call(reinforce) == 2
    told = capsys.readouterr().err
    assert all(part in told for part in ("'align-aligned'", "'reinforce-aligned'", "--name", "--replace"))
    assert weights.read_bytes() == first
    assert call(f"{reinforce} --replace") == 0
    second = weights.read_bytes()
    assert second != first
    capsys.readouterr()
    assert call(align) == 2
    assert "already" not in capsys.readouterr().out
    assert weights.read_bytes() == second
    assert call(f"{align} --replace") == 0
    assert weights.read_bytes() == first
    assert call(align) == 0
    assert "already been trained" in capsys.readouterr().out
    assert call(f"{align} --seed 1") == 0, "the same run with other options"
    assert "align-aligned.1" in capsys.readouterr().out


def test_imports_and_rounds_do_not_replace_each_other(place: Path, capsys) -> None:
    """Imported, merged, quantized and round models each keep their path; a round's model has a reserved name."""
    shutil.copytree(place / "life/models/base", place / "life/models/player-1")
    words = "selfplay --parent base --rounds 1 --games 2 --panel-games 1 --epochs 0.1 --rows 2 --device cpu"
    assert call(words) == 2
    assert "'player-1'" in capsys.readouterr().err
    assert call(f"{words} --replace") == 0
    assert call(f"{words} --name player-1") == 2, "the round of another run made it"
    assert run(["import", "there/other", "--name", "player"]) == 2
    assert run(["merge", "--adapter", "there/adapter", "--parent", "base", "--name", "player"]) == 2
    assert "'selfplay-player'" in capsys.readouterr().err
    assert run(["merge", "--adapter", "there/adapter", "--parent", "base", "--name", "player", "--replace"]) == 0
    assert read_json(place / "life/models/player/sayso.json")["stage"] == "merged"
    load_model(place / "life/models/player")


def test_the_path_of_each_ensemble_member_is_checked_first(place: Path, capsys) -> None:
    """No member is trained if another's name is taken."""
    shutil.copytree(place / "life/models/base", place / "life/models/reward-2")
    words = f"reward --pairs there/pairs.jsonl --parent base --held-out 0 --samples 0 --members 2 {STEP}"
    assert call(words) == 2
    assert "'reward-2'" in capsys.readouterr().err
    assert not (place / "life/models/reward").exists()


def test_folders_are_written_with_a_marker() -> None:
    """Only folders inside a run are replaced without a marker."""
    source = Path(sayso.__file__).parent
    paths = [path for path in source.rglob("*.py") if "atomic_folder(" in path.read_text()]
    using = {path.relative_to(source).as_posix() for path in paths}
    assert using == {"base/files.py", "base/made.py", "train/checkpoint.py", "train/best.py"}


def test_a_model_may_be_anywhere(place: Path) -> None:
    """A path that is not a name is read as before, and outputs about it get a valid name."""
    (place / "there/other").rename(place / "there/My model (v2)")
    folder = "there/My model (v2)"
    assert run(["generate", "Hello", "--model", folder, "--max-tokens", "2"]) == 0
    assert run(["evaluate", "--model", folder, "--n", "0", "--text-bytes", "500"]) == 0
    assert (place / "life/runs/evaluate-My-model-v2/scores.json").is_file()
    shutil.copytree(place / "life/models/base", place / "there/base")
    assert call("evaluate --model base --n 0 --text-bytes 500") == 0
    scores = place / "life/runs/evaluate-base/scores.json"
    before = scores.read_bytes()
    assert call("evaluate --model there/base --n 0 --text-bytes 400") == 0
    assert scores.read_bytes() == before, "the life's model of that name keeps its scores"
    assert run(["import", folder]) == 0
    assert (place / "life/models/My-model-v2/config.json").is_file()


def test_a_file_among_the_parent_folders_is_reported(place: Path, capsys) -> None:
    """A file in place of a folder is one sentence."""
    (place / "file").write_text(CONTENT)
    assert call("puzzles addition --count 3 --out file/new.jsonl") == 2
    assert "'file' is a file" in capsys.readouterr().err
    for name, words in (("models", f"finetune --steps 1 {STEP} --parent there/other"), ("runs", "verify --no-resume")):
        shutil.move(place / "life" / name, place / f"away-{name}")
        (place / "life" / name).write_text(CONTENT)
        assert call(words) == 2
        assert f"'life/{name}' is a file" in capsys.readouterr().err
        assert (place / "life" / name).read_text() == CONTENT


def test_a_model_is_not_exported_into_its_own_folder(place: Path, capsys, monkeypatch) -> None:
    """Even with the default file name."""
    monkeypatch.chdir(place / "life/models/base")
    assert call("export . --life ../..") == 2
    assert "model's own folder" in capsys.readouterr().err
    assert not list((place / "life/models/base").glob("*.gguf"))


def test_other_hidden_folders_next_to_prepared_text_are_kept(place: Path) -> None:
    """A hidden folder named like one of prepare's is not mistaken for a leftover."""
    clear(place, ("life/data",))
    mine = place / "life" / "data" / ".prepare-mine" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert call(f"{PREPARE} 30") == 0
    assert mine.read_text() == "mine"
