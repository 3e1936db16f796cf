"""Reading GGUF and llama2.c: values agree with transformers, and damaged files are user errors."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from sayso.base.errors import UserError
from sayso.weights.folder import model_of
from sayso.weights.gguf.file import GGUF
from sayso.weights.gguf.names import GGUF_FAMILIES, gguf_name, gguf_tensor, hub_config
from sayso.weights.gguf.read import read_gguf
from sayso.weights.gguf.tokenizer import gguf_tokenizer
from sayso.weights.llama2c import read_llama2c

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder"))
VECTORS = DATA / "tokenizers" / "vectors"
STORIES = DATA / "models" / "stories260K"
IDS = torch.randint(0, 300, (2, 24), generator=torch.Generator().manual_seed(3))
SIZES = {
    "vocab_size": 300,
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
MODELS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, head_dim=16),
    "olmo2": transformers.Olmo2Config(**SIZES),
    "gpt2": transformers.GPT2Config(vocab_size=300, n_positions=64, n_embd=64, n_layer=2, n_head=4),
}


def peer(family: str) -> transformers.PreTrainedModel:
    """Return a model of transformers with only random weights."""
    torch.manual_seed(4)
    model = transformers.AutoModelForCausalLM.from_config(MODELS[family]).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.2)
    return model


def facts(writer: gguf.GGUFWriter, family: str) -> None:
    """Return the metadata that llama.cpp's converter writes for a model of these sizes."""
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(256 if family == "gpt2" else 96)
    writer.add_head_count(4)
    if family == "gpt2":
        writer.add_layer_norm_eps(1e-5)
        return
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_key_length(16)


def tokens(writer: gguf.GGUFWriter, end: int = 297) -> None:
    """Add 300 tokens: the bytes, some merges, two control tokens."""
    letters = sorted(tokenizers_alphabet())
    pairs = [(a, b) for a in "abcde" for b in "fghijklm"][:40]
    names = [*letters, *("".join(pair) for pair in pairs), "<|endoftext|>", "<|im_end|>", "<a>", "<b>"]
    assert len(names) == 300
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([1] * 296 + [3, 3, 4, 4])
    writer.add_token_merges([" ".join(pair) for pair in pairs])
    writer.add_bos_token_id(296)
    writer.add_eos_token_id(end)


def tokenizers_alphabet() -> list[str]:
    """Return the 256 characters by which byte-level vocabularies represent bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return ByteLevel.alphabet()


def written(path: Path, family: str, kind: str = "F32") -> transformers.PreTrainedModel:
    """Write a GGUF file as llama.cpp's converter does; return its model."""
    model = peer(family)
    writer = gguf.GGUFWriter(str(path), family)
    facts(writer, family)
    tokens(writer)
    config = model.config.to_dict()
    for hub, weight in model.state_dict().items():
        if hub == "lm_head.weight" and family == "gpt2":
            continue  # tied
        name = gguf_name(family, hub)
        x = gguf_tensor(family, name, weight, config).contiguous().numpy()
        stored = gguf.GGMLQuantizationType[kind if x.ndim > 1 else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(x, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.mark.parametrize("family", MODELS)
def test_a_gguf_file_gives_the_logits_of_its_model(family: str, tmp_path: Path) -> None:
    """Compared with transformers."""
    path = tmp_path / "model.gguf"
    reference = written(path, family)
    config, state, tokenizer = read_gguf(path)
    model = model_of(config, state, path)
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS), reference(IDS).logits, atol=1e-4, rtol=1e-4)
    assert tokenizer.decode(tokenizer.encode("naïve af bm")) == "naïve af bm"
    assert tokenizer.stop_ids == {297}


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1"])
def test_a_quantized_file_is_read_as_by_transformers(family: str, kind: str, tmp_path: Path) -> None:
    """Both read the same model from the same quantized file."""
    written(tmp_path / "model.gguf", family, kind)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    config, state, _ = read_gguf(tmp_path / "model.gguf")
    with torch.inference_mode():
        ours = model_of(config, state, tmp_path)(IDS)
        torch.testing.assert_close(ours, theirs.eval()(IDS).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q5_0", "Q5_1"])
def test_all_quantized_formats_are_dequantized(kind: str, tmp_path: Path) -> None:
    """All formats, K-quants included, agree with the reference package."""
    stored = gguf.GGMLQuantizationType[kind]
    per_block, size = gguf.GGML_QUANT_SIZES[stored]
    raw = np.random.default_rng(0).integers(0, 60, (3, 2 * size), dtype=np.uint8)
    writer = gguf.GGUFWriter(str(tmp_path / "x.gguf"), "llama")
    writer.add_tensor("x", raw, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = GGUF(tmp_path / "x.gguf").tensor("x")
    assert found.shape == (3, 2 * per_block)
    np.testing.assert_array_equal(found.numpy(), gguf.quants.dequantize(raw, stored))


def test_llama_3_scaling_is_recognized_by_its_factors(tmp_path: Path) -> None:
    """The factors that llama.cpp's converter writes are recognized; others are refused."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
    }
    rope["original_max_position_embeddings"] = 8192
    config = transformers.LlamaConfig(**SIZES | {"rope_parameters": rope})
    frequencies = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config).inv_freq
    plain = 10_000.0 ** -(torch.arange(8) / 8)
    for factors, good in ((plain / frequencies, True), (torch.arange(1.0, 9.0), False)):
        path = tmp_path / "rope.gguf"
        writer = gguf.GGUFWriter(str(path), "llama")
        facts(writer, "llama")
        writer.add_tensor("token_embd.weight", np.zeros((300, 64), dtype=np.float32))
        writer.add_tensor("rope_freqs.weight", factors.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        if good:
            assert hub_config(GGUF(path))["rope_parameters"] == rope
        else:
            with pytest.raises(UserError, match="other than those of Llama 3"):
                hub_config(GGUF(path))


def test_well_known_turn_ends_end_a_reply(tmp_path: Path) -> None:
    """Chat models' files often name only the end of text; known control tokens that end a turn count too."""
    writer = gguf.GGUFWriter(str(tmp_path / "x.gguf"), "llama")
    tokens(writer, end=296)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert gguf_tokenizer(GGUF(tmp_path / "x.gguf")).stop_ids == {296, 297}


def test_partial_rotation_is_refused(tmp_path: Path) -> None:
    """No setting of positions is silently ignored."""
    writer = gguf.GGUFWriter(str(tmp_path / "x.gguf"), "llama")
    facts(writer, "llama")
    writer.add_rope_dimension_count(8)
    writer.add_tensor("token_embd.weight", np.zeros((300, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match="part of each head"):
        hub_config(GGUF(tmp_path / "x.gguf"))


def test_tensor_names_are_those_of_the_reference_package() -> None:
    """For every family."""
    for family, table in GGUF_FAMILIES.items():
        arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
        known = {gguf.TENSOR_NAMES[kind].replace("{bid}", "N") for kind in gguf.MODEL_TENSORS[arch]}
        assert set(table) <= known | {"output"}, family


def _number(place: int, value: int, layout: str = "<Q") -> Callable[[bytearray], None]:
    def spoil(content: bytearray) -> None:
        content[place : place + struct.calcsize(layout)] = struct.pack(layout, value)

    return spoil


def _cut(size: int) -> Callable[[bytearray], None]:
    def spoil(content: bytearray) -> None:
        del content[size:]

    return spoil


SPOILED = {
    "nothing": (_cut(0), "GGUF"),
    "another file": (_number(0, 0x21212121, "<I"), "start with 'GGUF'"),
    "another version": (_number(4, 77, "<I"), "version"),
    "cut off in the header": (_cut(600), "declares|left"),
    "cut off in the tensors": (lambda content: content.__delitem__(slice(-9, None)), "past the end of the file"),
    "more tensors than bytes": (_number(8, 2**60), "declares"),
    "more facts than bytes": (_number(16, 2**62), "declares"),
    "a huge name": (_number(24, 2**63 - 1), "declares"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_file_is_a_user_error(name: str, tmp_path: Path) -> None:
    """Truncated files and invalid lengths give an error that names the file."""
    path = tmp_path / "model.gguf"
    written(path, "llama")
    content = bytearray(path.read_bytes())
    spoil, message = SPOILED[name]
    spoil(content)
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_gguf(path)
    assert "model.gguf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_any_changed_header_byte_is_handled(tmp_path: Path) -> None:
    """The result is a model or a user error."""
    path = tmp_path / "model.gguf"
    written(path, "llama")
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    refused: list[str] = []
    for place in generator.choice(1200, 250, replace=False):
        content = bytearray(whole)
        content[place] = int(generator.integers(256))
        path.write_bytes(content)
        try:
            config, state, _ = read_gguf(path)
            model_of(config, state, path)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert not any("\n" in message for message in refused)


@pytest.mark.skipif(not VECTORS.exists(), reason="SAYSO_TEST_DATA names no folder with published vectors")
@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2"])
def test_published_vectors(name: str) -> None:
    """Every published string gives the published ids."""
    tokenizer = gguf_tokenizer(GGUF(VECTORS / f"{name}.gguf"))
    with (VECTORS / f"{name}.gguf.inp").open(encoding="utf-8", newline="") as file:
        texts = file.read().split("\n__ggml_vocab_test__\n")
    expected = [
        [int(index) for index in line.split()] for line in (VECTORS / f"{name}.gguf.out").read_text().split("\n")
    ]
    assert [tokenizer.encode(text) for text in texts] == expected


def stories(folder: Path, *, tied: bool) -> transformers.PreTrainedModel:
    """Write a llama2.c model and its tokenizer; return the same model in transformers."""
    torch.manual_seed(5)
    config = transformers.LlamaConfig(**SIZES | {"tie_word_embeddings": tied})
    model = transformers.LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.2)
    layers = model.model.layers

    def turned(weight: torch.Tensor) -> torch.Tensor:
        """Interleave the two halves of each head of 16."""
        return weight.view(-1, 2, 8, 64).transpose(1, 2).reshape(weight.shape)

    kinds = [
        [model.model.embed_tokens.weight],
        [layer.input_layernorm.weight for layer in layers],
        [turned(layer.self_attn.q_proj.weight) for layer in layers],
        [turned(layer.self_attn.k_proj.weight) for layer in layers],
        [layer.self_attn.v_proj.weight for layer in layers],
        [layer.self_attn.o_proj.weight for layer in layers],
        [layer.post_attention_layernorm.weight for layer in layers],
        [layer.mlp.gate_proj.weight for layer in layers],
        [layer.mlp.down_proj.weight for layer in layers],
        [layer.mlp.up_proj.weight for layer in layers],
        [model.model.norm.weight, torch.zeros(64, 8), torch.zeros(64, 8)],
        [] if tied else [model.lm_head.weight],
    ]
    head = struct.pack("<7i", 64, 96, 2, 4, 2, 300 if tied else -300, 64)
    body = b"".join(weight.detach().contiguous().numpy().tobytes() for kind in kinds for weight in kind)
    (folder / "model.bin").write_bytes(head + body)
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    pieces += [b" ", *(bytes([97 + number]) for number in range(26)), b"ab", b" ab", b"abc"]
    pieces += [f"x{number}".encode() for number in range(300 - len(pieces))]
    scores = [0.0] * 259 + [-float(number) for number in range(300 - 259)]
    content = b"".join(
        struct.pack("<fi", score, len(piece)) + piece for piece, score in zip(pieces, scores, strict=True)
    )
    (folder / "tok300.bin").write_bytes(struct.pack("<i", 8) + content)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_of_llama2c_has_the_same_logits(tied: bool, tmp_path: Path) -> None:
    """A flat file, with or without a separate head, equals the Llama it was written from."""
    reference = stories(tmp_path, tied=tied)
    config, state, tokenizer = read_llama2c(tmp_path / "model.bin")
    with torch.inference_mode():
        ours = model_of(config, state, tmp_path)(IDS)
        torch.testing.assert_close(ours, reference(IDS).logits, atol=1e-4, rtol=1e-4)
    assert tokenizer.decode(tokenizer.encode("ab abc é")) == " ab abc é"
    assert tokenizer.specials == {"<|bos|>": 1, "<|end|>": 2}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut(20), "seven integers"),
        (_cut(5000), "bytes"),
        (_number(0, 7, "<i"), "sizes in its header"),
        (_number(8, -1, "<i"), "sizes in its header"),
    ],
)
def test_a_damaged_llama2c_model_is_refused(spoil: Callable[[bytearray], None], message: str, tmp_path: Path) -> None:
    """Truncated, invalid sizes, no tokenizer, or one that is too short."""
    stories(tmp_path, tied=True)
    content = bytearray((tmp_path / "model.bin").read_bytes())
    spoil(content)
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_llama2c(tmp_path / "bad.bin")


def test_a_model_of_llama2c_needs_its_tokenizer(tmp_path: Path) -> None:
    """There must be one tokenizer with as many tokens as the model has ids."""
    stories(tmp_path, tied=True)
    tokens = tmp_path / "tok300.bin"
    tokens.write_bytes(tokens.read_bytes()[:-3])
    with pytest.raises(UserError, match="300 tokens"):
        read_llama2c(tmp_path / "model.bin")
    tokens.unlink()
    with pytest.raises(UserError, match="has none"):
        read_llama2c(tmp_path / "model.bin")


@pytest.mark.skipif(not STORIES.exists(), reason="SAYSO_TEST_DATA names no folder with stories260K")
def test_stories260k_generates_the_published_text() -> None:
    """Greedy decoding of the published model."""
    from sayso.reply.conversation import Replier
    from sayso.sample.sampling import Sampling

    config, state, tokenizer = read_llama2c(STORIES / "stories260K.bin")
    replier = Replier(model_of(config, state, STORIES), tokenizer)
    expected = (STORIES / "expected_greedy_200.txt").read_text().rstrip("\n")
    (reply,) = replier.complete(["Once upon a time"], Sampling(temperature=0, max_tokens=200))
    assert ("Once upon a time" + reply.text)[: len(expected)] == expected
