"""One process per output: the holder of a lock is reported, and a lock ends with its process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sayso.base import lock
from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.model.score import add_score
from sayso.token.whole import WholeTokenizer
from sayso.weights.folder import save_model

HOLD = """
import os, sys, time
from pathlib import Path
from sayso.base.lock import locked

with locked(Path(sys.argv[1])):
    if sys.argv[2] == "fork" and os.fork() == 0:
        os.close(1)
        time.sleep(60)
    print("held", flush=True)
    sys.stdin.read()
"""


class Holding:
    """Another process that holds a lock until it is stopped or killed."""

    def __init__(self, path: Path, how: str = "alone") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"held\n"

    def __enter__(self) -> "Holding":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"")

    def kill(self) -> None:
        """Kill it as the out-of-memory killer does."""
        self.process.kill()
        self.process.communicate()


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    """Process, host, command and time are reported; after a kill the lock is free although its file exists."""
    path = tmp_path / "models" / "tuned"
    with Holding(path) as other:
        told = rf"'{path}' is in use by '.*' \(process {other.process.pid} on {socket.gethostname()}, since 2"
        with pytest.raises(UserError, match=told), locked(path):
            pass
        other.kill()
        assert (tmp_path / "models" / ".tuned.lock").exists()
        with locked(path):
            pass
    assert not list(path.parent.iterdir())


def test_a_worker_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    """A forked process that keeps running does not block the next run."""
    with Holding(tmp_path / "tuned", "fork") as other:
        children = Path(f"/proc/{other.process.pid}/task/{other.process.pid}/children").read_text().split()
        with pytest.raises(UserError, match="in use"), locked(tmp_path / "tuned"):
            pass
        other.kill()
        try:
            with locked(tmp_path / "tuned"):
                pass
        finally:
            for child in children:
                os.kill(int(child), signal.SIGKILL)
    assert len(children) == 1


def test_a_second_thread_is_another_holder(tmp_path: Path) -> None:
    """A notebook that starts an act twice gets an error; acts one after the other, or with other names, do not."""
    refused: list[str] = []

    def again() -> None:
        try:
            with locked(tmp_path / "tuned"):
                pass
        except UserError as error:
            refused.append(str(error))

    with locked(tmp_path / "tuned"), locked(tmp_path / "base"):
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    again()
    assert len(refused) == 1
    assert f"process {os.getpid()}" in refused[0]


def test_only_one_of_many_gets_a_lock(tmp_path: Path) -> None:
    """Of threads that constantly take and release it, only one is ever inside, even though the file is removed."""
    inside: list[int] = []
    entered: list[int] = []

    def often(number: int) -> None:
        for _ in range(150):
            try:
                with locked(tmp_path / "tuned"):
                    inside.append(number)
                    assert inside == [number]
                    entered.append(number)
                    inside.remove(number)
            except UserError:
                pass

    threads = [threading.Thread(target=often, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside
    assert entered
    assert not list(tmp_path.iterdir())


def test_a_read_only_folder_needs_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be created there, so the command itself reports what it could not write."""

    def read_only(path: Path, *_: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(lock.os, "open", read_only)
    with locked(tmp_path / "tuned"):
        pass


def test_without_a_writable_folder_there_is_no_lock() -> None:
    """A system folder rejects new folders as if their parent were missing."""
    with locked(Path("/proc/life/models/tuned")):
        pass


def test_a_file_in_place_of_the_life_needs_no_lock(tmp_path: Path) -> None:
    """A path below a file cannot be locked, and its writer reports the error."""
    (tmp_path / "life").write_text("mine")
    with locked(tmp_path / "life" / "models" / "tuned"):
        pass
    assert (tmp_path / "life").read_text() == "mine"


def test_without_flock_the_file_itself_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead process loses it, one of another host does not, and the error names the file to remove."""

    def unsupported(handle: object, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    path, file = tmp_path / "tuned", tmp_path / ".tuned.held"
    with locked(path), pytest.raises(UserError, match=f"If that process no longer runs, remove '{file}'"), locked(path):
        pass
    assert not list(tmp_path.iterdir())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = {"pid": gone.pid, "host": socket.gethostname(), "command": "sayso align", "since": "long ago"}
    write_json(file, holder)
    with locked(path):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    write_json(file, holder | {"host": "elsewhere"})
    with pytest.raises(UserError, match="on elsewhere"), locked(path):
        pass


TOKENIZER = WholeTokenizer("character", ())
CONFIG = ModelConfig(TOKENIZER.vocab_size, 1, 16, 1, 1, 16, 16, context=48)
GOOD = {"prompt": "a?", "chosen": "b", "rejected": "c"}
TALK = {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}], "source": "toy"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with models, text, conversations and pairs, but without outputs of acts."""
    life = Life(tmp_path_factory.mktemp("lock") / "life")
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    for name in ("base", "tuned"):
        save_model(model, TOKENIZER, life.model(name), {"stage": name})
    save_model(add_score(model, torch.Generator()), TOKENIZER, life.model("scorer"), {"stage": "reward"})
    TOKENIZER.save(life.tokenizer)
    write_jsonl(life.data("text") / "train-00000.jsonl", [{"text": "Some text.", "source": "toy"}] * 4)
    write_json(life.data("text") / "manifest.json", {})
    write_jsonl(life.data("chat") / "train.jsonl", [TALK] * 4)
    write_jsonl(life.root / "pairs.jsonl", [GOOD] * 4)
    write_jsonl(life.root / "prompts.jsonl", [{"prompt": "a?", "answer": "b"}] * 4)
    return life.root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that life, which is the working folder."""
    shutil.copytree(whole, tmp_path / "life")
    here = Path.cwd()
    os.chdir(tmp_path)
    yield Path("life")
    os.chdir(here)


def everything(root: Path) -> dict[str, bytes]:
    """Return every file of a life with its content."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def improve(prompts: str = "life/prompts.jsonl", held: str = "life/prompts.jsonl") -> list[str]:
    """Return the arguments of an act that practises in rounds."""
    return ["improve", "--prompts", prompts, "--held-out", held]


def reinforce(prompts: str = "life/prompts.jsonl", reward: str = "sayso.world.puzzles:score") -> list[str]:
    """Return the arguments of an act that practises by gradients."""
    return ["reinforce", "--prompts", prompts, "--reward", reward]


LOCKED = {
    "prepare": (["prepare", "--sources", "life/pairs.jsonl"], "data/text"),
    "tokenizer": (["tokenizer", "train"], "tokenizer"),
    "pretrain": (["pretrain", "--steps", "1"], "models/base"),
    "tokens": (["pretrain", "--steps", "1"], "data/text"),
    "finetune": (["finetune"], "models/tuned"),
    "finetune by another name": (["finetune", "--name", "mine"], "models/mine"),
    "align": (["align", "--pairs", "life/pairs.jsonl"], "models/aligned"),
    "reinforce": (reinforce(), "models/aligned"),
    "improve": (improve(), "models/improved"),
    "selfplay": (["selfplay"], "models/player"),
    "reward": (["reward", "--pairs", "life/pairs.jsonl"], "models/reward"),
    "import": (["import", "life/models/base", "--name", "mine"], "models/mine"),
    "quantize": (["quantize", "base"], "models/base-8bit"),
    "merge": (["merge", "--adapter", "none", "--parent", "base", "--name", "mine"], "models/mine"),
    "gather": (["gather"], "data/feedback"),
    "verify": (["verify"], "runs/verify"),
}


@pytest.mark.parametrize("name", LOCKED)
def test_the_output_of_another_process_is_not_changed(
    name: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each act is refused in one sentence while another process makes its output, and changes nothing."""
    words, place = LOCKED[name]
    with locked(root / place):
        before = everything(root)
        assert run([*words, "--life", "life"]) == 2
        assert everything(root) == before
    told = capsys.readouterr().err
    assert f"'{Path('life') / place}' is in use by" in told.replace("\n", " ")
    assert str(os.getpid()) in told


def test_an_export_is_written_by_one_process(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two exports to one file do not overwrite each other."""
    with locked(Path("out.gguf")):
        assert run(["export", "base", "--to", "out.gguf", "--life", "life"]) == 2
    assert "'out.gguf' is in use by" in capsys.readouterr().err
    assert not Path("out.gguf").exists()


BROKEN = {
    "pretrain: bad rows": ["pretrain", "--steps", "1", "--rows", "0"],
    "pretrain: bad device": ["pretrain", "--steps", "1", "--precision", "fp16"],
    "pretrain: bad held-out text": ["pretrain", "--steps", "1"],
    "finetune: bad data": ["finetune", "--data", "bad.jsonl"],
    "finetune: no parent": ["finetune", "--parent", "none"],
    "finetune: bad LoRA": ["finetune", "--lora-rank", "-1"],
    "finetune: bad rows": ["finetune", "--rows", "-1"],
    "align: bad pairs": ["align", "--pairs", "bad.jsonl"],
    "align: no pairs": ["align", "--pairs", "none.jsonl"],
    "align: too long pairs": ["align", "--pairs", "long.jsonl"],
    "align: equal replies": ["align", "--pairs", "equal.jsonl"],
    "align: bad held-out": ["align", "--pairs", "life/pairs.jsonl", "--held-out", "99"],
    "align: no parent of words": ["align", "--pairs", "life/pairs.jsonl", "--parent", "scorer"],
    "align: bad loss": ["align", "--loss", "kto", "--margin", "1"],
    "reward: bad pairs": ["reward", "--pairs", "bad.jsonl"],
    "reward: no reference": ["reward", "--pairs", "life/pairs.jsonl", "--reference", "none"],
    "reward: bad rows": ["reward", "--pairs", "life/pairs.jsonl", "--rows", "-1"],
    "reinforce: bad prompts": reinforce("bad.jsonl"),
    "reinforce: too long prompts": reinforce("long.jsonl"),
    "reinforce: bad reward": reinforce(reward="none:none"),
    "reinforce: bad critic": [*reinforce(), "--method", "ppo", "--critic-from", "base"],
    "improve: bad prompts": improve("bad.jsonl"),
    "improve: too long prompts": improve(held="long.jsonl"),
    "improve: bad hint": [*improve(), "--hint", "{nothing}"],
    "improve: no parent of words": [*improve(), "--parent", "scorer"],
    "improve: bad rows": [*improve(), "--rows", "0"],
    "selfplay: no parent of words": ["selfplay", "--parent", "scorer"],
    "selfplay: bad LoRA": ["selfplay", "--lora-rank", "0"],
}
NAMES = {"pretrain": "base", "finetune": "tuned", "align": "aligned", "reward": "reward", "reinforce": "aligned"}
NAMES |= {"improve": "improved", "selfplay": "player"}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("restart", [False, True])
def test_a_command_that_fails_its_checks_leaves_a_finished_run_alone(case: str, restart: bool, root: Path) -> None:
    """Whatever is wrong with the input, the existing run keeps its place and all its files."""
    words = BROKEN[case]
    life, folder = Life(root), root / "runs" / f"{words[0]}-{NAMES[words[0]]}"
    write_json(folder / "plan.json", {"options": {"seed": 7}, "inputs": {}, "derived": {}})
    (folder / "run.jsonl").write_text('{"event": "end"}\n')
    (folder / "checkpoints").mkdir()
    if not life.model(NAMES[words[0]]).exists():
        shutil.copytree(life.model("tuned"), life.model(NAMES[words[0]]))
    Path("bad.jsonl").write_text(json.dumps(GOOD | TALK) + "\nnot JSON\n")
    write_jsonl(Path("long.jsonl"), [GOOD | {"prompt": "a" * 99}] * 2)
    write_jsonl(Path("equal.jsonl"), [GOOD | {"rejected": "b"}] * 2)
    if case == "pretrain: bad held-out text":
        (life.data("text") / "val-00000.jsonl").write_text("not JSON\n")
    before = everything(root / "runs") | everything(root / "models")
    assert run([*words, *(["--restart"] if restart else []), "--life", "life"]) == 2
    assert everything(root / "runs") | everything(root / "models") == before
