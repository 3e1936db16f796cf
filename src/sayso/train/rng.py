"""The state of a process's global random generators as tensors, which checkpoints store.

Batches and samples use their own generators; random operations inside a step, such as dropout, use the global ones.
"""

import random

import numpy as np
import torch
from torch import Tensor

GAUSS = "gauss"  # the cached second value of a pair of normal samples, if there is one


def seed_all(seed: int) -> None:
    """Seed every random generator: Python's, NumPy's, torch's, and that of each GPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """Return the state of every random generator, by name."""
    _, words, gauss = random.getstate()
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    numpy = state["state"]
    found = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.tensor([*numpy["key"].tolist(), numpy["pos"], state["has_gauss"]], dtype=torch.int64),
        f"numpy.{GAUSS}": torch.tensor([state["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if gauss is not None:
        found[f"python.{GAUSS}"] = torch.tensor([gauss], dtype=torch.float64)
    if torch.cuda.is_available():
        found |= {f"cuda.{number}": gpu for number, gpu in enumerate(torch.cuda.get_rng_state_all())}
    return found


def set_random_state(found: dict[str, Tensor]) -> None:
    """Restore the state that `random_state` returned; skips the state of a GPU that this machine lacks."""
    gauss = found.get(f"python.{GAUSS}")
    random.setstate((3, tuple(found["python"].tolist()), None if gauss is None else gauss.item()))
    *key, pos, has_gauss = found["numpy"].tolist()
    numpy = {"key": np.array(key, np.uint32), "pos": pos}
    cached = found[f"numpy.{GAUSS}"].item()
    np.random.set_state({"bit_generator": "MT19937", "state": numpy, "has_gauss": has_gauss, "gauss": cached})
    torch.set_rng_state(found["torch"])
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{number}" in found:
            torch.cuda.set_rng_state(found[f"cuda.{number}"], number)
