"""--precision and --deterministic: their effect on results, and what they reject."""

from pathlib import Path

import pytest
import torch

from sayso.base import device as devices
from sayso.base.device import Device, deterministic, fast_bf16_cpu
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.log import RunLog, read_log
from sayso.batch.batch import Batch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.layout import Layout, layout_for, layout_of_plan, precision_on
from sayso.train.loop import Hooks, State, StepRecord, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Session

SHAPE = {"vocab_size": 50, "layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_size": 16, "mlp_width": 64}
CPU = Device("cpu", 1)


def batch(step: int) -> Batch:
    """Rows that count up, with two documents each."""
    ids = (torch.arange(17) + torch.randint(50, (4, 1), generator=torch.Generator().manual_seed(step))) % 50
    documents = (torch.arange(16) > 6).int().expand(4, 16)
    return Batch(ids[:, :-1], ids[:, 1:].clone(), documents)


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, as a loss function of the loop."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


def fresh(mlp: str = "swiglu") -> State:
    """A state before its first step."""
    model = Transformer(ModelConfig(**SHAPE, context=16, mlp=mlp)).initialize(torch.Generator().manual_seed(0))
    return State(model, make_optimizers(model, Rates()))


@pytest.mark.parametrize("mlp", ["swiglu", "relu2"])
def test_bf16_learns_like_fp32_with_fp32_weights(mlp: str) -> None:
    """The losses agree to two percent but are not equal; weights and moments are float32."""
    ends = []
    for precision in ("fp32", "bf16"):
        state, losses = fresh(mlp), []

        def show(shown: StepRecord, to: list[float] = losses) -> None:
            to.append(shown.loss)

        train(state, lambda step: [batch(step)], loss_of, Schedule(20), Hooks(show=show), precision=precision)
        moments = [x for optimizer in state.optimizers for of in optimizer.state.values() for x in of.values()]
        assert {x.dtype for x in [*state.model.parameters(), *moments]} == {torch.float32}
        ends.append(losses)
    exact, rough = ends
    assert exact[-1] < exact[0] - 1
    assert rough == pytest.approx(exact, rel=0.02)
    assert rough != exact


def test_auto_is_fp32_on_a_cpu() -> None:
    """The resolved precision is part of the layout in the plan, and a resumed run keeps it."""
    assert layout_for(Training(), 4, CPU).precision == "fp32"
    assert layout_for(Training(precision="bf16"), 4, CPU).precision == "bf16"
    plan = {"processes": 1, "parts": 1, "precision": "bf16"}
    assert layout_of_plan(plan, Training(micro_rows=2), 4, CPU) == Layout(1, 2, "bf16")
    with pytest.raises(UserError, match="not supported by this 'mps'"):
        precision_on(Device("mps", 1), "bf16")


@pytest.mark.parametrize(
    ("precision", "message"), [("fp16", "without loss scaling"), ("bf1", "'bf16'"), ("int8", "one of")]
)
def test_an_unsupported_precision_is_refused(precision: str, message: str) -> None:
    """The error says why fp16 is not supported, and suggests the nearest name for a typo."""
    with pytest.raises(UserError, match=message):
        precision_on(CPU, precision)


def trained(life: Life, layout: Layout, loss=loss_of, **options: object) -> State:
    """Train in a life; return the final state."""
    state, run = fresh(), Session(life, "pretrain", "base", {}, {})

    class Batches:
        def batch(self, step: int) -> Batch:
            return batch(step)

    log = RunLog(run.folder / "run.jsonl")
    run.train(state, Recipe(Batches(), loss, Schedule(5)), layout, Training(**options), log)  # type: ignore[arg-type]
    return state


def test_the_precision_is_logged_and_a_slow_one_reported(tmp_path: Path, monkeypatch, capsys) -> None:
    """The event `speed` has the precision; bf16 on a CPU without instructions for it is reported once."""
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx512f")
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    trained(Life(tmp_path), Layout(1, 1, "bf16"))
    assert capsys.readouterr().out.count("AVX512-BF16") == 1
    log = read_log(tmp_path / "runs" / "pretrain-base" / "run.jsonl")
    assert [line["precision"] for line in log if line["event"] == "speed"] == ["bf16"]
    (tmp_path / "cpuinfo").write_text("flags : avx512_bf16 avx512f")
    assert fast_bf16_cpu()


@pytest.mark.parametrize("on", [False, True])
def test_two_runs_are_bitwise_equal(on: bool, tmp_path: Path) -> None:
    """On a CPU with the same layout, with --deterministic and without it."""
    one, other = (trained(Life(tmp_path / name), Layout(1, 2), deterministic=on) for name in ("one", "other"))
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_algorithm_is_an_error(tmp_path: Path) -> None:
    """The error has its name and the flag; other errors are not changed."""

    def loss(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))
        return loss_of(model, part)

    with pytest.raises(UserError, match=r"put_.*omit --deterministic"):
        trained(Life(tmp_path), Layout(1, 1), loss, deterministic=True)
    with pytest.raises(RuntimeError, match="other"), deterministic(True):
        raise RuntimeError("other")
