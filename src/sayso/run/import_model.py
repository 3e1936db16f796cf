"""Act: a model of another maker becomes one of the life.

A folder in the Hugging Face layout, a repository of the hub, a GGUF file, a model of llama2.c, or a package that holds
one enters; `models/NAME` leaves, for every act to take: talk, evaluate, tune, align, serve.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import STAGES, Life
from sayso.base.lock import locked
from sayso.base.log import act_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Options
from sayso.run.results import Written
from sayso.token.foreign import ForeignTokenizer
from sayso.weights.folder import save_model
from sayso.weights.models import is_made
from sayso.weights.sources import locate, open_files
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Import(Options):
    """Options of `sayso import`."""

    source: str
    """A model folder, FILE.gguf, FILE.bin of llama2.c, OWNER/NAME[/FILE.gguf] of the hub, pip:PACKAGE, or smollm2."""
    _: KW_ONLY
    name: str | None = None
    """What the model is called in the life; follows from the source when not given."""
    life: Path = Path("life")
    """The folder of the life."""
    replace: bool = False
    """Replace another model that has this name already."""


def import_model(options: Import) -> Written:
    """Bring a model of another maker into the life."""
    path, name, licence = locate(options.source)
    name = name if options.name is None else options.name
    with locked(Life(options.life).model(name)):
        return _bring(options, path, name, licence)


def _bring(options: Import, path: Path, name: str, licence: str) -> Written:
    life = Life(options.life)
    folder = life.model(name)
    check_apart([folder], [path])
    mark = sha256(path if path.is_file() else weights_file(path))[:12]
    lineage: dict[str, Any] = {"stage": "imported", "parent": f"{options.source} {mark}", "data": [], "seed": None}
    if licence:
        lineage["licence"] = licence
    if is_made(folder, lineage, replace=options.replace):
        say(f"The model '{name}' is here already.")
        return Written(folder, finished_before=True)
    if name in STAGES[1:]:
        raise UserError(f"{' and '.join(STAGES[1:])} are made by a life itself; choose another --name.")
    pick_device("cpu")
    with act_log(life, "import", name, options):
        model, tokenizer = open_files(path)
        save_model(model, tokenizer, folder, lineage)
    config = model.config
    say(
        f"Saved {folder}: {sum(weight.numel() for weight in model.parameters()) / 1e6:,.1f}M weights, "
        f"{config.layers} layers, {config.width} wide, context {config.context:,}."
    )
    if isinstance(tokenizer, ForeignTokenizer):
        _tell(tokenizer)
    say(f"Try: sayso {'chat' if tokenizer.chat_template else 'generate TEXT'} --model {name} --life {life.root}")
    return Written(folder)


def _tell(tokenizer: ForeignTokenizer) -> None:
    """Say what is otherwise here than in `transformers`."""
    if tokenizer.tools_are_text:
        say("Its chat template has a tool format of its own; here, tools are described to the model in words.")
    if tokenizer.cut_otherwise:
        say(
            f"transformers 5 reads this tokenizer as a {tokenizer.cut_otherwise}, which splits some text differently "
            "from tokenizer.json; Sayso follows tokenizer.json."
        )
