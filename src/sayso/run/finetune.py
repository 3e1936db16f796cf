"""Act: fine-tune a model on conversations.

Input: conversations from files or from `sayso prepare`, and gathered feedback. Output: `models/tuned`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sayso.align.instructions import Finetune, InstructionTuning
from sayso.base.hold_out import held_out_file
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.run.results import Trained, trained
from sayso.text.document import Source
from sayso.text.rows import report_ignored
from sayso.text.sources import file_source
from sayso.train.session import Session, open_session
from sayso.train.tune import tune
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file


@exclusive(model_output)
def finetune(options: Finetune) -> Trained:
    """Fine-tune a model on conversations; only the assistant's tokens are trained on."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    sources = [file_source(name, 0) for name in dict.fromkeys(options.data)]
    report_ignored(sources)
    session = _session(options, life, sources, parent)
    new = tune(options, session, parent, lambda start: InstructionTuning(start, options, sources))
    return trained(life, "finetune", options.name, finished_before=not new)


def _session(options: Finetune, life: Life, sources: Sequence[Source], parent: Path) -> Session:
    """Return the session, identified by the contents of local files and by the store's metadata of remote ones."""
    inputs = {"feedback": life.data("feedback") / "chat.jsonl", options.parent: weights_file(parent)}
    files = [file for source in sources for file in source.files]
    inputs |= {file.where: Path(file.where) for file in files if "://" not in file.where}
    if not sources:
        inputs |= {"chat": life.data("chat") / "train.jsonl", "chat-val": life.data("chat") / "val.jsonl"}
    inputs |= {"text": life.data("text") / "manifest.json"} if options.replay or options.abstain else {}
    inputs |= (
        {"facts": Path(options.abstain_data)} if options.abstain_data and Path(options.abstain_data).is_file() else {}
    )
    inputs |= {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    session = open_session(life, "finetune", options.name, options, inputs)
    return replace(session, inputs=session.inputs | {file.where: file.mark for file in files if "://" in file.where})
