"""Sparse autoencoders as files in SAELens' format: `cfg.json` and `sae_weights.safetensors` in a folder.

W_enc [C, F], b_enc [F], W_dec [F, C], b_dec [C], and threshold [F] of JumpReLU.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sayso.base.errors import UserError
from sayso.base.files import atomic_file, read_object, write_json
from sayso.lens.autoencoder import ActivationPlace, SparseAutoencoder

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = ("topk", "jumprelu", "standard")


def save_autoencoder(autoencoder: SparseAutoencoder, folder: str | Path) -> Path:
    """Write a sparse autoencoder to a folder in SAELens' format, and return the folder."""
    folder = Path(folder)
    width, features = autoencoder.W_enc.shape
    facts: dict[str, Any] = {
        "architecture": autoencoder.kind, "d_in": width, "d_sae": features, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": autoencoder.centers, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"hook_name": autoencoder.place.name, "model_name": autoencoder.place.model},
    }  # fmt: skip
    if autoencoder.k is not None:
        facts |= {"k": autoencoder.k, "rescale_acts_by_decoder_norm": False}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / WEIGHTS) as temporary:
        weights = autoencoder.state_dict()
        save_file({name: x.detach().float().cpu().contiguous() for name, x in weights.items()}, temporary)
    write_json(folder / CONFIG, facts)
    return folder


def load_autoencoder(folder: str | Path) -> SparseAutoencoder:
    """Return the sparse autoencoder in a folder: of this project, or of SAELens.

    SAELens' standard ones (ReLU) become JumpReLU ones with a threshold of 0. Raises `UserError` for files that are
    missing or damaged, and for another architecture, normalization or shape of activations.
    """
    folder = Path(folder)
    facts = read_object(folder / CONFIG, "d_in", "d_sae")
    architecture = facts.get("architecture", "standard")
    if architecture not in ARCHITECTURES:
        raise UserError(
            f"Sayso reads sparse autoencoders of the kinds {', '.join(ARCHITECTURES)}; '{folder}' has '{architecture}'."
        )
    for key in ("normalize_activations", "reshape_activations"):
        if facts.get(key, "none") != "none":
            raise UserError(f"Sayso reads sparse autoencoders with {key} 'none'; '{folder}' has '{facts[key]}'.")
    about = facts.get("metadata") or facts
    place = ActivationPlace(str(about.get("hook_name", "")), str(about.get("model_name", "")))
    k = _k(facts, folder) if architecture == "topk" else None
    found = SparseAutoencoder(facts["d_in"], facts["d_sae"], place, k)
    found.centers = bool(facts.get("apply_b_dec_to_input", True))
    try:
        weights = load_file(folder / WEIGHTS)
        if architecture == "standard":
            weights["threshold"] = torch.zeros(facts["d_sae"])
        found.load_state_dict({name: weights[name].float() for name in found.state_dict()})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(f"'{folder / WEIGHTS}' does not have the weights that {CONFIG} describes: {error}.") from error
    if facts.get("rescale_acts_by_decoder_norm"):  # features count as if directions had length 1: let them
        with torch.no_grad():
            norms = found.W_dec.norm(dim=1)
            found.W_enc.mul_(norms)
            found.b_enc.mul_(norms)
            found.W_dec.div_(norms[:, None])
    return found.requires_grad_(False)


def _k(facts: dict[str, Any], folder: Path) -> int:
    k = facts.get("k", (facts.get("activation_fn_kwargs") or {}).get("k"))
    if not isinstance(k, int):
        raise UserError(f"A TopK autoencoder needs k; '{folder / CONFIG}' has {k!r}.")
    return k
