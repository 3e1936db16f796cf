"""Bad input: the real command exits with code 2 and one sentence that says what to do.

Every case runs in this process on a small hand-made life: documents, a tokenizer, random weights.
"""

import shutil
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from sayso.base.files import write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.made import made_folder
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import save_model

TEXTS = [f"The {animal} went to the {place} and found {count} red apples." for count, animal, place in
         [(2, "fox", "hill"), (3, "cat", "mill"), (5, "hen", "barn"), (7, "owl", "wood")]] * 8  # fmt: skip
PRETRAIN = ["pretrain", "--steps", "2", "--rows", "1", "--context", "32"]


@pytest.fixture(scope="session")
def whole_life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small life: text, a tokenizer, a base model."""
    life = Life(tmp_path_factory.mktemp("errors") / "life")
    rows = [{"text": text, "source": "test"} for text in TEXTS]
    write_jsonl(life.data("text") / "train-00000.jsonl", rows)
    write_jsonl(life.data("text") / "val-00000.jsonl", rows[:4])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    tokenizer = train("bpe", TEXTS, 300)
    with made_folder(life.tokenizer) as part:
        tokenizer.save(part)
    config = ModelConfig(tokenizer.vocab_size, 1, 64, 2, 1, 32, 128, context=64)
    save_model(Transformer(config).initialize(torch.Generator().manual_seed(0)), tokenizer, life.model("base"), {})
    return life.root


@pytest.fixture
def life(whole_life: Path, tmp_path: Path) -> Path:
    """A copy of the small life, to be damaged."""
    return Path(shutil.copytree(whole_life, tmp_path / "life"))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; return its one sentence."""
    assert run(words) == 2
    sentence = capsys.readouterr().err.strip()
    assert sentence.startswith("sayso: ")
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.txt", None, "missing.txt"),
        ("empty.txt", b"", "empty"),
        ("blank.txt", b" \n\n", ""),
        ("binary.txt", bytes(range(256)) * 20, "binary.txt"),
        ("broken.jsonl", b'{"text": "one"}\n{"text": \n', "broken.jsonl"),
    ],
)
def test_text_that_is_not_text(name: str, content: bytes | None, told: str, tmp_path: Path, capsys) -> None:
    """A missing, empty, binary or broken file is named, and no incomplete life is left."""
    source = tmp_path / name
    if content is not None:
        source.write_bytes(content)
    sentence = refused(["prepare", str(source), "--life", str(tmp_path / "life")], capsys)
    assert told in sentence
    assert not (tmp_path / "life" / "data" / "text" / "manifest.json").exists()


def test_unknown_source_suggests_the_nearest(tmp_path: Path, capsys) -> None:
    """A source that is neither a path nor a known name is compared with the known names."""
    assert "'smallworld'" in refused(["prepare", "smalworld", "--life", str(tmp_path / "life")], capsys)


def test_unknown_flag_suggests_the_nearest(capsys) -> None:
    """A flag that does not exist is compared with the existing ones."""
    assert "--depth" in refused(["pretrain", "--dept", "3"], capsys)


def test_unknown_command_suggests_the_nearest(capsys) -> None:
    """A command that does not exist is compared with the existing ones."""
    assert "Did you mean 'pretrain'?" in refused(["pretran"], capsys)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*PRETRAIN, "--depth", "0"], "--depth"),
        (["pretrain", "--depth", "many"], "--depth"),
        (["pretrain", "--name", "new", "--minutes", "0"], "--minutes"),
        (["pretrain", "--depth", "1", "--rows", "1", "--context", "32", "--minutes", "0.001", "--steps", "0"], "steps"),
        (["pretrain", "--depth", "1", "--steps", "1", "--context", "32", "--rows", "0"], "rows"),
        (
            ["pretrain", "--name", "new", "--depth", "1", "--context", "16777216", "--rows", "1048576"],
            "not enough memory to train this",
        ),
        (["pretrain", "--name", "new", "--depth", "1024", "--mlp-width", "1048576"], "smaller model"),
        (
            ["pretrain", "--name", "new", "--depth", "1", "--context", "256", "--rows", "1048576"],
            "not enough memory for",
        ),
        (["pretrain", "--device", "cud"], "'cuda'"),
        (["generate", "Hello", "--temperature", "-1"], "temperature"),
        (["generate", "Hello", "--top-p", "2"], "--top-p"),
        (["tokenizer", "train", "--kind", "bpee"], "bpe"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_value_that_cannot_work(words: list[str], told: str, life: Path, capsys) -> None:
    """The error for a value outside its range names its flag or its choices."""
    assert told in refused([*words, "--life", str(life)], capsys)


@pytest.mark.parametrize(
    "words", [["pretrain"], ["finetune"], ["generate", "Hello"], ["chat"], ["evaluate"], ["gather"]]
)
def test_life_without_what_the_act_needs(words: list[str], tmp_path: Path, capsys) -> None:
    """An act in an empty life names the command that must run first."""
    assert "sayso " in refused([*words, "--life", str(tmp_path / "none")], capsys).removeprefix("sayso: ")


def test_corrupt_shard(life: Path, capsys) -> None:
    """A flipped byte in the tokens is detected before a training step uses them."""
    assert run([*PRETRAIN, "--name", "new", "--depth", "1", "--life", str(life)]) == 0
    capsys.readouterr()
    shard = next((life / "data" / "text").glob("tokens-*/*.tokens"))
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    assert shard.name in refused([*PRETRAIN, "--name", "other", "--life", str(life)], capsys)


def test_truncated_weights(life: Path, capsys) -> None:
    """A truncated safetensors file is refused by name."""
    weights = life / "models" / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors" in refused(["generate", "Hello", "--model", "base", "--life", str(life)], capsys)


def test_tokenizer_of_another_model(life: Path, capsys) -> None:
    """A tokenizer that the model was not trained with would silently change words, so it is refused."""
    train("bpe", ["other words make other merges " * 9], 290).save(life / "models" / "base")
    assert "tokenizer" in refused(["generate", "Hello", "--model", "base", "--life", str(life)], capsys)


def test_prompt_longer_than_the_context(life: Path, capsys) -> None:
    """A prompt that leaves no room for a reply is refused with both numbers, not silently cut."""
    sentence = refused(["generate", "word " * 500, "--model", "base", "--life", str(life)], capsys)
    assert "64" in sentence


def test_unknown_model_suggests_the_nearest(life: Path, capsys) -> None:
    """A model that the life does not have is compared with the existing ones."""
    assert "'base'" in refused(["generate", "Hello", "--model", "bsae", "--life", str(life)], capsys)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "no file"), ("depth = ", "not valid TOML"), ("dept = 3\n", "dept"), ('depth = "many"\n', "depth")],
)
def test_config_file_that_cannot_work(content: str | None, told: str, tmp_path: Path, capsys) -> None:
    """The error names what is wrong: the file is missing, malformed, or sets an unknown option."""
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_text(content)
    assert told in refused(["pretrain", "--config", str(file)], capsys)


@pytest.mark.parametrize("size", [1_000, 30_000], ids=["at the config", "at the weights"])
def test_full_disk(size: int, life: Path, capsys, small_disk: Callable[[int], AbstractContextManager[None]]) -> None:
    """A full disk is reported in one sentence, and no broken model replaces a good one."""
    with small_disk(size):
        assert "disk is full" in refused([*PRETRAIN, "--name", "new", "--depth", "1", "--life", str(life)], capsys)
    assert run(["generate", "Hello", "--model", "base", "--max-tokens", "1", "--life", str(life)]) == 0


def test_full_disk_while_a_tokenizer_is_written(
    life: Path, capsys, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The old tokenizer is unchanged if the new one does not fit."""
    before = (life / "tokenizer" / "tokenizer.json").read_bytes()
    with small_disk(2_000):
        words = ["tokenizer", "train", "--vocab-size", "280", "--life", str(life)]
        assert "disk is full" in refused(words, capsys)
    assert (life / "tokenizer" / "tokenizer.json").read_bytes() == before


def test_port_in_use(life: Path, capsys) -> None:
    """The error for a port in use names its number."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert port in refused(["serve", "--port", port, "--life", str(life)], capsys)
