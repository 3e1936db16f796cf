"""The engine of a server: takes its options and a model folder, returns the loaded model with its engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from sayso.base.device import free_memory
from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.ranges import Options, Positive, Range, Several
from sayso.model import Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.pages import bytes_per_token
from sayso.weights.adapter import adapted_model
from sayso.weights.folder import load_model
from sayso.weights.models import resolve_model
from sayso.weights.score import is_reward_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """How a server's models run."""

    rows: Several = 64
    """Maximum number of replies generated concurrently."""
    cache_tokens: Positive | None = None
    """Size of the key-value cache in tokens. Default: enough to fill all rows, up to 4 GiB."""
    cache_bits: Literal[8, 0] = 0
    """8 = store keys and values as 8-bit integers, in a quarter of the memory; 0 = not quantized."""
    speculate: Annotated[int, Range(0, 64)] = 0
    """Tokens proposed per step in speculative decoding, by prompt lookup or --draft; 0 = off."""
    draft: str | None = None
    """Draft model for speculative decoding, with the same vocabulary: a model name, or the path of a model folder."""
    adapter: tuple[str, ...] = ()
    """LoRA adapter in PEFT's format as NAME=FOLDER, served as the model NAME; may be repeated."""
    deterministic: bool = False
    """Make replies bitwise independent of concurrent requests."""
    admin_key: str | None = None
    """Key of the routes that load and unload adapters; without it, they take a key with the role admin."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""


def open_engine(
    options: EngineOptions, life: Life, folder: Path, device: str, asked: str
) -> tuple[Replier, str, Engine]:
    """Load a model that is asked for by a name; return it with the fingerprint of its weights and its engine."""
    plain = bool(options.adapter or options.admin_key)
    model, tokenizer = load_model(folder, device, plain=plain, scores=is_reward_model(folder))
    fingerprint = sha256(weights_file(folder))[:12]
    return Replier(model, tokenizer), fingerprint, engine_of(options, life, (folder.name, asked), model, device)


def engine_of(options: EngineOptions, life: Life, names: tuple[str, ...], model: Transformer, device: str) -> Engine:
    """Return the engine of a model that is served under `names`.

    Raises `UserError` for invalid combinations, and for an adapter whose name is taken.
    """
    adapters: dict[str, Transformer] = {}
    for given in options.adapter:
        called, _, folder = given.partition("=")
        if not (called and folder) or called in (*names, *adapters):
            raise UserError(f"--adapter takes NAME=FOLDER with a unique name; got '{given}'.")
        adapters[called] = adapted_model(model, Path(folder))
    _check_cache(options, model, device)
    draft = load_model(resolve_model(life, options.draft), device)[0] if options.draft else None
    return Engine(
        model,
        rows=options.rows,
        tokens=options.cache_tokens,
        speculate=options.speculate,
        draft=draft,
        adapters=adapters,
        cache_bits=options.cache_bits,
        deterministic=options.deterministic,
    )


def _check_cache(options: EngineOptions, model: Transformer, device: str) -> None:
    """Raise `UserError` if the cache would not fit into memory, before it is allocated."""
    free, of_one = free_memory(device), bytes_per_token(model.config, model.dtype, options.cache_bits)
    if options.cache_tokens and free is not None and options.cache_tokens * of_one > free:
        raise UserError(
            f"--cache-tokens must fit into memory, at most {free // of_one:,} tokens of {of_one:,} bytes here; got "
            f"{options.cache_tokens:,}."
        )


def check_room(folder: Path, device: str) -> None:
    """Raise `UserError` if a model would not fit into memory next to the one that is served."""
    free, needed = free_memory(device), weights_file(folder).stat().st_size
    if free is not None and needed > free:
        raise UserError(
            f"'{folder.name}' needs {needed / 2**30:.1f} GiB next to the served model, and {free / 2**30:.1f} GiB are "
            "free; restart the server to serve it."
        )
