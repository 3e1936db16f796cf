"""Maps by neighbours, and the change of embeddings over snapshots, against their definitions."""

import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.lens import embedding_change, neighbor_map
from sayso.model import ModelConfig, Transformer

SHAPE = ModelConfig(40, 1, 16, 2, 2, 8, 16, context=16)


def with_table(table: Tensor) -> Transformer:
    """Return a model with these embeddings."""
    model = Transformer(SHAPE).initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.embed.weight.copy_(table)
    return model


def test_change_by_hand() -> None:
    """A turned and scaled table keeps all neighbours; only scaled, all cosines are 1 too."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(40, 16, generator=generator)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    found = embedding_change([with_table(table), with_table(2 * table), with_table(table @ turn)], k=4)
    assert found.cosines[:2] == pytest.approx(1, abs=1e-5)
    assert found.cosines[2].abs().mean() < 0.6
    torch.testing.assert_close(found.norms[1], 2 * found.norms[0])
    torch.testing.assert_close(found.kept, torch.ones(3, 40))
    torch.testing.assert_close(found.shares[2], found.shares[0], rtol=1e-4, atol=1e-4)
    sizes = torch.linalg.svdvals(table - table.mean(0)).square()
    torch.testing.assert_close(found.shares[0], sizes[:10] / sizes.sum())


def test_kept_neighbours_are_counted() -> None:
    """Four pairs of equal directions; two of them change partners, and one keeps its own."""
    base = torch.eye(16)[:4].repeat_interleave(2, 0) + 0.01 * torch.eye(16)[4:12]
    swapped = base.clone()
    swapped[[1, 3]] = base[[3, 1]]
    tables = [torch.cat([one, 9 * torch.ones(32, 16)]) for one in (base, swapped)]
    found = embedding_change([with_table(one) for one in tables], tokens=range(8), k=1)
    assert found.kept[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.kept.shape == (2, 8)


@pytest.mark.parametrize("count", [0, 1])
def test_one_snapshot_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"at least two snapshots .* got {count} "):
        embedding_change([with_table(torch.ones(40, 16))] * count)


def test_snapshots_of_other_shapes_are_refused() -> None:
    other = Transformer(ModelConfig(41, 1, 16, 2, 2, 8, 16, context=16)).initialize(torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=r"\(40, 16\), \(41, 16\)"):
        embedding_change([with_table(torch.ones(40, 16)), other])
    with pytest.raises(UserError, match="k must be from 1 to 39; got 40"):
        embedding_change([with_table(torch.ones(40, 16))] * 2, k=40)


def test_a_map_by_neighbours_asks_umap_for_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thread and a seed, so that it is the same each time."""
    asked: dict[str, Any] = {}

    class Umap:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, x: Any) -> Any:
            return np.asarray(x)[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    vectors = torch.randn(5, 4, 8)
    assert torch.equal(neighbor_map(vectors, 3, seed=7), vectors[..., :2])
    assert asked == {"n_components": 2, "n_neighbors": 3, "metric": "cosine", "random_state": 7, "n_jobs": 1}


BUNDLES = """
import torch
from sayso.lens import neighbor_map
centers = 5 * torch.eye(16)[:3].repeat_interleave(8, 0)
points = neighbor_map(centers + 0.3 * torch.randn(24, 16, generator=torch.Generator().manual_seed(0)), 5)
distances = torch.cdist(points, points)
same = torch.arange(24)[:, None] // 8 == torch.arange(24) // 8
print(distances[same].max().item(), distances[~same].min().item())
"""


def test_a_map_by_neighbours_keeps_groups_apart() -> None:
    """Three bundles of directions are three groups; compiling UMAP first would take longer than running it so."""
    if find_spec("umap") is None:
        pytest.skip("pip install 'sayso[maps]'")
    interpreted = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    told = subprocess.run([sys.executable, "-c", BUNDLES], env=interpreted, capture_output=True, text=True, check=True)
    within, between = map(float, told.stdout.split())
    assert within < between


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(UserError, match="needs from 2 to 4 neighbors; got 5"):
        neighbor_map(torch.randn(5, 8), 5)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"sayso\[maps\]"):
        neighbor_map(torch.randn(9, 8), 3)
