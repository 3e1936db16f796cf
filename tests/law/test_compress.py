"""Compression: any bytes come back, at the size that the cross-entropy promises, or a sentence says why not."""

import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.bits import bits_per_byte
from sayso.law.compress import Compressor, compress, decompress
from sayso.law.compress import archive as archive_module
from sayso.law.compress.archive import _blocks_of, _cut
from sayso.law.compress.block import BlockCoder, part_lengths, split
from sayso.law.compress.container import BLOCK, MAGIC, Block, Method, read_blocks, read_header, write_block
from sayso.law.compress.mix import Mix, ModelAlone, softmax
from sayso.law.compress.streams import Streams
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

WORDS = (
    "the cat",
    "dog",
    "fox",
    "owl sat",
    "ran hid",
    "on by",
    "mat",
    "hill",
    "barn",
    "then saw",
    "two red apples",
    "and",
)
rng = random.Random(0)
TEXT = " ".join(rng.choice(WORDS) for _ in range(160)) + "."
CONTEXT = 32


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with a small model whose weights are all random, and whose context is shorter than the text."""
    found = Life(tmp_path_factory.mktemp("compress"))
    tokenizer = train("bpe", [TEXT], 300)
    for name, seed in (("base", 0), ("other", 1)):
        model = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 2, 16, 48, context=CONTEXT))
        generator = torch.Generator().manual_seed(seed)
        model.initialize(generator)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        save_model(model, tokenizer, found.model(name), {"stage": name})
    return found


@pytest.fixture(scope="module")
def opened(life: Life) -> tuple[Transformer, Tokenizer]:
    return load_model(life.model("base"))


@pytest.fixture(scope="module")
def compressor(life: Life) -> Compressor:
    return Compressor(life.model("base"), streams=3)


@pytest.fixture
def packed(compressor: Compressor, tmp_path: Path) -> Path:
    """A file that the model compressed."""
    (tmp_path / "text").write_text(TEXT)
    found = compress(tmp_path / "text", tmp_path / "text.sayso", compressor)
    assert found.methods == {"model": len(TEXT), "xz": 0, "stored": 0}
    return tmp_path / "text.sayso"


def back(path: Path, compressor: Compressor, limit: int = 10**6) -> bytes:
    """Return what a file decompresses to."""
    target = path.with_name("back")
    target.unlink(missing_ok=True)
    decompress(path, target, lambda _: compressor, limit)
    return target.read_bytes()


def test_the_size_is_the_cross_entropy(opened: tuple[Transformer, Tokenizer]) -> None:
    """Windows like those of the evaluation, so the bits are the same; at most 0.5 % and two words more."""
    model, tokenizer = opened
    ids = tokenizer.encode(TEXT)
    assert len(ids) > 3 * CONTEXT
    data = BlockCoder(model, tokenizer.specials[BOS], CONTEXT, mix=False).encode(ids, 1)
    bits = bits_per_byte(model, tokenizer, [TEXT]).mean * len(TEXT)
    assert bits * 0.999 <= 8 * len(data) <= bits * 1.005 + 64


@pytest.mark.parametrize("streams", [1, 2, 5])
@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("window", [2, 3, 7, 32])
def test_tokens_come_back(opened: tuple[Transformer, Tokenizer], streams: int, mix: bool, window: int) -> None:
    """Read in long chunks and back one by one, in any number of streams and windows."""
    model, tokenizer = opened
    ids = tokenizer.encode(TEXT)[: 61 + streams]
    coder = BlockCoder(model, tokenizer.specials[BOS], window, mix=mix)
    assert coder.decode(coder.encode(ids, streams), len(ids), streams) == ids


def test_logits_do_not_depend_on_chunks_or_threads(opened: tuple[Transformer, Tokenizer]) -> None:
    """To the last bit, beyond the end of a window; and a stream's do not depend on the others."""
    model, tokenizer = opened
    ids = [tokenizer.encode(TEXT)[start : start + 50] for start in (0, 40)]

    def read(sizes: Iterator[int], streams: int) -> np.ndarray:
        reader, at, found = Streams(model, streams, 50, CONTEXT), 0, []
        while at < 50:
            count = min(next(sizes), reader.room(), 50 - at)
            found.append(reader.feed([row[at : at + count] for row in ids[:streams]]))
            at += count
        return np.concatenate(found, axis=1)

    threads = torch.get_num_threads()
    whole = read(iter([50] * 9), 2)
    try:
        torch.set_num_threads(1)
        single = read(iter([1] * 50), 2)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(whole, single)
    assert np.array_equal(read(iter([3, 1, 7] * 9), 1)[0], whole[0])


def test_a_stream_sees_what_a_window_of_the_evaluation_sees(opened: tuple[Transformer, Tokenizer]) -> None:
    """A new window begins with the last half of the one before."""
    model, tokenizer = opened
    ids = tokenizer.encode(TEXT)[:20]
    reader = Streams(model, 1, 20, 8)
    found = []
    while len(found) < 20:
        count = min(reader.room(), 20 - len(found))
        found.extend(reader.feed([ids[len(found) : len(found) + count]])[0])
    starts = [0] * 8 + [4] * 4 + [8] * 4 + [12] * 4
    with torch.inference_mode():
        for at, start in enumerate(starts):
            expected = model(torch.tensor([ids[start : at + 1]]))[0, -1].numpy()
            assert found[at] == pytest.approx(expected, abs=1e-4)


def test_parts_are_nearly_equal() -> None:
    """Longer ones first, and in order."""
    assert part_lengths(7, 3) == [3, 2, 2]
    assert split(list(range(7)), 3) == [[0, 1, 2], [3, 4], [5, 6]]
    assert part_lengths(6, 3) == [2, 2, 2]


def test_mixing_is_a_distribution_that_learns_the_file() -> None:
    """Its probabilities sum to 1; from the second time on, a repeated text costs less than with the model alone."""
    generator = np.random.default_rng(0)
    text = generator.integers(0, 50, 40).tolist() * 4
    logits = generator.normal(size=(len(text), 50)).astype(np.float32)
    bits = {}
    for name, predictor in {"mix": Mix(50, 1), "alone": ModelAlone()}.items():
        costs = []
        for row, token in zip(logits, text, strict=True):
            p = predictor.probabilities(row[None])
            assert p.sum() == pytest.approx(1, abs=1e-5)
            assert p.min() >= 0
            costs.append(-np.log2(p[0, token]))
            predictor.learn([token])
        bits[name] = np.array(costs).reshape(4, 40).sum(1)
    assert bits["mix"][0] < 1.1 * bits["alone"][0]
    assert bits["mix"][3] < 0.4 * bits["alone"][3]
    assert bits["mix"][2] < bits["mix"][1] < bits["mix"][0]


def test_a_bias_is_learned_for_what_the_model_does_not_expect() -> None:
    """The gradient of the log loss: what came rises, what was expected in its place falls."""
    mix = Mix(4, 1)
    flat = np.zeros((1, 4), np.float32)
    for token in (0, 1, 0, 2, 0, 1, 0, 2) * 8:
        mix.probabilities(flat)
        mix.learn([token])
    bias = mix._bias
    assert bias[0] > bias[1] > 0 > bias[3]
    assert bias.sum() == pytest.approx(0, abs=1e-5)


def test_the_first_mixture_is_the_models_and_a_counted_share() -> None:
    """By hand: one continuation was seen once after this token, and its first weight is 0.05."""
    mix = Mix(3, 1)
    flat = np.zeros((1, 3), np.float32)
    for token in (0, 1, 0):
        mix.probabilities(flat)
        mix.learn([token])
    soft = softmax(flat + mix._bias)[0]
    expected = 0.95 * soft
    expected[1] += 0.05
    assert mix.probabilities(flat)[0] == pytest.approx(expected, abs=1e-6)


def test_a_softmax_does_not_depend_on_threads_or_other_rows() -> None:
    """To the last bit, as compression and decompression may have other threads."""
    logits = np.random.default_rng(0).normal(0, 3, (16, 49152)).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = np.concatenate([softmax(row[None]) for row in logits])
        torch.set_num_threads(2)
        assert np.array_equal(softmax(logits), alone)
    finally:
        torch.set_num_threads(threads)
    assert alone.sum(1) == pytest.approx(np.ones(16), abs=1e-5)


def test_streams_share_what_they_learn() -> None:
    """A continuation seen in one is expected in the other."""
    mix = Mix(5, 2)
    flat = np.zeros((2, 5), np.float32)
    for pair in ([0, 3], [1, 0]):
        mix.probabilities(flat)
        mix.learn(pair)
    assert mix.probabilities(flat)[1, 1] > mix.probabilities(flat)[1, 2]


CASES = {
    "empty": b"",
    "one byte": b"x",
    "a text": TEXT.encode(),
    "a long text": (TEXT * 9).encode(),
    "other letters": "Grüße, 世界 🌍 und мир. ".encode() * 5,
    "half a character": "世界".encode()[:4] + TEXT.encode(),
    "random": random.Random(1).randbytes(1000),
    "zeros": bytes(1000),
    "control tokens": b"<|bos|><|user|> hello <|end|>" + TEXT.encode(),
    "line ends": b"a\r\nb\nc\r\x85\xe2\x80\xa8" * 20,
}


@pytest.mark.parametrize("data", CASES.values(), ids=CASES.keys())
def test_any_bytes_come_back(data: bytes, compressor: Compressor, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data)
    found = compress(tmp_path / "data", tmp_path / "data.sayso", compressor)
    assert (found.size, sum(found.methods.values())) == (len(data), len(data))
    assert found.compressed == (tmp_path / "data.sayso").stat().st_size
    assert back(tmp_path / "data.sayso", compressor) == data


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.text(max_size=40).map(lambda x: x.encode("utf-8", "surrogatepass"))))
def test_random_bytes_come_back(compressor: Compressor, tmp_path_factory: pytest.TempPathFactory, parts) -> None:
    folder = tmp_path_factory.mktemp("random")
    (folder / "data").write_bytes(b"".join(parts))
    compress(folder / "data", folder / "data.sayso", compressor)
    assert back(folder / "data.sayso", compressor) == b"".join(parts)


def test_random_bytes_are_stored(compressor: Compressor, tmp_path: Path) -> None:
    """They do not grow by more than the header and two blocks."""
    (tmp_path / "data").write_bytes(data := random.Random(2).randbytes(5_000))
    found = compress(tmp_path / "data", tmp_path / "data.sayso", compressor)
    assert found.methods["stored"] == len(data)
    assert found.compressed < len(data) + 700


def test_what_the_model_cannot_predict_is_packed_by_xz(compressor: Compressor, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data := bytes(range(128, 256)) * 200)
    assert compress(tmp_path / "data", tmp_path / "data.sayso", compressor).methods["xz"] == len(data)


def test_a_tokenizer_that_does_not_give_the_bytes_back_is_not_used(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder, encode, _ = compressor._opened
    monkeypatch.setitem(compressor.__dict__, "_opened", (coder, encode, lambda ids: b"normalized"))
    (tmp_path / "data").write_text(TEXT)
    assert compress(tmp_path / "data", tmp_path / "data.sayso", compressor).methods["model"] == 0
    assert back(tmp_path / "data.sayso", compressor) == TEXT.encode()


def test_a_block_that_does_not_come_back_is_not_kept(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block is decompressed before it counts."""
    monkeypatch.setattr(BlockCoder, "decode", lambda *_: [1, 2, 3])
    (tmp_path / "data").write_text(TEXT)
    assert compress(tmp_path / "data", tmp_path / "data.sayso", compressor).methods["model"] == 0
    trusting = Compressor(compressor.folder, streams=3, verify=False)
    assert compress(tmp_path / "data", tmp_path / "data.sayso", trusting).methods["model"] == len(TEXT)


def test_blocks_do_not_cut_characters() -> None:
    """Each is at most a megabyte; together they are the file."""
    data = ("x" * (BLOCK - 2) + "世" + "y" * 9).encode()
    blocks = list(_blocks_of(io.BytesIO(data)))
    assert [len(block) for block in blocks] == [BLOCK - 2, 12]
    assert b"".join(blocks) == data
    assert list(_blocks_of(io.BytesIO(bytes(BLOCK)))) == [bytes(BLOCK)]


@pytest.mark.parametrize("character", ["é", "世", "🌍"])
def test_an_incomplete_character_is_found(character: str) -> None:
    encoded = character.encode()
    assert _cut(b"ab" + encoded) == 0
    for length in range(1, len(encoded)):
        assert _cut(b"ab" + encoded[:length]) == length
    assert _cut(b"\x80\x80\x80\x80") == 0


def test_every_change_of_one_bit_is_refused(packed: Path, compressor: Compressor) -> None:
    """1,000 of them, anywhere: each a sentence, and no file."""
    data, damaged, chance = packed.read_bytes(), packed.with_name("damaged"), random.Random(3)
    for _ in range(1000):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        damaged.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        with pytest.raises(UserError, match="damaged"):
            back(damaged, compressor)
        assert not damaged.with_name("back").exists()


def test_a_part_of_a_file_is_refused(packed: Path, compressor: Compressor) -> None:
    """Cut anywhere, or continued."""
    data, damaged = packed.read_bytes(), packed.with_name("damaged")
    for length in (*range(0, len(data), 7), len(data) - 1):
        damaged.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"too early|damaged"):
            back(damaged, compressor)
    damaged.write_bytes(data + b"x")
    with pytest.raises(UserError, match="more bytes follow"):
        back(damaged, compressor)


def test_blocks_of_another_file_are_refused(packed: Path, compressor: Compressor) -> None:
    """Correct blocks, but not those of this header and this end."""
    with packed.open("rb") as file:
        header = read_header(file, packed)
        start = file.tell()
        block, end = read_blocks(file, packed)
    data = packed.read_bytes()
    for blocks in ([end], [block, block, end], [Block(Method.STORED, 1, 0, 0, end.digest, b"x"), end]):
        with packed.open("wb") as file:
            file.write(data[:start])
            for one in blocks:
                write_block(file, one)
        with pytest.raises(UserError, match=r"damaged|differs"):
            back(packed, compressor)
    assert header.size == len(TEXT)


def test_impossible_sizes_are_refused_before_memory_is_taken(packed: Path, compressor: Compressor) -> None:
    with packed.open("rb") as file:
        read_header(file, packed)
        start = file.tell()
    data = packed.read_bytes()[:start]
    digest = bytes(16)
    for bad in (
        Block(Method.MODEL, BLOCK + 1, 1, 1, digest, b""),
        Block(Method.MODEL, 10, 11, 1, digest, b""),
        Block(Method.MODEL, 10, 3, 4, digest, b""),
        Block(Method.STORED, 1, 0, 0, digest, b"xy"),
        Block(Method.MODEL, 10, 3, 0, digest, b""),
        Block(Method.MODEL, 1000, 900, 257, digest, b""),
        Block(Method.MODEL, 10, 3, 1, digest, b"12345"),
    ):
        with packed.open("wb") as file:
            file.write(data)
            write_block(file, bad)
        with pytest.raises(UserError, match="impossible"):
            back(packed, compressor)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"version": 3},
        [],
        "text",
        {"window": 0},
        {"window": "long"},
        {"size": -1},
        {"size": "x"},
        {"engine": None},
        {"engine": {"torch": 2}},
        {"window": 2.5},
        {"weights": 1},
        {"tokenizer": None},
        {"mix": "no"},
        {"mix": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_forged_headers_are_refused(packed: Path, compressor: Compressor, header: object) -> None:
    """With a checksum that holds: a file may be hostile, not only damaged."""
    data = packed.read_bytes()
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    real = json.loads(data[start : start + length])
    whole = isinstance(header, dict) and header.keys() - {"version"}
    content = json.dumps(real | header if whole else header).encode()
    forge(packed, data, content)
    with pytest.raises(UserError, match=r"damaged|another version"):
        back(packed, compressor)


def test_a_header_of_endless_lists_is_refused(packed: Path, compressor: Compressor) -> None:
    forge(packed, packed.read_bytes(), b"[" * 60_000)
    with pytest.raises(UserError, match="is damaged: its header is not one of this format"):
        back(packed, compressor)


def forge(path: Path, data: bytes, content: bytes) -> None:
    """Write a file with another header, whose checksum holds."""
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    sizes = [number.to_bytes(4, "little") for number in (len(content), crc32(content))]
    path.write_bytes(MAGIC + sizes[0] + content + sizes[1] + data[start + length + 4 :])


def test_a_file_of_several_blocks_comes_back(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of every kind in one file; the model starts each block without context."""
    monkeypatch.setattr(archive_module, "BLOCK", 500)
    data = TEXT.encode()[:500] + random.Random(4).randbytes(500) + b"\xff" * 500 + TEXT.encode()[:499] + "世界".encode()
    (tmp_path / "data").write_bytes(data)
    found = compress(tmp_path / "data", tmp_path / "data.sayso", compressor)
    assert all(size >= 490 for size in found.methods.values()), "a block may end a few bytes earlier"
    assert back(tmp_path / "data.sayso", compressor) == data


def test_a_block_knows_what_the_ones_before_it_taught(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes cost less the second time, also after a block that the model did not write, and come back."""
    monkeypatch.setattr(archive_module, "BLOCK", 500)
    block = TEXT.encode()[:500]
    data = block + random.Random(4).randbytes(500) + block
    first, learned = compressor.encode(block)
    between, same = compressor.encode(data[500:1000], learned)
    assert between.method is Method.STORED
    assert same is learned
    second, _ = compressor.encode(block, learned)
    assert len(second.payload) < 0.7 * len(first.payload)
    assert compressor.encode(block, learned)[0] == second, "a try changes nothing that was learned before"
    (tmp_path / "data").write_bytes(data)
    compress(tmp_path / "data", tmp_path / "data.sayso", compressor)
    assert back(tmp_path / "data.sayso", compressor) == data
    with (tmp_path / "data.sayso").open("rb") as file:
        read_header(file, tmp_path)
        assert [len(one.payload) for one in read_blocks(file, tmp_path)][:3:2] == [
            len(first.payload), len(second.payload)
        ]  # fmt: skip


def test_a_file_of_the_first_format_is_refused(packed: Path, compressor: Compressor) -> None:
    """In that one, the mixture forgot everything at the start of each block."""
    data = packed.read_bytes()
    start = len(MAGIC) + 4
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    content = data[start:end].replace(b'"version":2', b'"version":1')
    assert content != data[start:end]
    packed.write_bytes(data[:start] + content + crc32(content).to_bytes(4, "little") + data[end + 4 :])
    with pytest.raises(UserError, match="another version of the format; use the version of Sayso that wrote it"):
        back(packed, compressor)


def test_a_rejected_block_teaches_nothing(compressor: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decompression does not see its tokens."""
    _, learned = compressor.encode(TEXT.encode()[:500])
    monkeypatch.setattr(BlockCoder, "decode", lambda *_: [1, 2, 3])
    assert compressor.encode(TEXT.encode()[500:900], learned)[1] is learned


def test_the_rarest_contexts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """From one block to the next, so that memory stays flat."""
    mix, flat = Mix(9, 1), np.zeros((1, 9), np.float32)
    for token in (1, 2, 1, 2, 1, 2, 3, 4, 5, 6, 7):
        mix.probabilities(flat)
        mix.learn([token])
    often = {(1,): {2: 3}, (2,): {1: 2}, (1, 2): {1: 2}, (2, 1): {2: 2}, (1, 2, 1): {2: 2}}
    monkeypatch.setattr("sayso.law.compress.mix.MOST_COUNTS", 6)
    assert mix.begun(3)._counts == often | {(6,): {7: 1}}, "of those seen once, the latest"
    monkeypatch.setattr("sayso.law.compress.mix.MOST_COUNTS", 5)
    kept = mix.begun(3)
    assert kept._counts == often
    assert kept.begun(1)._counts == often
    assert len(mix._counts) > 5
    assert kept.probabilities(np.repeat(flat, 3, 0)).shape == (3, 9)


def test_another_model_and_another_machine_are_refused(
    packed: Path, life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ["decompress", str(packed), "--to", str(packed.with_name("new"))]
    words = [*alone, "--life", str(life.root)]
    assert run([*words, "--model", "other"]) == 2
    assert "compressed with the model 'base'" in " ".join(capsys.readouterr().err.split())
    assert run([*alone, "--life", str(packed.parent / "none")]) == 2
    assert "no model with these weights" in " ".join(capsys.readouterr().err.split())
    assert run([*words, "--most", str(len(TEXT) - 1)]) == 2
    assert "increase --most" in " ".join(capsys.readouterr().err.split())
    here = archive_module.engine()
    monkeypatch.setattr(archive_module, "engine", lambda: here | {"torch": "9.9"})
    assert run(words) == 2
    assert "compressed with torch" in " ".join(capsys.readouterr().err.split())
    monkeypatch.undo()
    assert not packed.with_name("new").exists()
    assert run([*words, "--most", str(len(TEXT))]) == 0, "the model is found by its weights"
    assert packed.with_name("new").read_text() == TEXT


def test_a_model_that_calculates_otherwise_is_noticed(packed: Path, life: Life) -> None:
    """If the weights were changed below their checksum, the block's own digest differs."""
    with pytest.raises(UserError, match="differs from the original"):
        back(packed, Compressor(life.model("other"), streams=3))


def test_the_command_compresses_and_back_in_another_process(life: Life, tmp_path: Path) -> None:
    """With another number of threads."""
    (tmp_path / "text").write_text(TEXT)
    arguments = ["--life", str(life.root)]
    assert run(["compress", str(tmp_path / "text"), *arguments]) == 0
    (tmp_path / "text").unlink()
    code = "import sys, torch; torch.set_num_threads(1); from sayso.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "decompress", str(tmp_path / "text.sayso"), *arguments]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "text").read_text() == TEXT


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["compress", "none"], "There is no file"),
        (["compress", "."], "not a regular file"),
        (["compress", "text", "--to", "text"], "must be another file"),
        (["decompress", "text"], "--to"),
        (["decompress", "text", "--to", "new"], "not written by sayso compress"),
    ],
)
def test_bad_input_gets_a_sentence(
    words: list[str], sentence: str, life: Life, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text(TEXT)
    assert run([*words, "--life", str(life.root)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert sentence in told
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["text"]
