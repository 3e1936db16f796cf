"""The roofline: arithmetic equals torch's count, prices equal their definitions, and the command predicts a speed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.law.roofline import machine as machine_module
from sayso.law.roofline.engine import EngineCosts, predict_engine
from sayso.law.roofline.machine import Machine, Rate, seconds_of
from sayso.law.roofline.operations import Operation, recorded, total_flops
from sayso.law.roofline.price import price, priced
from sayso.law.roofline.products import Product, forward_flops, forward_products
from sayso.law.roofline.works import Beginning, Speed, training_speed
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.autograd import plain_autograd
from sayso.token.train import train
from sayso.weights.folder import save_model

OURS = ModelConfig(320, 2, 64, 4, 2, 16, 96, context=256)
SHAPES = {
    "ours": OURS,
    "gpt2": replace(
        OURS, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", biases=("qkv", "out", "mlp")
    ),
    "one layer": replace(OURS, layers=1, mlp="relu2"),
}
MACHINE = Machine(
    "cpu",
    1,
    {"torch": [Rate(16, 64, 64, 1e9), Rate(1024, 64, 64, 4e9)], "oneDNN": [Rate(16, 64, 64, 2e9)]},
    {
        "element": [(2**power, 1e-6 + 2**power / 1e9) for power in range(10, 28)],
        "exponential": [(2**power, 1e-6 + 2**power / 1e8) for power in range(10, 28)],
        "index": [(2**power, 1e-6 + 2**power / 5e8) for power in range(10, 28)],
    },
    {"attention": [(64, 1e9), (256, 2e9)], "attention backward": [(64, 1e9)]},
)


@pytest.fixture
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.mark.parametrize("config", SHAPES, indirect=True)
@pytest.mark.parametrize(("rows", "tokens"), [(1, 128), (3, 64)])
def test_arithmetic_is_that_of_torch(config: ModelConfig, rows: int, tokens: int) -> None:
    """Forward and backward, to 1 %, with torch's own products."""
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    ids = torch.randint(0, config.vocab_size, (rows, tokens))
    with FlopCounterMode(display=False) as forward, plain_autograd(), torch.no_grad():
        model(ids)
    assert forward.get_total_flops() == pytest.approx(forward_flops(config, rows, tokens), rel=0.01)
    with FlopCounterMode(display=False) as both, plain_autograd():
        model(ids).sum().backward()
    assert both.get_total_flops() == pytest.approx(3 * forward_flops(config, rows, tokens), rel=0.01)


def test_recorded_operations_have_torchs_arithmetic() -> None:
    """With the model's own products too, which torch's counter does not know."""
    model = Transformer(OURS).initialize(torch.Generator().manual_seed(0))
    ids = torch.randint(0, OURS.vocab_size, (2, 64))
    with torch.no_grad():
        model(ids)  # the first call also tests which product to use
        found = recorded(lambda: model(ids))
    assert total_flops(found) == pytest.approx(forward_flops(OURS, 2, 64), rel=0.01)


def test_an_operation_has_its_shape_and_bytes() -> None:
    a, b, bias = torch.ones(3, 5), torch.ones(5, 7), torch.ones(7)
    mm, addmm, exp, pick = recorded(lambda: (a @ b, torch.addmm(bias, a, b), a.exp(), a[torch.tensor([0, 2])]))[:4]
    assert (mm.kind, mm.shape, mm.flops, mm.bytes) == ("product", (3, 5, 7), 210, 4 * (15 + 35 + 21))
    assert (addmm.shape, addmm.bytes) == ((3, 5, 7), 4 * (7 + 15 + 35 + 21))
    assert (exp.kind, exp.flops, exp.bytes) == ("exponential", 0, 4 * 30)
    assert pick.kind in ("index", "element")
    batch = recorded(lambda: torch.ones(2, 3, 5) @ torch.ones(2, 5, 7))
    assert [one.flops for one in batch if one.kind == "product"] == [420]


def test_views_are_not_operations() -> None:
    a = torch.ones(3, 5)
    assert recorded(lambda: a.T.reshape(5, 3)[1:].unsqueeze(0)) == []


def test_attention_is_recorded_with_its_length() -> None:
    q = torch.ones(1, 2, 8, 4, requires_grad=True)
    found = recorded(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward())
    forward = next(one for one in found if one.kind == "attention")
    backward = next(one for one in found if one.kind == "attention backward")
    assert forward.shape == backward.shape == (8, 4, 8)
    assert forward.flops == 4 * 2 * 8 * 8 * 4
    assert backward.flops == pytest.approx(2.5 * forward.flops)


def test_the_roofline_by_hand() -> None:
    """[8, 4] times [4, 2] in float32: 128 operations, 4 * (32 + 8 + 16) bytes."""
    one = Product("x", 8, 4, 2, 1)
    assert (one.flops, one.bytes) == (128, 224)
    assert one.attainable(1000, 10) == pytest.approx(128 / 224 * 10)
    assert one.attainable(1, 10) == 1
    assert (one.bound(1000, 10), one.bound(1, 10)) == ("memory", "compute")
    assert one.bound(one.intensity * 10, 10) == "compute"
    assert Product("x", 8, 4, 2, 3).flops == 384


def test_windows_and_kept_tokens_limit_attention() -> None:
    """Two layers, one of which sees 8 tokens."""
    config = replace(OURS, windows=(8, 0))
    found = {(one.name, one.inputs, one.outputs): one for one in forward_products(config, 2, 1, 100)}
    assert found["scores", 16, 8].count == found["scores", 16, 101].count == 2 * 4
    assert found["values", 101, 16].rows == 1
    assert found["head", 64, 320].rows == 2
    assert forward_products(config, 2, 5, heads_of=3)[5].rows == 3


def test_a_price_is_the_larger_of_compute_and_memory() -> None:
    """By hand, on a machine whose figures are round."""
    big = Operation("mm", "product", 2 * 1024 * 64 * 64, 4096, (1024, 64, 64))
    assert price(big, MACHINE) == (pytest.approx(big.flops / 4e9, rel=1e-3), "compute")
    ours = Operation("_linear_pointwise", "product", 2 * 16 * 64 * 64, 4096, (16, 64, 64))
    assert price(ours, MACHINE)[0] == pytest.approx(ours.flops / 2e9, rel=1e-3)
    wide = Operation("mm", "product", 1000, 2**22, (16, 64, 64))
    assert price(wide, MACHINE) == (pytest.approx(1e-6 + 2**22 / 1e9), "memory")
    tiny = Operation("mm", "product", 10, 100, (1, 1, 1))
    assert price(tiny, MACHINE) == (MACHINE.launch, "launch")
    soft = Operation("_softmax", "exponential", 0, 2**20)
    assert price(soft, MACHINE) == (pytest.approx(1e-6 + 2**20 / 1e8), "memory")
    assert price(Operation("add", "element", 0, 16), MACHINE)[1] == "launch"
    flash = Operation("sdpa", "attention", 10**6, 100, (128, 16, 128))
    assert price(flash, MACHINE)[0] == pytest.approx(10**6 / math.sqrt(2) / 1e9, rel=1e-6)
    later = priced([big, soft], MACHINE, begin=0.5)
    assert (later.seconds, later.by_bound["launch"]) == (pytest.approx(1, abs=0.1), 1)
    total = priced([big, soft], MACHINE)
    assert total.seconds == pytest.approx(price(big, MACHINE)[0] + price(soft, MACHINE)[0])
    assert total.bound == "memory"


def test_rates_are_interpolated_between_measured_sizes() -> None:
    assert MACHINE.moving("element", 2**20) == pytest.approx(1e-6 + 2**20 / 1e9)
    assert MACHINE.moving("element", 2**30) == pytest.approx(8 * MACHINE.moving("element", 2**27))
    assert MACHINE.moving("element", 1) == MACHINE.moving("element", 2**10)
    assert MACHINE.attending("attention", 4096) == 2e9
    assert MACHINE.multiplying("torch", 128, 64, 64) == pytest.approx(2e9, rel=1e-3), "half way, in logarithms"
    assert MACHINE.peak == 4e9


def test_a_step_of_the_engine_by_hand() -> None:
    config = replace(OURS, windows=(8, 0))
    weights = 4 * config.matmul_parameters
    costs = EngineCosts({2: 1.0}, {2: 0.5}, {2: [(weights // 2, 1e-6), (weights * 2, 3e-6)]}, 1e6)
    kept = 4 * 2 * 2 * (8 + 100) * config.kv_heads * config.head_size
    expected = 1 + 2 * 0.5 + weights * 2e-6 + kept / 1e6
    assert predict_engine(config, 2, 100, costs) == pytest.approx(expected)


def test_seconds_are_the_median_of_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five repetitions that last at least 10 ms each; a slow one does not count."""
    clock, calls = [0.0], [0]
    monkeypatch.setattr(machine_module.time, "perf_counter", lambda: clock[0])

    def work() -> None:
        calls[0] += 1
        clock[0] += 1.0 if calls[0] == 9 else 0.002

    assert seconds_of(work) == pytest.approx(0.002)
    assert calls[0] == 2 + 5 * 5


def test_an_update_has_the_arithmetic_of_its_forward_and_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is predicted for a step is the difference between three and two steps: one, with its update."""
    seen: list[int] = []
    monkeypatch.setattr(
        "sayso.law.roofline.works.priced",
        lambda found, machine, begin: seen.append(total_flops(found)) or priced(found, machine, begin),
    )
    speed = training_speed(OURS, 2, 64, MACHINE, Beginning(0.0, 1e-3))
    model = Transformer(OURS)
    ids = torch.randint(0, OURS.vocab_size, (2, 64))
    step = recorded(lambda: next_token_loss(model, ids, ids, torch.zeros(2, 64, dtype=torch.int32))[0].backward())
    assert seen[0] - seen[1] >= total_flops(step), "and the optimizer's products"
    assert speed.tokens == 128
    assert speed.measured > 0


def test_the_error_is_relative() -> None:
    assert Speed("x", 1, 1.2, 1.0, "memory").error == pytest.approx(0.2)


def test_the_command_measures_and_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """On a few sizes: it prints the bounds, stores the machine and draws the roofline."""
    for name, value in {"ROWS": (1, 64), "WEIGHTS": ((32, 64),), "LENGTHS": (32,), "SECONDS": 1e-4}.items():
        monkeypatch.setattr(machine_module, name, value)
    monkeypatch.setattr("sayso.law.roofline.engine.WEIGHTS", (2**14, 2**16))
    monkeypatch.setattr("sayso.law.roofline.engine.STEPS", 4)
    life = Life(tmp_path / "life")
    tokenizer = train("bpe", ["the cat sat on the mat. " * 9], 300)
    model = Transformer(replace(OURS, vocab_size=tokenizer.vocab_size)).initialize(torch.Generator().manual_seed(0))
    save_model(model, tokenizer, life.model("base"), {"stage": "base"})
    out = tmp_path / "roof.svg"
    assert run(["law", "gemm", "--life", str(life.root), "--tokens", "48", "--device", "cpu", "--out", str(out)]) == 0
    told = capsys.readouterr()
    for word in ("GFLOP/s", "prompt of 48", "decoding 16", "training on 4 x 48", "predicted tokens/s"):
        assert word in told.out + told.err
    stored = json.loads((life.run("law") / "machine.json").read_text())
    assert stored["threads"] == torch.get_num_threads()
    assert "The roofline" in out.read_text()
    assert run(["law", "gemm", "--life", str(life.root), "--out", str(out)]) == 2
    assert "already exists" in " ".join(capsys.readouterr().err.split())
