"""Traces of SmolLM2-135M over 512 tokens, and patching sweeps over layers and 64 positions, against TransformerLens.

`ours` and `peer` are complete traces a second: all activations but what each head writes, as `run_with_cache` keeps
them. Details tell the sweeps a second of `sayso.lens.patch` and of TransformerLens' own, whether their effects agree,
and the memory of a trace: what it returns, and what the process grew by at most.
"""

import gc
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bench.harness import pair, parser, race, result, rounded, say, sized
from bench.lens_peer import bridge_of
from bench.memory import Peak, megabytes
from bench.smollm2 import smollm2
from sayso.lens import LogitDifference, patch, trace
from sayso.model import Transformer

TIME, POSITIONS = sized((512, 64), (16, 6))
ROUNDS = sized(5, 1)


def main() -> None:
    """Race traces, then sweeps, and tell the memory of a trace."""
    parser("lens_speed", __doc__).parse_args()
    model, _ = smollm2()
    model.eval()
    bridge = bridge_of(model)
    vocabulary = model.config.vocab_size
    ids = torch.randint(vocabulary, (1, TIME), generator=torch.Generator().manual_seed(1))
    ours, peer = race(traced(model, ids), traced_by_peer(bridge, ids), rounds=ROUNDS, label="traces a second")
    memory = {
        "ours": memory_of(lambda: trace(model, ids).activations),
        "peer": memory_of(lambda: bridge.run_with_cache(ids)[1].cache_dict),
    }
    sweeps, difference = swept(model, bridge)
    result(
        "lens_speed", "traces/s", ours, peer, tokens=TIME, memory_mb=memory, sweeps_a_second=sweeps,
        largest_difference_of_effects=difference, layers=model.config.layers, positions=POSITIONS,
    )  # fmt: skip


def traced(model: Transformer, ids: Tensor) -> Callable[[], float]:
    """Return our trace, as one unit of work."""

    def work() -> float:
        trace(model, ids)
        return 1.0

    return work


def traced_by_peer(bridge: Any, ids: Tensor) -> Callable[[], float]:
    """Return the peer's trace, as one unit of work."""

    def work() -> float:
        with torch.no_grad():
            bridge.run_with_cache(ids)
        return 1.0

    return work


def memory_of(run: Callable[[], dict[str, Tensor]]) -> dict[str, float]:
    """Return the megabytes of what a trace returns, each storage once, and the largest growth of the process."""
    gc.collect()
    before = megabytes(os.getpid())
    with Peak() as peak, torch.no_grad():
        found = run()
    return rounded({"returned": bytes_of(found.values()) / 1e6, "growth": max(0.0, peak.megabytes - before)})


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of the storages of tensors, each once."""
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}.values())


def swept(model: Transformer, bridge: Any) -> tuple[dict[str, float], float]:
    """Return the sweeps a second of both, and the largest difference of their effects; one sweep each."""
    from transformer_lens.patching import get_act_patch_resid_pre

    generator = torch.Generator().manual_seed(2)
    corrupt, clean = (torch.randint(model.config.vocab_size, (1, POSITIONS), generator=generator) for _ in range(2))
    metric = LogitDifference(3, 4)
    patch(model, corrupt[:, :4], clean[:, :4], metric)  # warms up
    began = time.perf_counter()
    ours = patch(model, corrupt, clean, metric)
    between = time.perf_counter()
    with torch.no_grad():
        _, cache = bridge.run_with_cache(clean)
        theirs = get_act_patch_resid_pre(bridge, corrupt, cache, lambda logits: metric(logits[:, -1]).mean())
    ended = time.perf_counter()
    say(f"sweeps: ours {between - began:.1f} s, peer {ended - between:.1f} s")
    speeds = pair((1 / (between - began), 1 / (ended - between)))
    return speeds, (ours - theirs).abs().max().item()


if __name__ == "__main__":
    main()
