"""Act: turn the ratings in the store into files that finetune and align read."""

from contextlib import closing
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
    program: tuple[str, ...] = ()
    """Programs that check replies, file.py:function; their verdicts are stored, and gathered as rewards."""
    policy: str | None = None
    """Model to be trained next; rows whose generated replies are its own are marked on-policy."""
    life: Path = Path("life")
    """Folder of the life."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""


@exclusive(lambda options: Life(options.life).data("feedback"))
def gather(options: Gather) -> dict[str, Any]:
    """Write chat, pairs, ties, ratings and rewards.jsonl and a manifest into data/feedback; return the manifest.

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
    if options.program:
        _check(life, options)
    trained = sha256(weights_file(parent))[:SHOWN_FINGERPRINT] if parent else None
    manifest = gather_store(options.store or life.store, folder, redact=options.redact, texts=texts, trained=trained)
    say(summary(manifest, folder))
    return manifest


def _check(life: Life, options: Gather) -> None:
    """Let programs check the new replies of a store that exists; of another one, gathering says what is wrong."""
    from sayso.feedback.database import store_file
    from sayso.feedback.programs import check_replies, load_programs
    from sayso.feedback.store import Store

    programs, where = load_programs(options.program), options.store or life.store
    file = store_file(where)
    if file is not None and not file.exists():
        return
    with closing(Store(where)) as store:
        counts = check_replies(store, programs)
    say("New verdicts: " + ", ".join(f"{count:,} by {name}" for name, count in counts.items()) + ".")
