"""Makes the reference of an alignment run: a copy of the parent, the policy without adapters, or a cached table.

The table is computed before the first step and reused in all epochs and after a resume. It is stored with the hashes of
the weights and the comparisons, and rejected if they differ.
"""

from copy import deepcopy
from pathlib import Path

from sayso.align.pairs.preference import both_sides
from sayso.align.pairs.reference import Cached, Frozen, PreferenceReference, load_tables, save_tables, table_of
from sayso.align.pairs.sources import Comparisons, mark_of
from sayso.base.files import sha256
from sayso.base.log import say
from sayso.model import Transformer

_FILE = "reference.safetensors"


def make_references(
    kind: str | None, folder: Path, model: Transformer, weights: Path, data: Comparisons, *, adapted: bool
) -> tuple[PreferenceReference | None, PreferenceReference | None]:
    """Return the references for the training data and for the held-out data.

    For an adapted model, it is the model with the adapters disabled. Otherwise `kind` is copy, cache, or None for no
    reference. Raises `UserError` for a table computed from other weights or comparisons.
    """
    if kind == "cache" and not adapted:
        return _cached(folder / _FILE, model, weights, data)
    if adapted or kind:
        frozen = Frozen(None if adapted else deepcopy(model).requires_grad_(False))
        return frozen, frozen
    return None, None


def _cached(
    path: Path, model: Transformer, weights: Path, data: Comparisons
) -> tuple[PreferenceReference, PreferenceReference | None]:
    marks = {"weights": sha256(weights), "comparisons": mark_of(path.parent)}
    if not path.exists():
        say("Computing the log-probabilities of the reference model (once).")
        sets = {"train": data.train, "held_out": data.held}
        tables = {name: table_of(model, map(both_sides, part.in_order())) for name, part in sets.items() if part}
        save_tables(path, tables, marks)
    tables = load_tables(path, marks)
    return Cached(tables["train"]), Cached(tables["held_out"]) if data.held else None
