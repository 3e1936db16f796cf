"""Export a model to a GGUF file for llama.cpp: float16, or blocks of 32 weights in 8 or 4 bits.

Norms, biases and positions stay in float32. In a 4-bit file, embedding and head have 8 bits; llama.cpp also gives them
a higher precision.
"""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from sayso.base.errors import UserError, nearest, require
from sayso.base.files import atomic_file
from sayso.model import ModelConfig, Transformer
from sayso.token.tokenizer import Tokenizer
from sayso.weights.gguf.file import GGUF
from sayso.weights.gguf.names import (
    FACTS,
    GGUF_FAMILIES,
    GPT2_FACTS,
    HUB,
    ROPE,
    SCALINGS,
    XIELU,
    gguf_name,
    gguf_tensor,
    hub_config,
)
from sayso.weights.gguf.vocabulary import vocabulary_of
from sayso.weights.names import from_hub_config, to_hub, to_hub_config

FILE_TYPES = {"f16": 1, "q8_0": 7, "q4_0": 2}  # by llama.cpp's number
_BLOCK = 32
FINE = ("token_embd.weight", "output.weight")


def write_gguf(model: Transformer, tokenizer: Tokenizer, path: Path, kind: str, name: str) -> None:
    """Write a model and its tokenizer as one file: f16, q8_0 or q4_0.

    Raises `UserError` for an unknown kind, and for a model or tokenizer that llama.cpp does not support.
    """
    gguf = require("gguf", "gguf")
    if kind not in FILE_TYPES:
        raise UserError(
            f"The GGUF file type must be one of {', '.join(FILE_TYPES)}; got '{kind}'.{nearest(kind, FILE_TYPES)}"
        )
    config = to_hub_config(model.config)
    hub_family = str(config["model_type"])
    family = HUB.get(hub_family, hub_family)
    if family not in GGUF_FAMILIES:
        raise UserError(
            f"GGUF export supports {', '.join(GGUF_FAMILIES)}; keep a model of family '{family}' as a folder."
        )
    with atomic_file(path) as part:
        writer = gguf.GGUFWriter(str(part), family)
        writer.add_name(name)
        writer.add_file_type(FILE_TYPES[kind])
        _add_shape(writer, family, config)
        for add, value in vocabulary_of(tokenizer, model.config.vocab_size):
            getattr(writer, f"add_{add}")(value)
        state = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
        for hub, weight in to_hub(state, model.config).items():
            theirs = gguf_name(family, hub)
            _add_tensor(writer, gguf, theirs, gguf_tensor(family, theirs, weight, config), kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        _check(part, model.config)


def _check(path: Path, config: ModelConfig) -> None:
    """Raise `UserError` if the file, read back, lacks settings of the shape: llama.cpp would compute something else."""
    found = from_hub_config(hub_config(GGUF(path)))
    lost = [
        field.name for field in fields(config) if not _alike(getattr(found, field.name), getattr(config, field.name))
    ]
    if lost:
        raise UserError(f"A GGUF file cannot express this model's {', '.join(lost)}; keep the model as a folder.")


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are equal; floats to the precision of float32, in which a file stores them."""
    return math.isclose(one, other, rel_tol=1e-6) if isinstance(one, float) else bool(one == other)


def _add_shape(writer: Any, family: str, config: dict[str, Any]) -> None:
    for hub, name in (GPT2_FACTS if family == "gpt2" else FACTS).items():
        value = config.get(hub)
        if value is not None:
            add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
            add(f"{family}.{name}", value)
    if family == "gpt2":
        return
    if family == "apertus":
        for name, value in XIELU.items():
            getattr(writer, f"add_xielu_{name}")([value] * config["num_hidden_layers"])
    writer.add_uint32(f"{family}.attention.value_length", config["head_dim"])
    writer.add_uint32(f"{family}.rope.dimension_count", config["head_dim"])
    rope = config.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return
    if kind not in SCALINGS:
        raise UserError(f"GGUF export does not support the RoPE scaling '{kind}'; keep the model as a folder.")
    writer.add_string(f"{family}.rope.scaling.type", kind)
    for hub, name in ROPE.items():
        if hub in rope:
            add = writer.add_float32 if hub == "factor" else writer.add_uint32
            add(f"{family}.{name}", rope[hub])


def _add_tensor(writer: Any, gguf: Any, name: str, weight: Tensor, kind: str) -> None:
    """Add one tensor: vectors and positions in float32, matrices as `kind`, or float16 if blocks do not fit."""
    plain = weight.float().contiguous().numpy()
    if plain.ndim < 2 or name == "position_embd.weight":
        writer.add_tensor(name, plain)
        return
    kind = "q8_0" if kind == "q4_0" and name in FINE else kind
    stored = gguf.GGMLQuantizationType["F16" if plain.shape[-1] % _BLOCK else kind.upper()]
    writer.add_tensor(name, gguf.quants.quantize(plain, stored), raw_dtype=stored)
