"""What a life knows of a model beyond its weights: takes its folder, returns what some panels need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import Tensor

from sayso.base.life import Life
from sayso.rasp.compile.program import Names
from sayso.rasp.compile.store import names_in
from sayso.token.tokenizer import Tokenizer
from sayso.train.snapshots import snapshots_of
from sayso.xray.examples import text_rows


@dataclass(frozen=True)
class Background:
    """What is known of a model."""

    snapshots: Mapping[int, Path] = field(default_factory=dict)
    """Model folders of earlier weights, by the steps of training after which they were kept."""
    corpus: Callable[[], Tensor | None] = lambda: None
    """Returns rows of ids [N, T] in which examples of neurons are looked for; None = there is no text."""
    names: Names | None = None
    """What the parts of a compiled program are."""
    place: Path | None = None
    """The folder in which the life is; a page names the snapshots from there, and no other folder of the machine."""


def background_of(life: Life, folder: Path, tokenizer: Tokenizer, rows: int) -> Background:
    """Return what a life knows of the model in a folder, with at most `rows` rows of held-out text."""
    corpus = partial(text_rows, life.data("text"), tokenizer, rows)
    return Background(snapshots_of(life, folder), corpus, names_in(folder), life.root.parent)
