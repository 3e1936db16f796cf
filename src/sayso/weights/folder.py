"""Save and load a model folder in the Hugging Face layout, with its tokenizer, card and lineage.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json  generation_config.json  README.md  sayso.json

`sayso.json` is the lineage: parent, data, resolved config, seed, metrics, versions, and digests of the other files,
which reveal damaged files and another model's tokenizer. Folders are written atomically; nothing is pickled.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import read_json, read_together, sha256, write_atomic, write_json
from sayso.base.life import STAGES, Life
from sayso.base.made import made_folder
from sayso.model import Transformer
from sayso.model.score import score_head
from sayso.token.foreign import ForeignTokenizer
from sayso.token.load import load as load_tokenizer
from sayso.token.load import tokenizer_fingerprint
from sayso.token.tokenizer import Tokenizer
from sayso.weights.card import model_card
from sayso.weights.lineage import LINEAGE, SINGLE, digests_in, read_lineage
from sayso.weights.models import called
from sayso.weights.names import family_in, to_hub, to_hub_config
from sayso.weights.quantize.ends import has_quantized_ends
from sayso.weights.quantize.model import Quantized, bits_of, install, quantized_from_hub, quantized_to_hub
from sayso.weights.quantize.scheme import read_scheme
from sayso.weights.score import LM_HEAD, put_score, score_from_hub, score_to_hub
from sayso.weights.tensors import read_weights, weights_file

BOTH_DIRECTIONS = "both directions"
"""The `attention` that sayso.json names for a model whose positions also see later ones."""
STORED = (torch.float32, torch.bfloat16, torch.float16)


def save_model(
    model: Transformer,
    tokenizer: Tokenizer,
    folder: Path,
    lineage: dict[str, Any],
    quantized: Quantized | None = None,
    extra: Callable[[Path], object] = lambda _: None,
) -> None:
    """Write a model folder; `lineage` is JSON-ready and becomes sayso.json with the fingerprints added.

    `quantized` are the quantized layers of the model, by our names. `extra` is called with the folder to write more
    files into, before the folder gets its final name.
    """
    bos, end = tokenizer.specials["<|bos|>"], tokenizer.specials["<|end|>"]
    ends = sorted(tokenizer.stop_ids - {bos, end})
    with made_folder(folder) as part:
        if quantized:
            tensors, facts = quantized_to_hub(model, quantized)
        else:
            state = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
            if score_head(model) is not None:
                tensors, facts = score_to_hub(state, model.config)
            else:
                tensors, facts = to_hub(state, model.config), to_hub_config(model.config)
        save_file(tensors, part / SINGLE, metadata={"format": "pt"})
        write_json(part / "config.json", facts | {"bos_token_id": bos, "eos_token_id": end, "pad_token_id": bos})
        sampling = tokenizer.generation if isinstance(tokenizer, ForeignTokenizer) else {}
        write_json(
            part / "generation_config.json",
            (sampling or {"do_sample": True}) | {"bos_token_id": bos, "eos_token_id": [end, *ends] if ends else end},
        )
        tokenizer.save(part)
        recorded = {
            **lineage,
            **digests_in(part),
            "parameters": sum(weight.numel() for weight in model.parameters()) + (quantized.count if quantized else 0),
            "torch": str(torch.__version__),
        }
        write_json(part / LINEAGE, recorded, sealed=True)
        write_atomic(part / "README.md", model_card(folder.name, model.config, recorded))
        extra(part)


def load_model(
    folder: Path, device: str = "cpu", *, plain: bool = False, scores: bool = False
) -> tuple[Transformer, Tokenizer]:
    """Return the model of a folder, in evaluation mode on `device`, and its tokenizer.

    `scores` is whether a reward model is expected. Raises `UserError` for the other kind of model, for a missing,
    truncated or mismatching file, for another model's tokenizer and, with `plain`, for a quantized model.
    """
    return read_together(folder, lambda: _load(folder, device, plain, scores))


def attends_both_ways(folder: Path) -> bool:
    """Return whether a model folder holds a compiled program whose positions also see later ones."""
    return read_lineage(folder).get("attention") == BOTH_DIRECTIONS


def _load(folder: Path, device: str, plain: bool, scores: bool) -> tuple[Transformer, Tokenizer]:
    if attends_both_ways(folder):
        raise UserError(
            f"'{folder}' attends in both directions, so that it cannot generate text; it is applied to a whole input "
            "(sayso rasp run)."
        )
    model = load_weights(folder, device)
    if scores != (score_head(model) is not None):
        found, wanted = ("generates text", "scores replies") if scores else ("scores replies", "generates text")
        raise UserError(f"'{folder}' is a model that {found}; choose one that {wanted}.")
    if plain and (bits := bits_of(model)):
        raise UserError(
            f"'{folder}' is quantized to {bits} bits and cannot be used here; use the model it was quantized from."
        )
    tokenizer = load_tokenizer(folder)
    check_vocabulary(folder, tokenizer, model.config.vocab_size)
    _check_fingerprint(folder)
    return model, tokenizer


def load_weights(folder: Path, device: str = "cpu") -> Transformer:
    """Return the model of a folder of any supported family, in float32 and evaluation mode, on `device`.

    On a CPU, weights stored in float32 stay memory-mapped: pages are read on first use, and training copies those that
    it changes. Weights stored in 16 bits are converted. Raises `UserError` that names the file if it is missing,
    truncated, pickled, unsupported, or does not match config.json.
    """
    if not (path := folder / "config.json").exists():
        raise UserError(f"'{folder}' is not a model folder: it has no config.json.")
    source = weights_file(folder)
    facts, found = read_json(path), read_weights(source)
    if not isinstance(facts, dict) or not facts.get("quantization_config"):
        model = model_of(facts, found, source, config_path=path)
    else:
        try:
            scheme = replace(read_scheme(facts.pop("quantization_config")), ends8=has_quantized_ends(facts))
            found, quantized = quantized_from_hub(found, scheme)
            model = model_of(facts, found, source, config_path=path)
            install(model, quantized, device)
        except UserError as error:
            raise UserError(f"'{folder}' cannot be opened. {error}") from error
    model.looks_ahead = attends_both_ways(folder)
    return model.to(device)


def model_of(
    facts: dict[str, Any], found: dict[str, Tensor], source: Path, *, config_path: Path | None = None
) -> Transformer:
    """Return the model, in evaluation mode, for the content of a config.json and the tensors of the hub's layout.

    `source` is the file of the tensors and `config_path` that of `facts` (default: the same), for the errors, which
    are those of `load_weights`.
    """
    path = config_path or source
    try:
        family = family_in(facts)
        config = family.read(facts)
    except UserError as error:
        raise UserError(f"'{path}' is not supported: {error}") from error
    found, score = score_from_hub(found)
    found = family.known(found, config)
    if config.layers > len(found):
        raise UserError(f"'{path}' specifies {config.layers} layers, but '{source}' has only {len(found)} tensors.")
    try:
        with torch.device("meta"):
            model = Transformer(config)
    except RuntimeError as error:
        raise UserError(f"The sizes in '{path}' are not valid for a model ({error}).") from error
    expected = dict(model.state_dict())
    if score is not None:
        del expected[LM_HEAD]
    _check_weights(source, found, family.to_hub(expected, config))
    state = family.from_hub({name: x.to(torch.float32) for name, x in found.items()}, config)
    model.load_state_dict(state if score is None else state | {LM_HEAD: state["embed.weight"]}, assign=True)
    if config.tie_embeddings:
        model.unembed.weight = model.embed.weight
    if score is not None:
        put_score(model, score, facts, source)
    return model.eval()


def _check_weights(source: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise `UserError` if the names, shapes or dtypes of the weights are not the expected ones."""
    fix = "restore both files from the same model"
    for name, x in expected.items():
        if name not in found:
            raise UserError(f"The weights in '{source}' do not match config.json: '{name}' is missing; {fix}.")
        if found[name].shape != x.shape:
            raise UserError(
                f"The weights in '{source}' do not match config.json: '{name}' has shape {tuple(found[name].shape)}, "
                f"expected {tuple(x.shape)}; {fix}."
            )
        if found[name].dtype not in STORED:
            raise UserError(f"Sayso supports 16- and 32-bit weights; '{name}' in '{source}' is {found[name].dtype}.")
    for name in found:
        if name not in expected:
            raise UserError(f"The weights in '{source}' do not match config.json, which has no '{name}'; {fix}.")


def check_vocabulary(path: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise `UserError` if the tokenizer in `path` has ids without an embedding in the model."""
    if tokenizer.vocab_size > vocab_size:
        beyond = next((f", such as {name!r}" for index, name in tokenizer.control.items() if index >= vocab_size), "")
        raise UserError(
            f"The tokenizer in '{path}' has {tokenizer.vocab_size} ids{beyond}, but the model has only {vocab_size}; "
            "restore the tokenizer that the model was trained with."
        )


def _check_fingerprint(folder: Path) -> None:
    """Raise `UserError` if the tokenizer is not the one recorded in sayso.json."""
    expected, found = read_lineage(folder).get("tokenizer"), tokenizer_fingerprint(folder)
    if expected and expected != found:
        raise UserError(
            f"The tokenizer in '{folder}' is not the one the model was trained with "
            f"(fingerprint {found[:12]}, expected {expected[:12]}); restore that one."
        )


def name_apart(life: Life, folder: Path) -> str:
    """Return the name of a model folder, plus a hash if the life has another model of this name.

    The scores of an external model therefore never replace those of the life's model of the same name.
    """
    name = called(folder)
    own = life.model(name)
    if folder.resolve() == own.resolve() or not (name in STAGES or own.exists()):
        return name
    return f"{name}-{sha256(weights_file(folder))[:8]}"
