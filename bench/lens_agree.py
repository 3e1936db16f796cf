"""Whether activations equal those of TransformerLens, name by name, for small random models with the same weights.

`ours` counts the names whose values differ by at most 1e-4, `peer` the names that both have; details name
the largest difference of each model and the names that the peer has no value for. The peer keeps norms of queries and
keys as [B, H, T, D] and is transposed.
"""

from dataclasses import replace

import torch
from torch import Tensor

from bench.harness import parser, result, say, sized
from bench.lens_peer import bridge_of
from bench.peer import fresh
from sayso.lens import trace
from sayso.model import ModelConfig, Transformer

TOLERANCE = 1e-4
VOCABULARY = 300
LAYERS, WIDTH, TIME = sized((4, 128, 48), (2, 32, 12))
LLAMA = ModelConfig(VOCABULARY, LAYERS, WIDTH, 4, 2, WIDTH // 4, 3 * WIDTH // 2, context=64, qk_norm="none")
SHAPES = {
    "llama": LLAMA,
    "qwen3": replace(LLAMA, qk_norm="head"),
    "gpt2": replace(
        LLAMA, kv_heads=4, mlp="gelu", positions="learned", norm="layer", tie_embeddings=True,
        biases=("qkv", "out", "mlp"),
    ),
}  # fmt: skip


def main() -> None:
    """Compare all shapes, and tell how many names agree."""
    parser("lens_agree", __doc__).parse_args()
    equal, compared, details = 0, 0, {}
    ids = torch.randint(VOCABULARY, (2, TIME), generator=torch.Generator().manual_seed(1))
    for shape, config in SHAPES.items():
        model = fresh(config).eval()
        theirs, ours = cached(model, ids), trace(model, ids, "*")
        differences = {name: difference(ours[name], theirs[name]) for name in ours if name in theirs}
        worst = max(differences, key=lambda name: differences[name])
        equal += sum(value <= TOLERANCE for value in differences.values())
        compared += len(differences)
        lacking = sorted({name.split(".", 2)[-1] for name in ours if name not in theirs})
        details[shape] = {"names": len(differences), "largest": differences[worst], "of": worst, "lacking": lacking}
        say(f"{shape}: {len(differences)} names, the largest difference {differences[worst]:.1e} in {worst}")
    result("lens_agree", "names", equal, compared, tolerance=TOLERANCE, **details)


def cached(model: Transformer, ids: Tensor) -> dict[str, Tensor]:
    """Return the cache of TransformerLens for a copy of a model, and its logits."""
    with torch.no_grad():
        logits, cache = bridge_of(model).run_with_cache(ids)
    return {**cache, "logits": logits}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest absolute difference, infinity for another shape or another mask."""
    if ours.shape != theirs.shape and theirs.dim() == 4:
        theirs = theirs.transpose(1, 2)
    if ours.shape != theirs.shape:
        return float("inf")
    visible = ours.isfinite()
    masked = theirs[~visible]
    if masked.numel() and masked.max() > -1e30:  # -inf or the lowest number
        return float("inf")
    return (ours[visible] - theirs[visible]).abs().max().item()


if __name__ == "__main__":
    main()
