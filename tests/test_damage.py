"""Damaged files: whatever happened to a file of a life, its reader reports it in one sentence with exit code 2."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256, write_json
from sayso.base.intact import CACHE, check_digest, digest_of
from sayso.base.life import Life
from sayso.base.log import RunLog, read_log
from sayso.cli.main import run
from sayso.feedback.store import Store
from sayso.weights.folder import load_model

BUILDS: dict[str, Callable[[bytes], bytes]] = {
    "cut to nothing": lambda _: b"",
    "cut in half": lambda old: old[: len(old) // 2],
    "all zeros": lambda old: bytes(len(old)),
    "zeros in the middle": lambda old: old[: len(old) // 2] + bytes(16) + old[len(old) // 2 + 16 :],
    "random bytes": lambda old: bytes((7 * n + n // 3) % 256 for n in range(len(old))),
    **{f"a bit at {part}/8": lambda old, part=part: flipped(old, len(old) * part // 8) for part in range(1, 7)},  # type: ignore[misc]
}
MODEL = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
SPEAK = ["generate", "Hello", "--model", "tuned", "--max-tokens", "1"]
PRACTISE = [
    "--iterations",
    "2",
    "--groups",
    "2",
    "--replies",
    "2",
    "--max-tokens",
    "4",
    "--judged",
    "2",
    "--judge-every",
    "1",
]


def flipped(old: bytes, place: int) -> bytes:
    """Return bytes with one bit flipped."""
    return old[:place] + bytes([old[place] ^ 1]) + old[place + 1 :]


@pytest.fixture
def life(lived: Life, tmp_path: Path) -> Life:
    """A copy of a life that every act has written to."""
    shutil.copytree(lived.root, tmp_path / "life")
    return Life(tmp_path / "life")


@pytest.fixture
def damaged(life: Life, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Return a check that a command refuses a file damaged in each way."""

    def check(file: str, *words: str, ways: Callable[[str], bool] = lambda _: True) -> None:
        path = next(life.root.glob(file))
        old = path.read_bytes()
        for way, change in BUILDS.items():
            if ways(way) and change(old) != old:
                path.write_bytes(change(old))
                capsys.readouterr()
                code = run([*words, "--life", str(life.root)])
                told = capsys.readouterr().err.strip().splitlines()
                assert (code, len(told[-1:])) == (2, 1), f"'{file}', {way}: {words[0]} ended with {code}"
                assert path.name in told[-1] or path.parent.name in told[-1], f"'{file}', {way}: {told[-1]}"
                assert "Traceback" not in "\n".join(told)
        path.write_bytes(old)

    return check


@pytest.mark.parametrize("name", [*MODEL, "sayso.json"])
def test_damaged_files_of_a_model_are_refused(damaged: Callable[..., None], name: str) -> None:
    damaged(f"models/tuned/{name}", *SPEAK)


@pytest.mark.parametrize(
    "words",
    [
        ("export", "tuned", "--to", "x.gguf"),
        ("quantize", "tuned", "--method", "nearest", "--name", "q"),
        ("chat", "--model", "tuned"),
        ("serve", "--model", "tuned", "--port", "0"),
        ("evaluate", "--model", "tuned", "--n", "0"),
        ("finetune", "--parent", "tuned", "--name", "x"),
        ("align", "--parent", "tuned", "--name", "x"),
        ("reward", "--parent", "tuned", "--name", "x", "--pairs", "{root}/../pairs.jsonl"),
        ("reinforce", "--name", "x", "--prompts", "{root}/../prompts.jsonl", "--reward", "{root}/../pay.py:early"),
        ("merge", "--adapter", "nothing", "--parent", "tuned", "--name", "x"),
        (
            "improve",
            "--parent",
            "tuned",
            "--prompts",
            "{root}/../prompts.jsonl",
            "--held-out",
            "{root}/../prompts.jsonl",
        ),
        ("selfplay", "--parent", "tuned"),
    ],
    ids=lambda words: words[0],
)
def test_no_act_accepts_damaged_weights(
    damaged: Callable[..., None], lived: Life, life: Life, words: tuple[str, ...]
) -> None:
    given = [word.format(root=lived.root) for word in words]
    damaged("models/tuned/model.safetensors", *given, ways=lambda way: way in ("a bit at 6/8", "zeros in the middle"))
    assert not life.model("x").exists()
    assert not list((life.root / "runs").glob("*.1")), "a run that was finished was set aside"


def test_tokenized_and_prepared_data_is_checked(damaged: Callable[..., None]) -> None:
    again = ["pretrain", "--depth", "1", "--context", "128", "--steps", "1", "--name", "x"]
    damaged("data/text/tokens-*/00000.tokens", *again)
    damaged("tokenizer/tokenizer.json", *again)
    damaged("tokenizer/tokenizer_config.json", *again)
    damaged("data/text/val-00000.jsonl", "evaluate", "--model", "tuned", "--n", "0")
    damaged("data/text/train-00000.jsonl", "tokenizer", "compare")
    damaged("data/chat/train.jsonl", "finetune", "--name", "x")
    damaged("data/feedback/chat.jsonl", "finetune", "--name", "x")
    damaged("data/feedback/pairs.jsonl", "align", "--name", "x", "--tasks", "0")
    damaged("data/text/manifest.json", "report")
    damaged("data/feedback/manifest.json", "gather")


@pytest.mark.parametrize("name", ["pretrain-base", "finetune-tuned", "align-aligned"])
def test_the_report_and_the_status_refuse_damaged_logs(damaged: Callable[..., None], name: str) -> None:
    """A log that ends in the middle of a line is that of a killed run, not a damaged one."""
    damaged(f"runs/{name}/run.jsonl", "report", ways=lambda way: way != "cut in half")
    damaged(f"runs/{name}/run.jsonl", "train-status", name, ways=lambda way: way != "cut in half")


def test_a_run_without_its_log_is_not_repeated(damaged: Callable[..., None], life: Life) -> None:
    """Its model is finished, but would be trained again and replaced."""
    again = ["finetune", "--steps", "3", "--row-tokens", "64", "--rows", "2", "--processes", "1"]
    before = sha256(life.model("tuned") / "model.safetensors")
    damaged("runs/finetune-tuned/run.jsonl", *again, ways=lambda way: way in ("cut to nothing", "all zeros"))
    assert sha256(life.model("tuned") / "model.safetensors") == before
    assert run([*again, "--life", str(life.root)]) == 0, "what was put back is the finished run again"
    assert not life.run("finetune-tuned").with_name("finetune-tuned.1").exists()


def test_damaged_scores_are_refused(damaged: Callable[..., None]) -> None:
    damaged("runs/evaluate-tuned/scores.json", "report")
    damaged("runs/baselines/scores.json", "report")
    damaged("runs/tokenizer-compare/scores.json", "report")
    damaged("tokenizer/trained.json", "report")
    damaged("models/base/sayso.json", "report")


FEW = ("cut to nothing", "a bit at 3/8").__contains__


def test_an_aligning_run_does_not_resume_from_damaged_files(
    damaged: Callable[..., None], lived: Life, life: Life
) -> None:
    """Plan, comparisons, cached log-probabilities and best weights, if the model is not finished."""
    given = ["--pairs", f"{lived.root.parent}/pairs.jsonl", "--tasks", "0", "--reference", "cache", "--held-out", "4"]
    words, folder = ["align", *given, "--rows", "2", "--processes", "1", "--save-seconds", "0"], "runs/align-aligned"
    damaged(f"{folder}/plan.json", *words, ways=FEW)
    shutil.rmtree(life.model("aligned"))
    for file in ("pairs.jsonl", "held_out.jsonl", "reference.safetensors", "best/best.json", "best/model.safetensors"):
        damaged(f"{folder}/{file}", *words, ways=FEW)
    assert not life.model("aligned").exists()
    assert run([*words, "--life", str(life.root)]) == 0
    assert life.model("aligned").exists()


def test_a_reinforcing_run_does_not_resume_from_damaged_files(
    damaged: Callable[..., None], lived: Life, life: Life
) -> None:
    """Its rollouts, from a checkpoint before them; files of single acts are tested with their checkpoints."""
    root, folder = lived.root.parent, life.run("reinforce-practised")
    words = ["reinforce", "--prompts", f"{root}/prompts.jsonl", "--reward", f"{root}/pay.py:early", "--parent", "tuned"]
    words += ["--name", "practised", "--method", "ppo", *PRACTISE, "--processes", "1", "--save-seconds", "0"]
    shutil.rmtree(life.model("practised"))
    shutil.rmtree(folder / "checkpoints" / "step-000002")
    damaged("runs/reinforce-practised/rollouts/000001.jsonl", *words, ways=FEW)
    assert run([*words, "--life", str(life.root)]) == 0


def test_a_damaged_store_is_neither_read_nor_replaced(damaged: Callable[..., None], life: Life) -> None:
    """SQLite has no checksum of its rows, so only damage to its structure is detected."""
    kept = {path: path.read_bytes() for path in life.data("feedback").iterdir()}
    damaged("store.sqlite", "gather", ways=lambda way: not way.startswith("a bit") and way != "zeros in the middle")
    assert kept == {path: path.read_bytes() for path in life.data("feedback").iterdir()}


def test_no_change_of_a_store_is_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rated: Callable[[Life], None]
) -> None:
    """Changed bytes: refused in one sentence, or the gathered rows keep their number."""
    life = Life(tmp_path / "life")
    rated(life)
    assert run(["gather", "--life", str(life.root)]) == 0
    old, codes = life.store.read_bytes(), set()
    for place in range(0, len(old), len(old) // 60):
        life.store.write_bytes(old[:place] + bytes([old[place] ^ 0x5A]) + old[place + 1 :])
        for beside in ("-wal", "-shm"):
            Path(f"{life.store}{beside}").unlink(missing_ok=True)
        codes.add(code := run(["gather", "--life", str(life.root)]))
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == (1 if code == 2 else 0), told
        assert read_json(life.data("feedback") / "manifest.json")["conversations"] == 1
    assert codes == {0, 2}


def test_a_store_without_ratings_does_not_empty_the_gathered_data(
    tmp_path: Path, rated: Callable[[Life], None]
) -> None:
    """A store that was created again, and the database of another program."""
    life = Life(tmp_path / "life")
    rated(life)
    assert run(["gather", "--life", str(life.root)]) == 0
    before = (life.data("feedback") / "chat.jsonl").read_bytes()
    Store(tmp_path / "new.sqlite").close()
    for words in (["--store", str(tmp_path / "new.sqlite")], ["--store", str(tmp_path / "none.sqlite")]):
        assert run(["gather", "--life", str(life.root), *words]) == 2
    assert not (tmp_path / "none.sqlite").exists()
    assert (life.data("feedback") / "chat.jsonl").read_bytes() == before


def test_a_digest_is_computed_once_and_a_changed_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a settled file is cached; a changed file is read again, even with the same size and time."""
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights"
    path.write_bytes(b"a" * 100)
    right = sha256(path)
    assert digest_of(path) == right
    assert not (tmp_path / "cache" / CACHE).exists(), "a file this young may change within the resolution of its times"
    monkeypatch.setattr("sayso.base.intact.SETTLE_SECONDS", -1.0)
    assert digest_of(path) == right
    monkeypatch.setattr("sayso.base.intact.sha256", lambda _: "read again")
    assert digest_of(path) == right
    times = path.stat()
    path.write_bytes(b"b" * 100)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest_of(path) == "read again"
    monkeypatch.setattr("sayso.base.intact.sha256", sha256)
    for content in ("", "[]", '{"a": 1}', "[" * 100_000, f'{{"{path.resolve()}": [1]}}'):
        (tmp_path / "cache" / CACHE).write_text(content)
        check_digest(path, sha256(path), "")
    (tmp_path / "cache").chmod(0o500)
    assert digest_of(path) == sha256(path)
    (tmp_path / "cache").chmod(0o700)


def test_a_folder_that_was_changed_on_purpose_opens_without_its_lineage(lived: Life, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(lived.model("tuned"), folder)
    facts = read_json(folder / "generation_config.json")
    write_json(folder / "generation_config.json", facts | {"temperature": 0.5})
    with pytest.raises(UserError, match=r"generation_config.json' is damaged.*remove 'sayso.json'"):
        load_model(folder)
    (folder / "sayso.json").unlink()
    load_model(folder)


def test_every_change_of_a_log_is_detected(tmp_path: Path) -> None:
    """For each byte of two events: the reader raises `UserError`, or returns what was written."""
    path = tmp_path / "run.jsonl"
    log = RunLog(path)
    log.write("step", step=1, loss=0.5, text="\u2028 é")
    log.write("end", seconds=1e-5)
    old, events = path.read_bytes(), read_log(path)
    assert [event["event"] for event in events] == ["step", "end"]
    for place in range(len(old) - 1):  # without the last line's end the line counts as cut
        path.write_bytes(flipped(old, place))
        try:
            found = [{key: event[key] for key in before} for event, before in zip(read_log(path), events, strict=True)]
        except UserError:
            continue
        assert found == events
