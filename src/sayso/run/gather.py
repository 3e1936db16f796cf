"""Act: turn the ratings in the store into files that finetune and align read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import require
from sayso.base.files import sha256
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import say
from sayso.base.ranges import Options
from sayso.text.evaluation import evaluation_files, evaluation_texts
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

SHOWN_FINGERPRINT = 12  # characters of the hash of the weights that `sayso serve` keeps with a reply


@dataclass(frozen=True, kw_only=True)
class Gather(Options):
    """Options of `sayso gather`."""

    redact: bool = True
    """Replace email addresses, phone, card and account numbers, IP addresses, national ids and keys by their kind."""
    eval_texts: tuple[Path, ...] = ()
    """Files or folders of evaluation texts; rows that share 13 words in a row with them are left out."""
    policy: str | None = None
    """Model to be trained next; rows whose generated replies are its own are marked on-policy."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""


@exclusive(lambda options: Life(options.life).data("feedback"))
def gather(options: Gather) -> dict[str, Any]:
    """Write data/feedback/{chat,pairs,ties,ratings}.jsonl and a manifest from every rating; return the manifest.

    Raises `UserError` if there is no store yet.
    """
    require("sqlalchemy", "serve")
    from sayso.feedback.gather import gather_store, summary

    life, bad = Life(options.life), BadRows()
    folder = life.data("feedback")
    files = [file for path in options.eval_texts for file in evaluation_files(path)]
    texts = list(evaluation_texts(files, bad))
    bad.check()
    parent = resolve_model(life, options.policy) if options.policy else None
    trained = sha256(weights_file(parent))[:SHOWN_FINGERPRINT] if parent else None
    manifest = gather_store(options.store or life.store, folder, redact=options.redact, texts=texts, trained=trained)
    say(summary(manifest, folder))
    return manifest
