"""Read a llama2.c model, `NAME.bin` (version 0), and its tokenizer, the `tok*.bin` in the same folder.

A model file has seven integers, then all weights in float32, grouped by kind over the layers
(github.com/karpathy/llama2.c, export.py: legacy_export); a tokenizer file has the maximum length, then score, length
and bytes of each token. RoPE rotates adjacent dimensions of a head; in Hugging Face models it rotates the two halves.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import processors
from torch import Tensor

from sayso.base.errors import UserError
from sayso.token.foreign import SPACE, ForeignTokenizer
from sayso.weights.gguf.names import halves
from sayso.weights.gguf.tokenizer import sentence_piece

_NUMBERS = struct.Struct("<7i")
UNKNOWN, BEGIN, END = _CONTROL = ("<unk>", "<s>", "</s>")
LAYER = "model.layers.{}."


def read_llama2c(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], ForeignTokenizer]:
    """Return config.json and tensors (float32, memory-mapped) in the hub's layout, and the tokenizer.

    Raises `UserError` if the file's size does not match its header, or if its folder does not have one tokenizer.
    """
    data = np.memmap(path, dtype=np.uint8, mode="c") if path.stat().st_size else np.zeros(0, dtype=np.uint8)
    if len(data) < _NUMBERS.size:
        raise UserError(f"'{path}' is not a llama2.c model: it is shorter than the header of seven integers.")
    width, hidden, layers, heads, kv_heads, vocabulary, context = _NUMBERS.unpack(data[: _NUMBERS.size].tobytes())
    tied, vocabulary = vocabulary > 0, abs(vocabulary)
    if min(width, hidden, layers, heads, kv_heads, vocabulary, context) < 1 or width % heads or heads % kv_heads:
        raise UserError(f"'{path}' is not a llama2.c model: the sizes in its header are invalid.")
    size = width // heads
    parts = _parts(width, hidden, layers, heads * size, kv_heads * size, vocabulary, context, size)
    parts += [] if tied else [("lm_head.weight", 1, (vocabulary, width))]
    counts = [times * int(np.prod(shape, dtype=object)) for _, times, shape in parts]
    if len(data) != _NUMBERS.size + 4 * sum(counts):
        raise UserError(
            f"'{path}' has {len(data):,} bytes, but the sizes in its header need "
            f"{_NUMBERS.size + 4 * sum(counts):,}; download it again."
        )
    flat = torch.from_numpy(np.asarray(data[_NUMBERS.size :]).view(np.float32))
    state: dict[str, Tensor] = {}
    for (name, times, shape), values in zip(parts, flat.split(counts), strict=True):
        for layer, x in enumerate(values.view(times, *shape)):
            if name:
                rotated = "q_proj" in name or "k_proj" in name
                state[name.format(layer)] = halves(x, len(x) // size) if rotated else x
    config = {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": hidden,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": tied,
    }
    return config, state, _tokenizer(path, vocabulary)


def _parts(
    width: int, hidden: int, layers: int, queries: int, keys: int, vocabulary: int, context: int, size: int
) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return the hub's name, the count and the shape of each kind of weight, in the order of the file."""
    angles = ("", 1, (context, size // 2))  # cosines and sines; not used, since they can be computed
    return [
        ("model.embed_tokens.weight", 1, (vocabulary, width)),
        (LAYER + "input_layernorm.weight", layers, (width,)),
        (LAYER + "self_attn.q_proj.weight", layers, (queries, width)),
        (LAYER + "self_attn.k_proj.weight", layers, (keys, width)),
        (LAYER + "self_attn.v_proj.weight", layers, (keys, width)),
        (LAYER + "self_attn.o_proj.weight", layers, (width, queries)),
        (LAYER + "post_attention_layernorm.weight", layers, (width,)),
        (LAYER + "mlp.gate_proj.weight", layers, (hidden, width)),
        (LAYER + "mlp.down_proj.weight", layers, (width, hidden)),
        (LAYER + "mlp.up_proj.weight", layers, (hidden, width)),
        ("model.norm.weight", 1, (width,)),
        angles,
        angles,
    ]


def _tokenizer(path: Path, size: int) -> ForeignTokenizer:
    """Return the tokenizer of the only `tok*.bin` next to a model."""
    found = sorted(path.parent.glob("tok*.bin"))
    if len(found) != 1:
        present = ", ".join(file.name for file in found) or "none"
        raise UserError(f"A llama2.c model needs exactly one tok*.bin in its folder; '{path.parent}' has {present}.")
    data, offset, pieces = found[0].read_bytes(), 4, []
    try:
        for _ in range(size):
            score, length = struct.unpack_from("<fi", data, offset)
            raw = data[offset + 8 : offset + 8 + length]
            if not 0 <= length == len(raw):
                raise struct.error
            pieces.append((raw, score))
            offset += 8 + length
    except struct.error as error:
        raise UserError(
            f"'{found[0]}' does not hold the {size} tokens of '{path.name}'; replace it with the matching tokenizer."
        ) from error
    names = [*_CONTROL, *(raw.decode("utf-8", "replace").replace(" ", SPACE) for raw, _ in pieces[3:])]
    core = sentence_piece(names, [score for _, score in pieces], UNKNOWN, space_first=True)
    core.add_special_tokens(list(_CONTROL))
    core.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    return ForeignTokenizer(core, {"bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN, "add_bos_token": True})
