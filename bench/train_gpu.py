"""Training on a GPU: tokens per second, share of the peak, memory and lower bound, against `transformers`, in turns.

    python -m bench.train_gpu                                        # both shapes, on CUDA
    python -m bench.train_gpu --device cpu --tiny --backend eager    # the same code, small

Random tokens, full rows, bfloat16 autocast and torch.compile on both sides. Ours is the loop of every stage (the loss
in chunks, Muon and AdamW, clipping, its checks of every step) over compiled hidden states; the peer is a plain loop
with fused AdamW and the best attention available.

MFU is (6 N + 12 L H D T) operations per token, N the weights that a token is multiplied by (all but the embedding),
without subtracting the causal half (PaLM, appendix B), over the dense bfloat16 peak: the one that a large matrix
product reaches here, and the nominal one. The lower bound on time (the "floor") is that count at the measured peak,
Muon's own products at the same, and the optimizers' traffic at the bandwidth of a large copy, without overlap.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
import transformers

from bench.harness import pair, parser, race, result, sized
from bench.peer import Peer, fresh, peer_loss, peer_of
from sayso.base.device import pick_device
from sayso.loss.cross_entropy import linear_cross_entropy
from sayso.model import ModelConfig, Transformer
from sayso.train.loop import Hooks, State, StepRecord, autocast, train
from sayso.train.measure import matmul_peak
from sayso.train.muon import POLAR_EXPRESS, Muon
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule

STEPS, ROUNDS = sized((10, 3), (2, 1))
GPT2 = {"layers": 12, "width": 768, "heads": 12, "kv_heads": 12, "head_size": 64, "mlp_width": 2048, "context": 1024}
LARGE = {"layers": 26, "width": 1664, "heads": 26, "kv_heads": 26, "head_size": 64, "mlp_width": 4416, "context": 2048}
SMALL = {"layers": 2, "width": 64, "heads": 2, "kv_heads": 1, "head_size": 32, "mlp_width": 128, "context": 64}
SHAPES = sized({"124M": (50_304, 16, GPT2), "0.9B": (50_304, 4, LARGE)}, {"tiny": (512, 2, SMALL)})
"""Vocabulary, rows, other fields of the config."""
NOMINAL = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12, "L40S": 362e12}
"""Dense bfloat16 operations per second by the data sheets."""


def main() -> None:
    """Race the shapes, the small one first."""
    arguments = parser("train_gpu")
    arguments.add_argument("--device", default=sized("cuda", "cpu"), choices=("cuda", "cpu"))
    arguments.add_argument("--backend", default=sized("inductor", "eager"), help="backend of torch.compile")
    options = arguments.parse_args()
    device = torch.device(pick_device(options.device).kind)
    peak, bandwidth = matmul_peak(device.type, precision_on(device)), copy_bandwidth(device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    nominal = next((value for kind, value in NOMINAL.items() if kind in name), None)
    figures = {}
    for label, (vocabulary, rows, shape) in SHAPES.items():
        config = ModelConfig(vocab_size=vocabulary, **shape)
        figures[label] = raced(config, rows, device, options.backend, (peak, bandwidth, nominal))
    first = next(iter(figures.values()))
    result(
        "train_gpu", "tokens/s", first["ours"], first["peer"], peer_name=f"transformers {transformers.__version__}",
        shapes=figures,
        device=name, matmul_tflops=round(peak / 1e12, 3), nominal_tflops=nominal and nominal / 1e12,
        copy_gb_s=round(bandwidth / 1e9, 1), backend=options.backend, torch=torch.__version__,
    )  # fmt: skip


def raced(
    config: ModelConfig,
    rows: int,
    device: torch.device,
    backend: str,
    limits: tuple[float, float, float | None],
) -> dict[str, object]:
    """Return the figures of one shape."""
    model = fresh(config)
    attention = "flash_attention_2" if device.type == "cuda" and find_spec("flash_attn") else "sdpa"
    peer = peer_of(model, attention).to(device)
    ids = torch.randint(config.vocab_size, (rows, config.context + 1), generator=torch.Generator().manual_seed(1))
    tokens = rows * config.context
    with torch.no_grad(), autocast(device, precision_on(device)):
        their_loss = float(peer_loss(peer, ids.to(device)))
    ours, state, losses = our_side(model.to(device), ids, STEPS, device, backend)
    theirs, optimizer = their_side(peer, ids.to(device), STEPS, device, backend)
    memory = {"ours": peak_mb(ours, state.optimizers, device), "peer": peak_mb(theirs, [optimizer], device)}
    speeds = race(lambda: ours() * tokens, lambda: theirs() * tokens, rounds=ROUNDS, label=f"{config.width} wide")
    peak, bandwidth, nominal = limits
    work = config.flops_per_token(config.context)
    return {
        **pair(speeds),
        "mfu_of_measured_peak": [round(speed * work / peak, 3) for speed in speeds],
        "mfu_of_nominal_peak": [round(speed * work / nominal, 3) for speed in speeds] if nominal else None,
        "floor_tokens_s": round(tokens / floor_seconds(model, state, tokens, peak, bandwidth)),
        "peak_memory_mb": memory,
        "first_loss": losses[0],
        "first_loss_of_the_peer": their_loss,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "rows": rows,
        "context": config.context,
        "attention_of_the_peer": attention,
    }


def precision_on(device: torch.device) -> str:
    """Return the precision of matrix products, as `sayso pretrain` chooses it."""
    return "bf16" if device.type == "cuda" else "fp32"


def our_side(
    model: Transformer, ids: torch.Tensor, steps: int, device: torch.device, backend: str
) -> tuple[Callable[[], int], State, list[float]]:
    """Return a function that runs steps of ours, its state, and a list to which it appends losses."""
    hidden = torch.compile(model.hidden, fullgraph=True, dynamic=False, backend=backend)
    state, losses = State(model, make_optimizers(model, Rates())), list[float]()
    batch = ids.to(device)

    def loss(model: Transformer, rows: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        targets = rows[:, 1:].flatten()
        found = linear_cross_entropy(hidden(rows[:, :-1]).flatten(0, 1), model.unembed.weight, targets)
        return found, len(targets), len(targets)

    def record(step: StepRecord) -> None:
        losses.append(step.loss)

    def work() -> int:
        state.step = 0
        train(state, lambda _: [batch], loss, Schedule(steps), Hooks(show=record), precision=precision_on(device))
        finish(device)
        return steps

    return work, state, losses


def their_side(
    peer: Peer, ids: torch.Tensor, steps: int, device: torch.device, backend: str
) -> tuple[Callable[[], int], torch.optim.Optimizer]:
    """Return a function that runs as many steps of the peer, and its optimizer."""
    compiled = torch.compile(peer, dynamic=False, backend=backend)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4, fused=True)

    def work() -> int:
        for _ in range(steps):
            with autocast(device, precision_on(device)):
                loss = peer_loss(compiled, ids)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        finish(device)
        return steps

    return work, optimizer


def peak_mb(work: Callable[[], int], optimizers: list[torch.optim.Optimizer], device: torch.device) -> int | None:
    """Return the MB of a side's weights and optimizer plus the peak of its steps above them; GPU only."""
    if device.type != "cuda":
        return None
    work()  # creates the optimizers' state, and autotunes
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    weights = [weight for optimizer in optimizers for group in optimizer.param_groups for weight in group["params"]]
    kept = [value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()]
    own = sum(x.numel() * x.element_size() for x in (*weights, *kept) if isinstance(x, torch.Tensor))
    return round((own + torch.cuda.max_memory_allocated() - before) / 1e6)


def floor_seconds(model: Transformer, state: State, tokens: int, peak: float, bandwidth: float) -> float:
    """Return the minimum seconds of a step: its products, Muon's, and the traffic of updates, without overlap."""
    products = tokens * model.config.flops_per_token(model.config.context)
    traffic = 0
    for optimizer in state.optimizers:
        muon = isinstance(optimizer, Muon)
        for weight in (weight for group in optimizer.param_groups for weight in group["params"]):
            # weight and averages are read and written, the gradient is read and was written
            traffic += weight.numel() * weight.element_size() * (6 if muon else 8)
            if muon:  # x x^T, its square, and the product with x again, each iteration
                short, long = sorted(weight.shape)
                products += len(POLAR_EXPRESS) * (4 * short * short * long + 2 * short**3)
    return products / peak + traffic / bandwidth


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second that a large copy reads and writes."""
    source = torch.ones(2**28 if device.type == "cuda" else 2**22, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(5):
        finish(device)
        began = time.perf_counter()
        target.copy_(source)
        finish(device)
        times.append(time.perf_counter() - began)
    return 2 * source.numel() * source.element_size() / min(times)


def finish(device: torch.device) -> None:
    """Wait until a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
