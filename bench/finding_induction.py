"""Induction heads form suddenly while a model trains, and with them it learns to repeat (Olsson et al. 2022).

    python -m bench.finding_induction [--pictures FOLDER]

A model of two layers trains on random rows that occur twice. `ours` is the highest induction score of its heads at the
end, `peer` that of the untrained model.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import parser, result, save_picture, say, sized
from sayso.lens import head_scores, repeated_ids
from sayso.model import ModelConfig, Transformer
from sayso.report.chart import COLORS, Panel, Series, picture

SHAPE = ModelConfig(64, 2, 64, 4, 4, 16, 16, context=48, qk_norm="none", mlp="gelu")
STEPS, EVERY = sized((600, 10), (4, 2))
IGNORED = -100
Batch = Callable[[int], tuple[Tensor, Tensor]]


def main() -> None:
    """Train, follow the heads, and draw them."""
    arguments = parser("finding_induction", __doc__)
    arguments.add_argument("--pictures", type=Path, default=Path("docs/images"), help="folder of the picture")
    given = arguments.parse_args()
    model = Transformer(SHAPE).initialize(torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    held_out = repeated_ids(model, 20, rows=32, generator=generator)
    losses: list[tuple[float, float]] = []
    scores: dict[str, list[tuple[float, float]]] = {"induction": [], "previous token": []}

    def batch(step: int) -> tuple[Tensor, Tensor]:
        length = 4 + step % 16
        rows = repeated_ids(model, length, rows=64, generator=generator)
        targets = rows[:, 1:].clone()
        targets[:, :length] = IGNORED  # only what the first half tells can be known
        return rows[:, :-1], targets

    def watch(step: int) -> None:
        with torch.no_grad():
            loss = F.cross_entropy(model(held_out[:, :-1])[:, 20:].flatten(0, 1), held_out[:, 21:].flatten())
        heads = head_scores(model, held_out)
        losses.append((float(step), float(loss)))
        scores["induction"].append((float(step), float(heads.induction.max())))
        scores["previous token"].append((float(step), float(heads.previous.max())))
        say(f"step {step}: loss {loss:.3f}, induction {scores['induction'][-1][1]:.2f}")

    train(model, batch, STEPS, watch, EVERY)
    lines = [Series(name, points, COLORS[number]) for number, (name, points) in enumerate(scores.items())]
    panels = [
        Panel("Loss of the repeated half", "step", "nats per token", [Series("", losses)]),
        Panel("The strongest head", "step", "attention", lines, y_range=(0, 1)),
    ]
    save_picture(given.pictures / "finding-induction.svg", picture("Induction heads form", panels))
    heads = head_scores(model, held_out)
    result(
        "finding_induction", "highest induction score", round(scores["induction"][-1][1], 3),
        round(scores["induction"][0][1], 3), peer_name="untrained",
        loss=[round(losses[0][1], 3), round(losses[-1][1], 3)], steps=STEPS,
        induction=[[round(x, 2) for x in row] for row in heads.induction.tolist()],
        previous_token=[[round(x, 2) for x in row] for row in heads.previous.tolist()],
    )  # fmt: skip


def train(model: Transformer, batch: Batch, steps: int, watch: Callable[[int], None], every: int) -> None:
    """Train with AdamW; a batch is ids [B, T] and targets [B, T] (-100 = not trained on). `watch` also sees the end."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for step in range(steps):
        if step % every == 0:
            watch(step)
        ids, targets = batch(step)
        loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    watch(steps)


if __name__ == "__main__":
    main()
