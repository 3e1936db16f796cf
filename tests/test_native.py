"""The forward pass in C++: equal to torch's for each family, the same bits however a row is cut, and a way back."""

from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora
from sayso.model.config import Rope
from sayso.sample.blocks import BLOCK, blocks_for
from sayso.sample.native import build, check, choose
from sayso.sample.native.both import BothRunner
from sayso.sample.native.build import library
from sayso.sample.native.check import quantize_both, random_model, why_not
from sayso.sample.native.choose import runner_for
from sayso.sample.native.nibbles import packed, unpacked
from sayso.sample.native.runner import NativeRunner
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, TorchRunner
from sayso.weights.quantize.integers import Grid, round_nearest
from sayso.weights.quantize.kernels import pack4
from sayso.weights.quantize.layers import Embedding8, Weights8, WeightsAndInputs8

REASON = library()
needs_compiler = pytest.mark.skipif(not isinstance(REASON, CDLL), reason=str(REASON))

CONFIG = ModelConfig(90, 2, 64, 6, 2, 16, 96, context=128, qk_norm="none")
FAMILIES = {
    "llama": replace(CONFIG, tie_embeddings=True),
    "llama3": replace(CONFIG, rope=Rope("llama3", 8.0, original=64, slow=1.0, fast=4.0), rope_theta=500_000.0),
    "qwen2": replace(CONFIG, biases=("qkv",)),
    "qwen3": replace(CONFIG, qk_norm="head", head_size=24),
    "olmo2": replace(CONFIG, qk_norm="whole", norm_place="post"),
    "gemma2": replace(
        CONFIG, norm_place="both", mlp="geglu", windows=(19, 0), attention_cap=5.0, logit_cap=3.0, embed_scale=8.0
    ),
    "gemma3": replace(
        CONFIG, qk_norm="head", norm_place="both", windows=(7, 7, 0), layers=3, rope=Rope(local_theta=99)
    ),
    "smollm3": replace(CONFIG, rope=Rope(nope_layers=(1,))),
    "gpt2": replace(
        CONFIG, norm="layer", mlp="gelu", positions="learned", biases=("qkv", "out", "mlp"), kv_heads=6, head_size=10
    ),
    "no norms": replace(CONFIG, norm="none", mlp="relu"),
    "own": replace(CONFIG, qk_norm="head", mlp="relu2", ngrams=(2, 3), ngram_rows=50, shift=3, mlp_width=100, width=52),
}
LENGTHS = (40, 17, 33)


def rows_of(config: ModelConfig) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, config.vocab_size, (length,), generator=generator).tolist() for length in LENGTHS]


def pages_of(model: Transformer, bits: int = 0, count: int = 40) -> Pages:
    pages = Pages(model.config, count, torch.device("cpu"), torch.float32, bits)
    pages.clear(range(len(pages)))  # torch reads also what is masked
    return pages


def tables(seed: int, count: int = 40) -> list[list[int]]:
    blocks = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    taken = [blocks_for(length) for length in LENGTHS]
    return [blocks[sum(taken[:row]) : sum(taken[: row + 1])] for row in range(len(taken))]


def read(
    runner: NativeRunner | TorchRunner, rows: list[list[int]], sizes: list[int], *, seed: int = 0, alone: bool = False
) -> list[Tensor]:
    """Return the logits of each row, read by chunks of these sizes in turn, side by side or each in a pass alone."""
    where, parts = tables(seed), [[] for _ in rows]
    done, turn = [0] * len(rows), 0
    while any(at < len(row) for at, row in zip(done, rows, strict=True)):
        chunks = []
        for place, row in enumerate(rows):
            if done[place] < len(row):
                end = done[place] + sizes[(turn + place) % len(sizes)]
                chunks.append((place, Chunk(row[done[place] : end], done[place], where[place])))
                done[place] = end
        turn += 1
        for group in [[one] for one in chunks] if alone else [chunks]:
            logits = runner.head(runner.hidden([chunk for _, chunk in group]))
            for (place, _), part in zip(group, logits.split([len(chunk.ids) for _, chunk in group]), strict=True):
                parts[place].append(part)
    return [torch.cat(part) for part in parts]


def off(found: list[Tensor], wanted: list[Tensor]) -> float:
    return float((torch.cat(found) - torch.cat(wanted)).abs().max() / torch.cat(wanted).abs().max())


def torch_logits(model: Transformer, rows: list[list[int]]) -> list[Tensor]:
    with torch.inference_mode():
        return [model(torch.tensor([row]))[0] for row in rows]


# -- equal to torch


@needs_compiler
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_torchs_for_each_family(family: str) -> None:
    """Rows are read in uneven chunks, some in one token, side by side, with mixed blocks."""
    model = random_model(FAMILIES[family])
    rows = rows_of(model.config)
    assert why_not(model) == ""
    found = read(NativeRunner(model, pages_of(model)), rows, [20, 1, 7, 2])
    assert off(found, torch_logits(model, rows)) < 1e-4


@needs_compiler
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("grid", [Grid(8), Grid(4, 32, symmetric=False), Grid(4, 16), Grid(4, 0, symmetric=False)])
def test_logits_are_those_of_the_weights_that_whole_numbers_stand_for(family: str, grid: Grid) -> None:
    config = replace(FAMILIES[family], mlp_width=96, width=64)
    plain, other = random_model(config), random_model(config)
    quantize_both(plain, other, grid)
    rows = rows_of(config)
    assert why_not(other) == ""
    found = read(NativeRunner(other, pages_of(other)), rows, [20, 1, 7, 2])
    assert off(found, torch_logits(plain, rows)) < 1e-4


@needs_compiler
def test_an_embedding_in_8_bits_may_be_the_head_too() -> None:
    plain, other = random_model(FAMILIES["llama"]), random_model(FAMILIES["llama"])
    integers = round_nearest(plain.embed.weight.detach(), Grid(8))
    other.embed = Embedding8(integers.values, integers.scales[:, 0])  # type: ignore[assignment]
    other.unembed = Weights8(integers)  # type: ignore[assignment]
    plain.embed.weight.data.copy_(integers.dequantized())
    rows = rows_of(plain.config)
    assert why_not(other) == ""
    assert off(read(NativeRunner(other, pages_of(other)), rows, [20, 1, 7, 2]), torch_logits(plain, rows)) < 1e-4


@needs_compiler
def test_a_cache_in_8_bits_holds_what_torch_keeps_there() -> None:
    """But for numbers that lie between two steps, which rounding may send either way."""
    model = random_model(FAMILIES["qwen3"])
    rows, ours, theirs = rows_of(model.config), pages_of(model, 8), pages_of(model, 8)
    found, wanted = read(NativeRunner(model, ours), rows, [9]), read(TorchRunner(model, theirs), rows, [9])
    used = sorted(block for table in tables(0) for block in table[:-1])
    steps = (ours.keys[0][used].int() - theirs.keys[0][used].int()).abs()
    assert steps.max() <= 1
    assert steps.float().mean() < 1e-3
    assert torch.allclose(ours.key_scales[1][used], theirs.key_scales[1][used], rtol=0.01)
    assert off(found, wanted) < 0.01


@needs_compiler
def test_positions_past_the_first_angles_are_torchs() -> None:
    model = random_model(replace(FAMILIES["llama"], context=4096))
    blocks, start = list(range(blocks_for(1100))), 1070
    ids = torch.randint(0, 90, (start + 30,), generator=torch.Generator().manual_seed(5)).tolist()
    runner = NativeRunner(model, pages_of(model, count=len(blocks)))
    runner.hidden([Chunk(ids[:start], 0, blocks)])
    found = runner.head(runner.hidden([Chunk(ids[start:], start, blocks)]))
    assert off([found], [torch_logits(model, [ids])[0][start:]]) < 1e-4


# -- the same bits


@needs_compiler
@pytest.mark.parametrize(
    ("family", "grid"),
    [*((name, None) for name in ("llama", "olmo2", "gemma2", "own")), ("gpt2", Grid(8)), ("gpt2", Grid(4, 32))],
)
def test_bits_depend_on_the_row_alone(family: str, grid: Grid | None) -> None:
    """Not on rows beside it, the chunks it is cut into, its blocks, or the number of threads."""
    config = FAMILIES[family]
    model = random_model(config)
    if grid is not None:
        config = replace(config, width=64, mlp_width=96)
        model = random_model(config)
        quantize_both(random_model(config), model, grid)
    rows, threads = rows_of(config), torch.get_num_threads()
    first = read(NativeRunner(model, pages_of(model)), rows, [100])
    ways = [([1], 0, True, 1), ([2], 1, False, 2), ([3, 1, 5], 2, False, 3), ([31], 3, True, 2), ([100], 4, True, 5)]
    try:
        for sizes, seed, alone, count in ways:
            torch.set_num_threads(count)
            again = read(NativeRunner(model, pages_of(model)), rows, sizes, seed=seed, alone=alone)
            assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True)), (sizes, count)
    finally:
        torch.set_num_threads(threads)


@needs_compiler
def test_threads_that_wait_go_on() -> None:
    """More threads than cores, so that most of them sleep at some step, and two passes at the same time."""
    model = random_model(next(iter(FAMILIES.values())))
    rows = rows_of(model.config)
    threads = torch.get_num_threads()
    expected = torch.cat(read(NativeRunner(model, pages_of(model)), rows, [1]))

    def passes(number: int) -> bool:
        torch.set_num_threads(4 + number)
        runner = NativeRunner(model, pages_of(model))
        return all(torch.equal(torch.cat(read(runner, rows, [1])), expected) for _ in range(8))

    try:
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(passes, range(2), timeout=60))
    finally:
        torch.set_num_threads(threads)


# -- what it does not take


@needs_compiler
def test_models_it_has_no_code_for_are_told_why_in_a_sentence() -> None:
    model = random_model(CONFIG)
    assert "float32" in why_not(random_model(CONFIG).to(torch.bfloat16))
    adapted = add_lora(random_model(CONFIG), LoRA(2, 4.0, ("query",)), torch.Generator())
    assert "LoRALinear" in why_not(adapted)
    model.blocks[1].mlp.up = WeightsAndInputs8(round_nearest(model.blocks[1].mlp.up.weight.detach(), Grid(8)))
    assert why_not(model) == (
        "The native forward pass does not support WeightsAndInputs8, the type of this model's blocks.1.mlp.up."
    )
    assert "meta" in why_not(Transformer(CONFIG).to("meta"))


@needs_compiler
def test_a_library_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "NEAR", 1e-12)
    check._wrong.cache_clear()
    assert "from torch for 32-bit weights" in why_not(random_model(CONFIG))
    check._wrong.cache_clear()


@needs_compiler
def test_what_the_native_pass_cannot_take_torch_runs_and_it_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A part that it lacks is told of; adapters, which every run that tunes them samples with, are not."""
    plain, adapted = random_model(CONFIG), add_lora(random_model(CONFIG), LoRA(2, 4.0, ("value",)), torch.Generator())
    lacking = random_model(CONFIG)
    lacking.blocks[1].mlp.up = WeightsAndInputs8(round_nearest(lacking.blocks[1].mlp.up.weight.detach(), Grid(8)))
    choose._warn.cache_clear()  # other tests may have heard it
    assert isinstance(runner_for(plain, pages_of(plain)), BothRunner)
    assert isinstance(runner_for(plain, pages_of(plain), deterministic=True), NativeRunner)
    for _ in range(2):
        assert isinstance(runner_for(adapted, pages_of(adapted)), TorchRunner)
        assert isinstance(runner_for(lacking, pages_of(lacking)), TorchRunner)
    told = capsys.readouterr().err
    assert told.count("not support WeightsAndInputs8") == 1
    assert "LoRALinear" not in told


# -- packing


def test_nibbles_come_back_from_the_way_torch_packs_them() -> None:
    integers = round_nearest(
        torch.randn(80, 64, generator=torch.Generator().manual_seed(1)), Grid(4, 32, symmetric=False)
    )
    both = pack4(integers)
    if both is None:
        pytest.skip("torch has no 4-bit kernel here")
    assert torch.equal(unpacked(both[0], 80, 64), (integers.values + 8).to(torch.uint8))


def test_a_byte_holds_rows_32_apart() -> None:
    rows = torch.arange(70)[:, None] % 16 + torch.zeros(70, 3, dtype=torch.long)
    blocks = packed(rows)
    assert blocks.shape == (2, 3, 32)
    assert blocks[0, 1, 5] == 5 | (37 % 16) << 4
    assert blocks[1, 2, 5] == 69 % 16


# -- compiling


def test_without_a_compiler_there_is_a_sentence(tmp_path: Path) -> None:
    assert build.build(tmp_path, ("no-such-compiler",)) == "there is no C++ compiler (no-such-compiler)"


@needs_compiler
def test_a_source_that_does_not_compile_leaves_a_sentence_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forward.cpp").write_text("int main() { return nothing; }\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    why = build.build(tmp_path / "cache")
    assert isinstance(why, str)
    assert "could not compile it" in why
    assert "nothing" in why
    assert list((tmp_path / "cache").iterdir()) == []


@needs_compiler
def test_a_cache_that_cannot_be_written_leaves_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    why = build.build(tmp_path / "file")
    assert isinstance(why, str)
    assert "could not be stored or loaded" in why


@needs_compiler
def test_several_may_compile_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: build.build(tmp_path), range(2)))
    assert all(isinstance(one, CDLL) for one in found)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_block_of_the_cache_has_as_many_positions_as_the_source_says() -> None:
    assert f"PAGE = {BLOCK};" in (build.SOURCES / "parts.h").read_text()


def test_a_model_with_hooks_runs_with_torch() -> None:
    """Hooks are not skipped; the model runs natively again when they are removed."""
    model = random_model(ModelConfig(50, 1, 32, 2, 2, 16, 32, context=16))
    before = why_not(model)
    handle = model.blocks[0].register_forward_hook(lambda _, __, y: y)
    assert "calls no hooks" in why_not(model)
    handle.remove()
    assert why_not(model) == before
