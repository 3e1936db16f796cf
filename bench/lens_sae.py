"""Variance explained by a sparse autoencoder of ours and one of SAELens' trainer: same activations, same time.

`python -m bench.lens_sae MODEL TEXT` trains TopK autoencoders on the stream in the middle of a model, on a text file.
Each side trains with each learning rate for the same time, with a full schedule; its best one on the training
activations counts, measured on held-out ones. `ours` and `peer` are variance explained; details tell dead features,
steps, and whether each reads the other's files. SAELens needs an older TransformerLens than the other benches, so its
environment is one of its own: `pip install -e '.[bench-sae]'`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import sayso
from bench.harness import TINY, parser, result, rounded, say, sized
from bench.smollm2 import TEXT, smollm2
from sayso.lens import (
    ActivationPlace,
    AutoencoderTraining,
    Quality,
    SparseAutoencoder,
    activation_batches,
    fit_autoencoder,
    load_autoencoder,
    measure_autoencoder,
    save_autoencoder,
)

ROWS, TIME = sized((2048, 128), (24, 16))
ACTIVATIONS, HELD_OUT = sized((200_000, 20_000), (256, 64))
SECONDS = sized(120.0, 0.2)
RATES = sized((3e-4, 1e-3, 3e-3), (1e-3,))
SETTINGS = sized(
    AutoencoderTraining(features=4096, k=32, batch=2048), AutoencoderTraining(features=32, k=4, batch=64, dead_after=5)
)
Trained = tuple[SparseAutoencoder, dict[str, float]]


def main() -> None:
    """Train both, and compare them on held-out activations."""
    arguments = parser("lens_sae", __doc__)
    arguments.add_argument("model", nargs="?", help="folder of a model")
    arguments.add_argument("text", nargs="?", type=Path, help="text file")
    given = arguments.parse_args()
    train, held_out, place = activations(given.model, given.text)
    with tempfile.TemporaryDirectory() as folder:
        ours = best(lambda rate: trained(train, place, rate), train, held_out, "ours")
        peer = best(lambda rate: trained_by_peer(train, rate, Path(folder) / f"peer-{rate:g}"), train, held_out, "peer")
        files = read_by_peer(ours[0], held_out, Path(folder) / "ours")
    figures = {"ours": facts(*ours), "peer": facts(*peer)}
    result(
        "lens_sae", "variance explained", ours[1].variance_explained, peer[1].variance_explained, sides=figures,
        place=place.name, activations=len(train), features=SETTINGS.features, k=SETTINGS.k, seconds=SECONDS,
        difference_when_the_peer_reads_our_file=files,
    )  # fmt: skip


def activations(folder: str | None, text: Path | None) -> tuple[Tensor, Tensor, ActivationPlace]:
    """Return activations to train on and held-out ones, and where they are from."""
    if TINY or folder is None or text is None:
        module, tokenizer = smollm2()
        content = TEXT * 50
    else:
        opened = sayso.load(folder)
        module, tokenizer, content = opened.module, opened.tokenizer, text.read_text(encoding="utf-8")
    ids = torch.tensor(tokenizer.encode(content))
    rows = ids[: len(ids) // TIME * TIME].view(-1, TIME)[:ROWS]
    name = f"blocks.{module.config.layers // 2}.hook_resid_post"
    batches = activation_batches(module, rows, name, HELD_OUT, generator=torch.Generator().manual_seed(0))
    found = torch.cat([*islice(batches, 1 + -(-ACTIVATIONS // HELD_OUT))])
    return found[HELD_OUT:], found[:HELD_OUT], ActivationPlace(name)


def batches(train: Tensor) -> Iterator[Tensor]:
    """Yield batches of activations, shuffled in each round, forever; both sides get the same."""
    generator = torch.Generator().manual_seed(1)
    while True:
        for part in torch.randperm(len(train), generator=generator).split(SETTINGS.batch):
            if len(part) == SETTINGS.batch:
                yield train[part]


def best(
    train_one: Callable[[float], Trained], train: Tensor, held_out: Tensor, label: str
) -> tuple[SparseAutoencoder, Quality, dict[str, float]]:
    """Return the autoencoder of the rate that explains most of the training activations, and its held-out quality."""
    found = []
    for rate in RATES:
        autoencoder, told = train_one(rate)
        seen = measure_autoencoder(autoencoder, train[:HELD_OUT].split(4096))
        say(f"{label}, rate {rate:g}: variance explained {seen.variance_explained:.4f}, {told['steps']:.0f} steps")
        found.append((seen.variance_explained, autoencoder, told | {"rate": rate}))
    _, autoencoder, told = max(found, key=lambda each: each[0])
    return autoencoder, measure_autoencoder(autoencoder, held_out.split(4096)), told


def steps_in(run: Callable[[int], float], few: int = 4) -> int:
    """Return how many steps fit the time, by the seconds that a few take."""
    run(1)
    return max(few, int(SECONDS / run(few) * few))


def trained(train: Tensor, place: ActivationPlace, rate: float) -> Trained:
    """Return an autoencoder that our trainer made in the time."""

    def run(steps: int) -> tuple[SparseAutoencoder, float]:
        began = time.perf_counter()
        settings = replace(SETTINGS, rate=rate, steps=steps)
        found = fit_autoencoder(batches(train), place, settings, generator=torch.Generator().manual_seed(2))
        return found, time.perf_counter() - began

    steps = steps_in(lambda few: run(few)[1])
    found, seconds = run(steps)
    return found, {"steps": steps, "seconds": seconds}


def trained_by_peer(train: Tensor, rate: float, folder: Path) -> Trained:
    """Return an autoencoder that SAELens' trainer made in the time, from its file."""

    def run(steps: int) -> tuple[Any, float]:
        trainer = peer_trainer(train, rate, steps)
        began = time.perf_counter()
        found = trainer.fit()
        return found, time.perf_counter() - began

    steps = steps_in(lambda few: run(few)[1])
    found, seconds = run(steps)
    found.save_inference_model(folder)
    return load_autoencoder(folder), {"steps": steps, "seconds": seconds}


def peer_trainer(train: Tensor, rate: float, steps: int) -> Any:
    """Return SAELens' trainer of a TopK autoencoder, with its normalization and a final decay like ours."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(2)
    shape = TopKTrainingSAEConfig(
        d_in=train.shape[1], d_sae=SETTINGS.features, k=SETTINGS.k, normalize_activations="expected_average_only_in"
    )
    how = SAETrainerConfig(
        total_training_samples=steps * SETTINGS.batch, train_batch_size_samples=SETTINGS.batch, lr=rate,
        lr_end=rate / 10, lr_decay_steps=steps // 5, n_batches_for_norm_estimate=1,
        dead_feature_window=SETTINGS.dead_after,
    )  # fmt: skip
    return SAETrainer(how, TopKTrainingSAE(shape), batches(train))


def read_by_peer(autoencoder: SparseAutoencoder, x: Tensor, folder: Path) -> float:
    """Return the largest difference of the sums of features when SAELens reads our file."""
    from sae_lens import SAE

    peer = SAE.load_from_disk(save_autoencoder(autoencoder, folder))
    with torch.no_grad():
        return (peer(x) - autoencoder(x)).abs().max().item()


def facts(_: SparseAutoencoder, quality: Quality, told: dict[str, float]) -> dict[str, float]:
    """Return the figures of one side."""
    found = {"variance_explained": quality.variance_explained, "dead": quality.dead, "active": quality.active}
    return rounded(found | told)


if __name__ == "__main__":
    main()
