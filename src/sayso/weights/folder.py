"""A model as a folder in the Hugging Face layout, with its tokenizer, its card and where it came from.

    config.json  model.safetensors  tokenizer.json  tokenizer_config.json  generation_config.json  README.md  sayso.json

`sayso.json` is the lineage: parent, data, resolved config, seed, metrics, versions, and the tokenizer's fingerprint, by
which a tokenizer that does not belong to the model is refused. Written whole or not at all; nothing is pickled.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import atomic_folder, read_json, sha256, write_atomic, write_json
from sayso.model import Transformer
from sayso.token.load import fingerprint
from sayso.token.load import load as load_tokenizer
from sayso.token.tokenizer import Tokenizer
from sayso.weights.card import model_card
from sayso.weights.names import from_hub, from_hub_config, to_hub, to_hub_config


def save_model(model: Transformer, tokenizer: Tokenizer, folder: Path, lineage: dict[str, Any]) -> None:
    """Write the model folder; `lineage` is JSON-ready and becomes sayso.json with the fingerprints added."""
    bos, end = tokenizer.specials["<|bos|>"], tokenizer.specials["<|end|>"]
    with atomic_folder(folder) as part:
        state = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
        save_file(to_hub(state, model.config), part / "model.safetensors", metadata={"format": "pt"})
        config = to_hub_config(model.config) | {"bos_token_id": bos, "eos_token_id": end, "pad_token_id": bos}
        write_json(part / "config.json", config)
        write_json(part / "generation_config.json", {"bos_token_id": bos, "eos_token_id": end, "do_sample": True})
        tokenizer.save(part)
        whole = {
            **lineage,
            "weights_sha256": sha256(part / "model.safetensors"),
            "tokenizer": fingerprint(part),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "torch": str(torch.__version__),
        }
        write_json(part / "sayso.json", whole)
        write_atomic(part / "README.md", model_card(folder.name, model.config, whole))


def load_model(folder: Path, device: str = "cpu") -> tuple[Transformer, Tokenizer]:
    """Open a model folder: the model in evaluation mode on `device`, and its tokenizer.

    Raises `UserError` for a missing, truncated or mismatching file, and for a tokenizer of another model.
    """
    if not (folder / "config.json").exists():
        raise UserError(f"'{folder}' is not a model folder: it has no config.json.")
    config = from_hub_config(read_json(folder / "config.json"))
    tokenizer = load_tokenizer(folder)
    _check_tokenizer(folder, tokenizer, config.vocab_size)
    model = Transformer(config)
    state = from_hub(read_tensors(folder / "model.safetensors"), config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"The weights in '{folder}/model.safetensors' do not fit its config.json; restore the two together."
        ) from error
    return model.to(device).eval(), tokenizer


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; a missing, truncated or foreign one is a `UserError` that names it."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no weights file '{path}'.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"'{path}' is not a whole safetensors file ({error}); copy it again or train that stage again."
        ) from error


def _check_tokenizer(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> None:
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"The tokenizer in '{folder}' has {tokenizer.vocab_size} ids but the model only {vocab_size}; "
            "put back the tokenizer that the model was trained with."
        )
    if not (folder / "sayso.json").exists():
        return  # a model of another maker has no lineage
    expected, found = read_json(folder / "sayso.json").get("tokenizer"), fingerprint(folder)
    if expected and expected != found:
        raise UserError(
            f"The tokenizer in '{folder}' is not the one the model was trained with "
            f"(fingerprint {found[:12]}, expected {expected[:12]}); put that one back."
        )
