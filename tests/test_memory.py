"""Memory: the estimate agrees with real steps, and an out-of-memory error says which option to lower."""

import multiprocessing
import os
import re
import resource
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from sayso.base.device import Device, bytes_requested, free_memory, out_of_memory
from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.log import RunLog
from sayso.batch.batch import Batch
from sayso.batch.judged import Comparison, JudgedPrompt, collate
from sayso.batch.pairs import PairBatch
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.train.layout import Layout, layout_for
from sayso.train.loop import State, autocast
from sayso.train.memory import GAPS, SPARE, activation_bytes, fixed_bytes, rows_that_fit
from sayso.train.oom import explain_out_of_memory
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Session
from sayso.train.workers import can_fork

linux = pytest.mark.skipif(not can_fork("cpu"), reason="the kernel reports and limits memory on Linux")
T = 256
GPT2 = {
    "mlp": "gelu",
    "positions": "learned",
    "norm": "layer",
    "qk_norm": "none",
    "biases": ("qkv", "out", "mlp"),
    "tie_embeddings": True,
}
GEMMA = {"mlp": "geglu", "norm_place": "both", "logit_cap": 30.0}


def config(**changes: object) -> ModelConfig:
    """Return a shape whose activations are much larger than its weights."""
    shape = {"vocab_size": 300, "layers": 4, "width": 128, "heads": 4, "kv_heads": 4, "head_size": 32, "mlp_width": 512}
    return ModelConfig(**shape | {"context": T} | changes)  # type: ignore[arg-type]


def batch(rows: int) -> Batch:
    """Rows of one document each."""
    ids = torch.randint(300, (rows, T + 1), generator=torch.Generator().manual_seed(0))
    return Batch(ids[:, :-1], ids[:, 1:].clone(), torch.zeros(rows, T, dtype=torch.int32))


def loss_of(model: Transformer, part: Batch) -> tuple[torch.Tensor, int, int]:
    """The next-token loss, as a loss function of the loop."""
    return *next_token_loss(model, part.ids, part.targets, part.documents), part.ids.numel()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"mlp": "relu2"}, {"kv_heads": 2}, {"layers": 8, "width": 64, "heads": 2, "kv_heads": 2}, GPT2, GEMMA],
    ids=["swiglu", "relu2", "grouped", "deep", "gpt2", "gemma"],
)
def test_the_estimate_is_what_autograd_keeps(changes: dict, precision: str) -> None:
    """Within a quarter of the bytes of all distinct tensors that the forward pass of four rows keeps."""
    model, part = Transformer(config(**changes)).initialize(torch.Generator().manual_seed(0)), batch(4)
    weights, kept = {weight.untyped_storage().data_ptr() for weight in model.parameters()}, {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), autocast(torch.device("cpu"), precision):
        next_token_loss(model, part.ids, part.targets, part.documents)
    measured = sum(storage.nbytes() for storage in kept.values())
    assert 4 * activation_bytes(model.config, T, precision) == pytest.approx(measured, rel=0.25)


PEAK = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from sayso.base.device import peak_memory_mb, reset_peak_memory
from test_memory import *
for recompute in (False, True):
    model, part = Transformer(config()).initialize(torch.Generator().manual_seed(0)), batch(24)
    model.recompute = recompute
    loss_of(model, batch(1))[0].backward()  # allocates gradients and the buffers of libraries
    reset_peak_memory()
    before = peak_memory_mb()
    loss_of(model, part)[0].backward()
    print(peak_memory_mb() - before)
"""


@linux
def test_the_estimate_is_near_the_measured_peak() -> None:
    """Within a factor of 1.5 of the additional memory of a forward and backward pass of 24 rows.

    Measured in a process that returns the memory of large tensors to the system, so that gaps are not counted.
    """
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"}
    command = [sys.executable, "-c", PEAK, str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for recompute, measured in zip((False, True), map(float, done.stdout.split()), strict=True):
        estimated = 24 * activation_bytes(config(), T, recompute=recompute) / 2**20
        assert 1 / 1.5 < estimated / measured < 1.5, (recompute, estimated, measured)


def test_rows_fit_if_their_estimate_is_below_the_free_memory() -> None:
    """One more would not fit; recomputing and fewer processes leave room for more."""
    shape, row = config(), activation_bytes(config(), T)
    free = round((fixed_bytes(shape, 2) + 2 * 5.5 * GAPS * row) / SPARE)
    assert rows_that_fit(free, shape, T, 2) == 5
    assert rows_that_fit(free, shape, T, 1) > 10
    assert rows_that_fit(free, shape, T, 2, recompute=True) > 5
    assert rows_that_fit(fixed_bytes(shape), shape, T) == 0


@pytest.mark.parametrize(
    ("error", "is_it", "wanted"),
    [
        (MemoryError(), True, None),
        (RuntimeError("[enforce fail at x] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                      "1200000 bytes. Error code 12"), True, 1_200_000),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"), True, 2_684_354_560),
        (RuntimeError("shapes differ"), False, None),
    ],
)  # fmt: skip
def test_out_of_memory_errors_are_recognized(error: Exception, is_it: bool, wanted: int | None) -> None:
    """Those of Python and torch, with the number of requested bytes."""
    assert out_of_memory(error) is is_it
    assert bytes_requested(str(error)) == wanted


@pytest.mark.parametrize(
    ("layout", "recompute", "message"),
    [
        (Layout(2, 2), False, r"8 rows x 256 tokens, 4 at once in each of 2 processes without .*--micro-rows 2"),
        (Layout(1, 8), False, r"1 at once .*; add --recompute and repeat"),
        (Layout(2, 8), True, r"with --recompute .*; add --processes 1 and repeat"),
        (Layout(1, 8), True, r"a smaller model"),
    ],
)  # fmt: skip
def test_the_error_has_the_settings_and_advice(layout: Layout, recompute: bool, message: str) -> None:
    """First half the rows that failed, then slower alternatives, one by one."""
    with (
        pytest.raises(UserError, match=message),
        explain_out_of_memory(config(), lambda: batch(8), layout, "mps", recompute=recompute),
    ):
        raise MemoryError
    with (
        pytest.raises(RuntimeError, match="shapes"),
        explain_out_of_memory(config(), lambda: batch(8), layout, "cpu", recompute=True),
    ):
        raise RuntimeError("shapes differ")


def test_a_pair_counts_as_one_row_with_both_replies() -> None:
    """--micro-rows counts pairs in an alignment run."""
    pairs = PairBatch(*vars(batch(8)).values())
    explained = explain_out_of_memory(config(), lambda: pairs, Layout(1, 1), "cpu", recompute=False)
    with pytest.raises(UserError, match="4 rows x 512"), explained:
        raise MemoryError


def test_a_prompt_of_a_reward_model_counts_as_one_row_with_all_replies() -> None:
    """--micro-rows counts prompts when training a reward model, however its replies are packed."""
    prompts = [JudgedPrompt([1] * 16, [[2] * 16, [3] * 16], [Comparison(0, 1)])] * 3
    explained = explain_out_of_memory(config(), lambda: collate(prompts), Layout(1, 1), "cpu", recompute=False)
    with pytest.raises(UserError, match="3 rows x 64"), explained:
        raise MemoryError


def limited(folder: Path, micro_rows: int | None, answer: Connection) -> None:
    """Train two steps of 40 rows in little memory; send the error message, or the last step."""
    torch.set_num_threads(1)
    shape = config()
    model = Transformer(shape).initialize(torch.Generator().manual_seed(0))
    state, stage = State(model, make_optimizers(model, Rates())), Session(Life(folder), "pretrain", "base", {}, {})

    class Batches:
        def batch(self, step: int) -> Batch:
            return batch(40)

    options = Training(micro_rows=micro_rows, processes=1)
    room = round(fixed_bytes(shape) + 20 * activation_bytes(shape, T))
    status = Path("/proc/self/status").read_text()
    here = next(int(line.split()[1]) * 2**10 for line in status.splitlines() if line.startswith("VmSize:"))
    resource.setrlimit(resource.RLIMIT_AS, (here + room, here + room))
    layout = layout_for(options, 40, Device("cpu", 1))
    try:
        stage.train(state, Recipe(Batches(), loss_of, Schedule(2)), layout, options, RunLog(stage.folder / "run.jsonl"))
        answer.send(state.step)
    except UserError as error:
        answer.send(str(error))


def result_of(folder: Path, micro_rows: int | None) -> str | int:
    """Return what `limited` sends from another process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=limited, args=(folder, micro_rows, theirs))
    process.start()
    theirs.close()
    answer = ours.recv()
    process.join()
    return answer


@linux
def test_the_advice_makes_a_run_fit(tmp_path: Path) -> None:
    """Under a real memory limit a step fails, and with the suggested --micro-rows it succeeds."""
    message = result_of(tmp_path, None)
    assert isinstance(message, str)
    assert "requested" in message
    found = re.search(r"add --micro-rows (\d+) and repeat", message)
    assert found
    assert 4 <= int(found[1]) < 20
    assert result_of(tmp_path, int(found[1])) == 2


@linux
def test_free_memory_is_known_on_a_cpu() -> None:
    """It is a plausible number, and None for a device that does not report it."""
    free = free_memory("cpu")
    assert free
    assert 10**7 < free < 10**14
    assert free_memory("mps") is None
