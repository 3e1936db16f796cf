"""Quantization: arithmetic, kernels, GPTQ against its definition, files, and the command."""

import json
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from compressed_tensors.compressors import pack_to_int32
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import linear_layers
from sayso.token.train import train
from sayso.weights.folder import load_model, load_weights, save_model
from sayso.weights.names import from_hub_config
from sayso.weights.quantize import kernels
from sayso.weights.quantize.calibrate import Inputs, replace_layers
from sayso.weights.quantize.gptq import DAMPING, damped, gptq
from sayso.weights.quantize.integers import SHARES, Grid, Integers, fit_best, fit_grid, round_nearest, rounded
from sayso.weights.quantize.layers import Weights4, Weights8, WeightsAndInputs8
from sayso.weights.quantize.model import bits_of
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.refine import descended, refined, rescaled
from sayso.weights.quantize.scheme import Scheme, read_scheme, usual_scheme
from sayso.weights.quantize.weight import pack, unpack

TEXTS = [
    f"Once upon a time an old fox said: do not run, {n} times, or {n * n} times, to the green hill." for n in range(99)
]
EIGHT, FOUR, FOUR_SYMMETRIC = Grid(8), Grid(4, 32, symmetric=False), Grid(4, 32)
SCHEMES = {
    "8": (Scheme(EIGHT), QuantizeMethod()),
    "8 with inputs": (Scheme(EIGHT, inputs8=True), QuantizeMethod(outliers=0.05)),
    "4": (Scheme(FOUR), QuantizeMethod(gptq=True)),
    "4 symmetric": (Scheme(FOUR_SYMMETRIC), QuantizeMethod()),
    "8 and head": (Scheme(EIGHT, ends8=True), QuantizeMethod()),
    "4 and head": (Scheme(FOUR, ends8=True), QuantizeMethod(gptq=True)),
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(seed: int = 2, **more: Any) -> Transformer:
    """Return a model with only random weights."""
    model = Transformer(ModelConfig(**{**SHAPE, **more})).eval()
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.1, generator=generator)
    return model


SHAPE = {
    "vocab_size": 320, "layers": 2, "width": 64, "heads": 4, "kv_heads": 2, "head_size": 16, "mlp_width": 96,
    "context": 64,
}  # fmt: skip
ROWS = torch.randint(0, 320, (6, 48), generator=torch.Generator().manual_seed(1))


# -- integers


@pytest.mark.parametrize("grid", [EIGHT, FOUR, FOUR_SYMMETRIC, Grid(4, 0, symmetric=False)])
def test_rounding_errs_by_at_most_half_a_step_and_keeps_zero(grid: Grid) -> None:
    weight = drawn(16, 96) * torch.logspace(-3, 1, 16)[:, None]
    weight[:, ::7] = 0
    found = round_nearest(weight, grid)
    steps = found.scales.repeat_interleave(96 // found.scales.shape[1], 1)
    assert found.values.min() >= grid.least
    assert found.values.max() <= grid.most
    room = 1.0 if not grid.symmetric else 0.5  # an end may be half a step outside, where the zero was rounded
    assert ((found.dequantized() - weight).abs() <= steps * room * 1.0001).all()
    assert (found.dequantized()[:, ::7] == 0).all()


def test_a_matrix_on_the_grid_is_unchanged() -> None:
    weight = round_nearest(drawn(8, 64), FOUR).dequantized()
    torch.testing.assert_close(round_nearest(weight, FOUR).dequantized(), weight)


def test_a_group_of_zeros_is_zeros() -> None:
    for grid in (EIGHT, FOUR):
        assert not round_nearest(torch.zeros(4, 64), grid).dequantized().any()


@pytest.mark.parametrize("bits", [4, 8])
def test_packing_is_that_of_compressed_tensors(bits: int) -> None:
    grid = Grid(bits)
    values = torch.randint(grid.least, grid.most + 1, (6, 64), generator=torch.Generator().manual_seed(3)).to(
        torch.int8
    )
    assert torch.equal(pack(values, bits), pack_to_int32(values, bits))
    assert torch.equal(unpack(pack(values, bits), grid, 64), values)
    odd = values[:, :59]
    assert torch.equal(pack(odd, bits), pack_to_int32(odd.contiguous(), bits))
    assert torch.equal(unpack(pack(odd, bits), grid, 59), odd)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ((3,), "8 or 4 bits; got 3"),
        ((4, -8), "or 0 for the whole row; got -8"),
        ((4, 60), "every row; got 60"),
    ],
)
def test_an_invalid_grid_is_refused(grid: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Grid(*grid).groups(64)


# -- products


@pytest.mark.parametrize("rows", [1, 3, 16, 40])
@pytest.mark.parametrize("kernel", [True, False])
def test_products_agree_with_the_definition(rows: int, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With kernels to the precision of bfloat16 inputs, without them to that of float32."""
    if not kernel:
        monkeypatch.setattr(kernels, "works", lambda *_: False)
    weight, bias, x = drawn(64, 128), drawn(64, seed=1), drawn(2, rows, 128, seed=2)
    for grid, kind in ((EIGHT, Weights8), (FOUR, Weights4), (FOUR_SYMMETRIC, Weights4)):
        integers = round_nearest(weight, grid)
        found, wanted = kind(integers, bias)(x), F.linear(x, integers.dequantized(), bias)
        assert found.dtype == torch.float32
        assert (found - wanted).abs().max() < (0.02 if kernel else 1e-5) * wanted.abs().max()


@pytest.mark.parametrize("kernel", [True, False])
def test_8_bit_inputs_are_rounded_per_token_except_outliers(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:
        monkeypatch.setattr(kernels, "works", lambda *_: False)
    weight, x, apart = drawn(48, 64), drawn(5, 64, seed=2), torch.tensor([3, 40])
    x[:, apart] *= 500
    integers = round_nearest(weight, EIGHT)
    found = WeightsAndInputs8(integers, None, apart, weight[:, apart])(x)
    rest = x.clone()
    rest[:, apart] = 0
    scale = rest.abs().amax(1, keepdim=True) / 127
    wanted = (rest / scale).round() * scale @ integers.dequantized().T + x[:, apart] @ weight[:, apart].T
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    plain = WeightsAndInputs8(integers)(x)
    exact = F.linear(x, weight)
    assert (found - exact).abs().mean() < 0.2 * (plain - exact).abs().mean(), "outliers swamp what lies beside them"


def test_an_inaccurate_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: torch.zeros(len(a), b.shape[1], dtype=torch.int32))
    kernels.works.cache_clear()
    try:
        x = torch.ones(2, 8, dtype=torch.int8)
        assert torch.equal(kernels.product8(x, x), torch.full((2, 2), 8.0))
        assert "No kernel for product8 on this cpu (its relative error is 1.000)" in capsys.readouterr().err
    finally:
        kernels.works.cache_clear()


def test_a_shape_that_a_kernel_does_not_support_is_dequantized() -> None:
    integers = round_nearest(drawn(7, 10), Grid(4, 5))
    x = drawn(3, 10, seed=1)
    torch.testing.assert_close(Weights4(integers)(x), F.linear(x, integers.dequantized()))


# -- calibration


def brute_gptq(weight: Tensor, gram: Tensor, grid: Grid) -> Tensor:
    """Round the columns in order; after each, solve for the best remaining weights (Frantar et al. 2022, eq. 2)."""
    scales, zeros = fit_best(weight, grid, gram.diagonal())
    hessian = gram.double() + torch.eye(len(gram)) * DAMPING * gram.double().diagonal().mean()
    left, done = weight.double().clone(), torch.zeros_like(weight)
    order = gram.diagonal().argsort(descending=True).tolist()
    for place, column in enumerate(order):
        group = column // (weight.shape[1] // scales.shape[1])
        zero = 0 if zeros is None else zeros[:, group].double()
        steps = (left[:, column] / scales[:, group]).round() + zero
        done[:, column] = (steps.clamp(grid.least, grid.most) - zero) * scales[:, group]
        rest = order[place:]
        inverse = torch.linalg.inv(hessian[rest][:, rest])
        error = (left[:, column] - done[:, column]) / inverse[0, 0]
        left[:, rest] -= torch.outer(error, inverse[0])
    return done


@pytest.mark.parametrize("grid", [FOUR, FOUR_SYMMETRIC, EIGHT])
def test_gptq_agrees_with_its_definition_and_beats_rounding(grid: Grid) -> None:
    x = drawn(400, 160) @ drawn(160, 160, seed=4) * torch.logspace(-1, 1, 160)
    weight, gram = drawn(12, 160, seed=5), x.T @ x
    found = gptq(weight, gram, grid).dequantized()
    wanted = brute_gptq(weight, gram, grid)
    lost = {name: float(((q - weight) @ x.T).square().sum()) for name, q in (
        ("found", found), ("wanted", wanted), ("nearest", round_nearest(weight, grid).dequantized()),
    )}  # fmt: skip
    assert (found - wanted).abs().gt(1e-5).float().mean() < 0.02, "but for ties that rounding breaks"
    assert lost["found"] == pytest.approx(lost["wanted"], rel=0.05)
    assert lost["found"] < 0.5 * lost["nearest"]


def error_of(weight: Tensor, held: Integers, hessian: Tensor) -> Tensor:
    """Return the squared error of each row, [R]."""
    error = (weight - held.dequantized()).double()
    return ((error @ hessian) * error).sum(1)


@pytest.mark.parametrize("grid", [FOUR, FOUR_SYMMETRIC, EIGHT])
def test_each_group_covers_the_best_share_of_its_range(grid: Grid) -> None:
    weight, importance = drawn(6, 64, seed=7) ** 3, drawn(64, seed=8).square()
    scales, zeros = fit_best(weight, grid, importance)

    def lost(scales: Tensor, zeros: Tensor | None) -> Tensor:
        wide = None if zeros is None else zeros[..., None]
        values = rounded(weight.unflatten(1, (scales.shape[1], -1)), scales[..., None], wide, grid).flatten(1)
        error = (Integers(values, scales, zeros, grid).dequantized() - weight).square() * importance
        return error.unflatten(1, (scales.shape[1], -1)).sum(-1)

    least = torch.stack([lost(*fit_grid(weight, grid, share)) for share in SHARES]).amin(0)
    torch.testing.assert_close(lost(scales, zeros), least)
    assert (lost(scales, zeros) <= lost(*fit_grid(weight, grid))).all()


@pytest.mark.parametrize("grid", [FOUR, FOUR_SYMMETRIC, EIGHT])
def test_refining_finds_optimal_scales_and_columns(grid: Grid) -> None:
    x = drawn(400, 160) @ drawn(160, 160, seed=4) * torch.logspace(-1, 1, 160)
    weight, hessian = drawn(12, 160, seed=5), damped(x.T @ x)
    first = gptq(weight, x.T @ x, grid)

    scaled = rescaled(weight, first, hessian)
    pull = (weight - scaled.dequantized()).double() @ hessian  # half the slope of what is lost
    along = (pull.unflatten(1, (scaled.scales.shape[1], -1)) * scaled.steps()).sum(-1)
    before = ((weight.double() @ hessian).unflatten(1, (scaled.scales.shape[1], -1)) * scaled.steps()).sum(-1)
    assert along.abs().max() < 1e-4 * before.abs().max(), "no scale is better beside the others"

    other = descended(weight, scaled, hessian)
    losses = [error_of(weight, held, hessian) for held in (first, scaled, other, refined(weight, first, hessian))]
    for worse, better in pairwise(losses):
        assert (better <= worse * 1.0001).all()
    assert losses[-1].sum() < 0.98 * losses[0].sum()

    for _ in range(20):  # until nothing changes: then no step of one weight helps
        other, last = descended(weight, other, hessian), other
    assert torch.equal(other.values, last.values)
    least = error_of(weight, other, hessian)
    for column, by in product(range(0, 160, 13), (-1, 1)):
        values = other.values.clone()
        values[:, column] = (values[:, column] + by).clamp(grid.least, grid.most)
        assert (error_of(weight, replace(other, values=values), hessian) >= least * 0.9999).all()


def test_calibration_inputs_come_from_quantized_blocks() -> None:
    model, seen = made(), {}

    def replace(name: str, layer: torch.nn.Module, inputs: Inputs) -> torch.nn.Module:
        seen[name] = inputs
        return Weights8(round_nearest(layer.weight.detach() * 0.5, EIGHT))  # a change too large to miss

    done: list[int] = []
    replace_layers(model, ROWS, replace, done.append)
    assert done == [1, 2]
    assert set(seen) == set(linear_layers(made()))
    for layer, tolerance in ((0, 1e-4), (1, 1e-2)):
        given: list[Tensor] = []
        model.blocks[layer].attention.query.register_forward_pre_hook(lambda _, x, kept=given: kept.append(x[0]))
        with torch.inference_mode():
            model(ROWS)
        x = given[0].flatten(0, 1)
        name = f"blocks.{layer}.attention.query"
        assert (seen[name].gram - x.T @ x).abs().max() <= tolerance * (x.T @ x).abs().max()
        torch.testing.assert_close(seen[name].peaks, x.abs().amax(0), rtol=tolerance, atol=tolerance)
        assert seen[f"blocks.{layer}.attention.value"] is seen[name], "what sees the same is counted once"


def test_outlier_columns_are_found() -> None:
    model = made()
    with torch.no_grad():
        model.blocks[1].mlp_norm.weight[17] = 300
    numbers = quantize_model(model, Scheme(EIGHT, inputs8=True), QuantizeMethod(outliers=1 / 64), ROWS)
    found = {name: held.outliers for name, held in numbers.layers.items() if held.outliers is not None}
    assert [found[f"blocks.1.mlp.{part}"].tolist() for part in ("gate", "up")] == [[17], [17]]
    assert len(found) == len(numbers.layers)


# -- files


VARIANTS = [*product(SCHEMES, [{}]), ("4", {"mlp": "relu2"}), ("4 and head", {"tie_embeddings": True})]


def test_calibration_text_is_needed_only_by_some_methods() -> None:
    """By GPTQ, and by 8-bit inputs with outliers."""
    plain, inputs = Scheme(EIGHT), Scheme(EIGHT, inputs8=True)
    assert [QuantizeMethod().calibrates(scheme) for scheme in (plain, inputs)] == [False, False]
    assert [QuantizeMethod(outliers=0.05).calibrates(scheme) for scheme in (plain, inputs)] == [False, True]
    assert [QuantizeMethod(gptq=True).calibrates(scheme) for scheme in (plain, inputs)] == [True, True]


@pytest.mark.parametrize(("kind", "shape"), VARIANTS)
def test_a_folder_comes_back_and_opens_in_transformers(kind: str, shape: dict[str, Any], tmp_path: Path) -> None:
    """Saved and opened, the logits are the same; and transformers' are those of the numbers that are saved.

    Those of embedding and head are saved in 16 bits, before they are rounded to 8.
    """
    scheme, method = SCHEMES[kind]
    model, tokenizer = made(**shape), train("bpe", TEXTS, 320)
    plain = model(ROWS)
    numbers = quantize_model(model, scheme, method, ROWS)
    with torch.inference_mode():
        before = model(ROWS)
    save_model(model, tokenizer, tmp_path / "q", {"stage": "quantised"}, numbers)
    opened, _ = load_model(tmp_path / "q")
    with torch.inference_mode():
        assert torch.equal(opened(ROWS), before)
    assert not torch.equal(before, plain)
    assert (before - plain).abs().mean() < (0.04 if scheme.grid.bits == 8 else 0.5) * plain.abs().mean()
    count = sum(weight.numel() for weight in made(**shape).parameters())
    assert read_json(tmp_path / "q" / "sayso.json")["parameters"] == count

    exact = made(**shape)
    for name, held in numbers.layers.items():
        exact.get_submodule(name).weight.data = held.integers.dequantized()
    for name, held in numbers.ends.items():
        exact.get_parameter(name).data = held.float()
    unpacked = CompressedTensorsConfig(run_compressed=False)
    with pytest.warns(UserWarning, match="will be overwritten"):  # about our scheme with other defaults
        theirs = AutoModelForCausalLM.from_pretrained(
            tmp_path / "q", quantization_config=unpacked, dtype=torch.float32
        ).eval()
    with torch.inference_mode():
        if scheme.inputs8:  # they round the inputs as well, outliers among them
            assert (theirs(ROWS).logits - exact(ROWS)).abs().mean() < 0.02 * plain.abs().mean()
        else:
            assert (theirs(ROWS).logits - exact(ROWS)).abs().max() < 1e-4 * max(1.0, float(plain.abs().max()))


def test_a_quantized_file_is_smaller(tmp_path: Path) -> None:
    sizes = {}
    for bits, scheme in ((8, Scheme(EIGHT)), (4, Scheme(FOUR))):
        model = made(vocab_size=320, width=128, head_size=32, mlp_width=256)
        numbers = quantize_model(model, scheme, QuantizeMethod())
        save_model(model, train("bpe", TEXTS, 320), tmp_path / str(bits), {}, numbers)
        layers = load_file(tmp_path / str(bits) / "model.safetensors")
        sizes[bits] = sum(x.nbytes for name, x in layers.items() if "_proj." in name) / numbers.count
    assert sizes[8] < 1.05
    assert sizes[4] < 0.65


def test_third_party_scales_may_have_16_bits(tmp_path: Path) -> None:
    folder = quantized_folder(tmp_path)
    before = load_weights(folder)(ROWS)
    change(folder, lambda found: {name: x.half() if name.endswith("scale") else x for name, x in found.items()})
    assert (load_weights(folder)(ROWS) - before).abs().mean() < 0.02 * before.abs().mean()


def quantized_folder(tmp_path: Path, kind: str = "4") -> Path:
    scheme, method = SCHEMES[kind]
    model = made()
    numbers = quantize_model(model, scheme, method, ROWS)
    save_model(model, train("bpe", TEXTS, 320), tmp_path / "q", {}, numbers)
    (tmp_path / "q" / "sayso.json").unlink()  # as third-party folders have no digests
    return tmp_path / "q"


def change(folder: Path, how: Any) -> None:
    found = how(dict(load_file(folder / "model.safetensors")))
    (folder / "model.safetensors").unlink()
    save_file({name: x.contiguous() for name, x in found.items()}, folder / "model.safetensors")


LAYER = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("kind", "part", "put", "words"),
    [
        ("4", "weight_packed", None, "has no weight_packed"),
        ("4", "weight_packed", torch.zeros(64, 9, dtype=torch.int32), r"int32 \[64, 8\]; got torch.int32 \[64, 9\]"),
        ("4", "weight_packed", torch.zeros(64, 8), "must be int32"),
        ("4", "weight_shape", torch.tensor([64, -64]), "two positive integers"),
        ("4", "weight_shape", torch.tensor([64, 2**40]), "must be int32"),
        ("4", "weight_scale", torch.zeros(64, 3), r"\[64, 2\]"),
        ("4", "weight_zero_point", None, "has no weight_zero_point"),
        ("4", "weight_scale", None, "has no 'model.layers.0.self_attn.q_proj.weight'|is missing|which has no"),
        ("8", "weight_packed", torch.zeros(64, 64), r"must be int32 \[64, 16\]"),
        ("8 with inputs", "weight", torch.zeros(64, 64), "must be int8"),
        ("8 with inputs", "weight", torch.zeros(32, 64, dtype=torch.int8), r"\[32, 1\]"),
        ("8 with inputs", "outliers", torch.tensor([64]), "indices of its 64 columns"),
        ("8 with inputs", "outlier_weights", torch.zeros(3, 3), "outlier_weights"),
    ],
)
def test_inconsistent_tensors_are_a_user_error(
    kind: str, part: str, put: Tensor | None, words: str, tmp_path: Path
) -> None:
    folder = quantized_folder(tmp_path, kind)
    if part == "outlier_weights":
        change(folder, lambda found: found | {f"{LAYER}.outliers": torch.tensor([1])})

    def edit(found: dict[str, Tensor]) -> dict[str, Tensor]:
        found.pop(f"{LAYER}.{part}", None)
        return found if put is None else found | {f"{LAYER}.{part}": put}

    change(folder, edit)
    with pytest.raises(UserError, match=words) as message:
        load_weights(folder)
    assert "\n" not in str(message.value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.update(quant_method="gptq"), "this one has quant_method 'gptq'"),
        (lambda c: c["config_groups"].update(more=c["config_groups"]["group_0"]), "several"),
        (lambda c: c["config_groups"]["group_0"]["weights"].update(num_bits=3), "8 or 4 bits; got 3"),
        (lambda c: c["config_groups"]["group_0"]["weights"].update(type="float"), "type 'int'"),
        (lambda c: c.update(format="nvfp4-pack-quantized"), "in the format pack-quantized"),
        (
            lambda c: c["config_groups"]["group_0"].update(input_activations={"num_bits": 8}),
            "require 8-bit weights",
        ),
        (lambda c: c["config_groups"]["group_0"].update(weights=7), "must be an object"),
        (
            lambda c: c["config_groups"]["group_0"]["weights"].update(group_size="32"),
            "whole row; got '32'",
        ),
    ],
)
def test_another_quantization_is_a_user_error(edit: Any, words: str, tmp_path: Path) -> None:
    folder = quantized_folder(tmp_path)
    facts = read_json(folder / "config.json")
    edit(facts["quantization_config"])
    (folder / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=words):
        load_weights(folder)


def test_the_usual_schemes_scale_rows_of_8_bits_and_groups_of_4() -> None:
    """Groups of 64 with zero points, unless another size is named; 8 bits have no groups."""
    assert usual_scheme(8, ends8=False) == Scheme(Grid(8))
    assert usual_scheme(4) == Scheme(Grid(4, 64, symmetric=False), ends8=True)
    assert usual_scheme(4, 0).grid == Grid(4, 0, symmetric=False)
    with pytest.raises(UserError, match="omit --group"):
        usual_scheme(8, 32)


@pytest.mark.parametrize("kind", SCHEMES)
def test_a_scheme_round_trips(kind: str) -> None:
    assert read_scheme(SCHEMES[kind][0].write()) == replace(SCHEMES[kind][0], ends8=False)


@pytest.mark.parametrize("tied", [True, False])
def test_embedding_and_head_are_rounded_by_row_and_stay_tied(tied: bool, tmp_path: Path) -> None:
    model, plain = made(tie_embeddings=tied), made(tie_embeddings=tied)
    save_model(
        model,
        train("bpe", TEXTS, 320),
        tmp_path / "q",
        {},
        quantize_model(model, Scheme(EIGHT, ends8=True), QuantizeMethod()),
    )
    for one in (model, load_weights(tmp_path / "q")):
        assert (one.embed.values.data_ptr() == one.unembed.values.data_ptr()) == tied
        rows = round_nearest(plain.embed.weight.detach().half(), EIGHT).dequantized()
        assert torch.equal(one.embed(ROWS), rows[ROWS])
        head, x = round_nearest(plain.unembed.weight.detach().half(), EIGHT).dequantized(), drawn(3, 64)
        torch.testing.assert_close(one.head(x), F.linear(x, head), rtol=1e-4, atol=1e-4)
        assert one.dtype == torch.float32
        assert bits_of(one) == 8
    found = load_file(tmp_path / "q" / "model.safetensors")
    assert found["model.embed_tokens.weight"].dtype == torch.float16
    assert ("lm_head.weight" in found) != tied


def test_an_embedding_beyond_16_bits_is_refused() -> None:
    model = made()
    model.embed.weight.data[3, 4] = 1e5
    with pytest.raises(UserError, match="not finite in float16"):
        quantize_model(model, Scheme(EIGHT, ends8=True), QuantizeMethod())


def test_a_head_with_other_than_8_bits_is_refused(tmp_path: Path) -> None:
    folder = quantized_folder(tmp_path, "8 and head")
    (folder / "config.json").write_text(json.dumps(read_json(folder / "config.json") | {"head_bits": 4}))
    with pytest.raises(UserError, match=r"head_bits in config\.json must be 8; got 4"):
        load_weights(folder)


@pytest.mark.parametrize("kind", ["8 and head", "4"])
def test_a_gpt2_is_quantized_layer_by_layer(kind: str, tmp_path: Path) -> None:
    """A quantized GPT-2 is of the family `sayso`, since GPT-2's files fuse and transpose layers."""
    facts = {"model_type": "gpt2", "vocab_size": 320, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    shape = from_hub_config(facts)
    model = made(**{name: getattr(shape, name) for name in shape.__dataclass_fields__})
    exact, (scheme, method) = deepcopy(model), SCHEMES[kind]
    numbers = quantize_model(model, scheme, method, ROWS)
    for name, held in numbers.layers.items():
        exact.get_submodule(name).weight.data = held.integers.dequantized()
    save_model(model, train("bpe", TEXTS, 320), tmp_path / "q", {}, numbers)
    opened, _ = load_model(tmp_path / "q")
    assert opened.config == shape
    with torch.inference_mode():
        assert torch.equal(opened(ROWS), model(ROWS))
        assert (opened(ROWS) - exact(ROWS)).abs().max() < 0.03 * exact(ROWS).abs().max()


# -- the command


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a life with a base model of random weights and a text file; its parent is the current folder."""
    monkeypatch.chdir(tmp_path)
    save_model(made(), train("bpe", TEXTS, 320), tmp_path / "life" / "models" / "base", {"stage": "base"})
    lines = (json.dumps({"text": " ".join(TEXTS[n : n + 9])}) for n in range(90))
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    return tmp_path / "life"


@pytest.mark.parametrize(
    ("flags", "name", "columns"),
    [
        (["--bits", "4", "--group", "32"], "base-4bit", ["perplexity", "tokens/s", "size, MB"]),
        (["--inputs", "8", "--n", "0"], "base-8bit-inputs", ["perplexity"]),
        (["--name", "small", "--n", "2"], "small", ["look-ups", "instructions"]),
        (["--head", "0", "--n", "0"], "base-8bit", ["perplexity"]),
    ],
)
def test_a_model_of_a_life_is_quantized_once(
    flags: list[str], name: str, columns: list[str], life: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["quantize", "base", "--text", "text.jsonl", "--tokens", "500", "--n", "0", *flags]
    if "--n" in flags:
        words = words[:6] + flags
    assert run(words) == 0
    output = capsys.readouterr().out
    assert all(column in output for column in columns)
    scores = read_json(life / "runs" / f"quantize-{name}" / "scores.json")
    assert scores[name]["perplexity"] == pytest.approx(scores["base"]["perplexity"], rel=0.1)
    assert scores[name]["megabytes"] < scores["base"]["megabytes"]
    assert run(words) == 0
    assert "already been quantized" in capsys.readouterr().out
    assert run(["generate", "Once", "--model", name, "--max-tokens", "5", "--seed", "1"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bits", "3"], "bits"),
        (["--bits", "4"], "has none: pass some with --text"),
        (["--bits", "4", "--inputs", "8", "--method", "nearest"], "require 8-bit weights"),
        (["--bits", "8", "--group", "32"], "omit --group"),
        (["--bits", "4", "--group", "48", "--method", "nearest"], "must divide the 64 weights of every row; got 48"),
        (["--bits", "4", "--text", "nowhere.txt"], "nowhere.txt"),
        (["--name", "tuned"], "choose another --name"),
        (["--tokens", "0"], "--tokens must be at least 1; got 0"),
        (["--n", "-1"], "--n must be from 0 to"),
        (["--inputs", "8", "--outliers", "-1", "--text", "text.jsonl"], "0 to 1; got -1"),
    ],
)
def test_invalid_quantization_options_are_a_user_error(
    words: list[str], message: str, life: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", "base", *words, *(["--n", "0"] if "--n" not in words else [])]) == 2
    output = capsys.readouterr()
    assert message in " ".join((output.err + output.out).split())
    assert "Traceback" not in output.err
    assert [path.name for path in (life / "models").iterdir()] == ["base"]


@pytest.mark.parametrize(
    "words", [["export", "q8"], ["quantize", "q8"], ["merge", "--adapter", "a", "--parent", "q8", "--name", "x"]]
)
def test_quantized_models_are_refused_by_other_acts(
    words: list[str], life: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", "base", "--n", "0", "--name", "q8"]) == 0
    capsys.readouterr()
    assert run(words) == 2
    assert "is quantized to 8 bits and cannot be used here" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [1, 3, 20, 31, 33, 40])
def test_rows_of_any_size_are_multiplied(columns: int) -> None:
    """PyTorch's kernel reads beyond rows that do not fill its vectors, and may crash."""
    generator = torch.Generator().manual_seed(columns)
    x, weight = (
        torch.randn(5, columns, generator=generator),
        torch.randint(-127, 128, (7, columns), generator=generator),
    )
    torch.testing.assert_close(kernels.weights8(x, weight.to(torch.int8)), x @ weight.T.float())
