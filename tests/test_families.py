"""Models of third-party families, compared with transformers in both directions."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

from sayso.base.errors import UserError
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora, merge
from sayso.model.segments import Segments
from sayso.sample.blocks import blocks_for
from sayso.sample.pages import Pages
from sayso.sample.runner import Chunk, TorchRunner
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import load_weights, save_model
from sayso.weights.names import family_of, from_hub, from_hub_config, to_hub, to_hub_config

VOCABULARY, LAYERS, CONTEXT = 300, 4, 96
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
SLIDING = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2}
GEMMA = SHAPE | {
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "sliding_window": 7,
    "hidden_activation": "gelu_pytorch_tanh",
}
STRETCHED = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24},
}


GEMMA3_ROPE = {
    "full_attention": STRETCHED["linear"] | {"rope_theta": 500.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 60.0},
}


def scaled(kind: str, theta: float = 50.0) -> dict:
    """Return a config's entry for a rope type, with a theta for which some pairs are scaled and some are not."""
    return {"rope_parameters": STRETCHED[kind] | {"rope_theta": theta}}


FAMILIES = {
    "gpt2": ("gpt2", GPT2),
    "gpt2-relu": ("gpt2", GPT2 | {"activation_function": "relu"}),
    "gpt2-untied": ("gpt2", GPT2 | {"tie_word_embeddings": False, "n_inner": 40}),
    "llama": ("llama", SHAPE),
    "llama-biases-tied": ("llama", SHAPE | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama-linear": ("llama", SHAPE | scaled("linear")),
    "llama-llama3": ("llama", SHAPE | scaled("llama3")),
    "llama-yarn": ("llama", SHAPE | scaled("yarn")),
    "mistral": ("mistral", SHAPE | {"sliding_window": 7, "head_dim": 12}),
    "mistral-full": ("mistral", SHAPE | {"sliding_window": None}),
    "qwen2": ("qwen2", SHAPE),
    "qwen2-sliding-yarn": ("qwen2", SHAPE | SLIDING | scaled("yarn")),
    "qwen3": ("qwen3", SHAPE | {"head_dim": 16}),
    "qwen3-sliding": ("qwen3", SHAPE | SLIDING | {"attention_bias": True, "head_dim": 8}),
    "smollm3": ("smollm3", SHAPE),
    "smollm3-sliding": (
        "smollm3",
        SHAPE | {"use_sliding_window": True, "sliding_window": 7, "no_rope_layer_interval": 2},
    ),
    "olmo2": ("olmo2", SHAPE),
    "apertus": ("apertus", SHAPE | {"hidden_act": "relu2"}),
    "gemma2": ("gemma2", GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 9.0}),
    "gemma3": ("gemma3_text", GEMMA | {"sliding_window_pattern": 3}),
    "gemma3-linear": ("gemma3_text", GEMMA | {"rope_parameters": GEMMA3_ROPE, "final_logit_softcapping": 9.0}),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, which is faster for such small models."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return a random model of a family made by transformers, its folder, and our model of it."""
    kind, settings = FAMILIES[request.param]
    theirs = made(kind, settings)
    folder = tmp_path_factory.mktemp("family")
    theirs.save_pretrained(folder)
    return SimpleNamespace(kind=kind, theirs=theirs, folder=folder, ours=load_weights(folder))


def made(kind: str, settings: dict) -> transformers.PreTrainedModel:
    """Return a model of transformers with only random weights, including biases and gains."""
    config = transformers.AutoConfig.for_model(kind, **settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def random_ids(*shape: int, seed: int = 1) -> torch.Tensor:
    """Return random token ids."""
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Check that logits agree to 1e-4."""
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@torch.inference_mode()
def test_logits_agree_with_transformers(opened: SimpleNamespace) -> None:
    """Over a full context: beyond the windows and beyond the context before RoPE scaling."""
    ids = random_ids(2, CONTEXT)
    close(opened.ours(ids), opened.theirs(ids).logits)


@torch.inference_mode()
def test_cached_decoding_gives_the_same_logits(opened: SimpleNamespace) -> None:
    """Prompts of unequal length in a batch, then single tokens, agree with transformers on each alone."""
    ids, counts, steps = random_ids(3, 40), [13, 1, 22], 10
    expected = opened.theirs(ids).logits
    size = blocks_for(max(counts) + steps)
    pages = Pages(opened.ours.config, 3 * size, torch.device("cpu"), torch.float32)
    pages.clear(range(len(pages)))
    runner, tables = TorchRunner(opened.ours, pages), [list(range(row * size, row * size + size)) for row in range(3)]

    def logits(starts: list[int], lengths: list[int]) -> list[torch.Tensor]:
        chunks = [
            Chunk(row[start : start + length].tolist(), start, table)
            for row, start, length, table in zip(ids, starts, lengths, tables, strict=True)
        ]
        return list(runner.head(runner.hidden(chunks)).split(lengths))

    for row, found in enumerate(logits([0] * 3, counts)):
        close(found, expected[row, : counts[row]])
    for step in range(steps):
        starts = [count + step for count in counts]
        for row, found in enumerate(logits(starts, [1] * 3)):
            close(found[0], expected[row, starts[row]])


def test_packed_documents_of_any_family_do_not_affect_each_other(opened: SimpleNamespace) -> None:
    """Logits and gradients equal those of separate rows, with and without recomputation."""
    sizes = [[17, 1, 46], [30, 34]]
    documents = torch.tensor([[number for number, size in enumerate(row) for _ in range(size)] for row in sizes])
    ids, wanted = random_ids(2, 64), torch.randn(2, 64, VOCABULARY, generator=torch.Generator().manual_seed(3))
    segments, model = Segments(documents), opened.ours
    weights = list(model.parameters())
    packed = model(ids, positions=segments.positions, mask=segments)
    gradients = torch.autograd.grad((packed * wanted).sum(), weights)
    model.recompute = True
    alone = torch.cat([model(piece[None])[0] for row in (0, 1) for piece in ids[row].split(sizes[row])])
    expected = torch.autograd.grad((alone * wanted.flatten(0, 1)).sum(), weights)
    model.recompute = False
    torch.testing.assert_close(packed.flatten(0, 1), alone, atol=1e-4, rtol=1e-4)
    for mine, reference in zip(gradients, expected, strict=True):
        # a bias of keys changes no softmax: its gradient is rounding alone
        torch.testing.assert_close(mine, reference, atol=1e-4 * float(reference.abs().max()) + 1e-4, rtol=1e-3)


@pytest.mark.parametrize("cap", [0.0, 3.0])
def test_the_chunked_loss_supports_capped_logits(cap: float) -> None:
    """Loss and gradients equal those computed from the full logits, with and without a soft cap."""
    config = ModelConfig(VOCABULARY, 1, 16, 2, 1, 8, 24, logit_cap=cap)
    model, ids = Transformer(config), random_ids(3, 9)
    targets, documents = random_ids(3, 9, seed=2), torch.zeros(3, 9, dtype=torch.int32)
    weights = list(model.parameters())
    loss, count = next_token_loss(model, ids, targets, documents)
    expected = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="sum")
    assert count == 27
    torch.testing.assert_close(loss, expected)
    for mine, reference in zip(*(torch.autograd.grad(x, weights) for x in (loss, expected)), strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-4, rtol=1e-4)


def test_adapters_merge_into_any_family(opened: SimpleNamespace) -> None:
    """With adapters on every linear layer, biases are kept, and the merged logits are the same."""
    model = load_weights(opened.folder)
    add_lora(model, LoRA(2, 4.0, ()), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".b"):
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    ids = random_ids(1, 30)
    adapted = model(ids)
    merge(model)
    torch.testing.assert_close(model(ids), adapted, atol=1e-4, rtol=1e-4)
    assert (adapted - opened.ours(ids)).abs().max() > 1e-2


def test_names_and_config_round_trip(opened: SimpleNamespace) -> None:
    """Converting to the hub's format and back gives the same tensors and shape, under the file's names."""
    state, config = opened.ours.state_dict(), opened.ours.config
    theirs = to_hub(state, config)
    back = from_hub(theirs, config)
    assert theirs.keys() == load_file(opened.folder / "model.safetensors").keys()
    assert back.keys() == state.keys()
    for name in state:  # a Gemma's gains lose a bit less 1 where they are small
        torch.testing.assert_close(back[name], state[name], rtol=0, atol=1e-7 if "gemma" in opened.kind else 0)
    assert from_hub_config(json.loads(json.dumps(to_hub_config(config)))) == config


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], VOCABULARY)


@torch.inference_mode()
def test_transformers_opens_our_folders(opened: SimpleNamespace, tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A model of any family that we saved gives the original logits in transformers."""
    save_model(opened.ours, tokenizer, tmp_path / "model", {"stage": "base"})
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    ids = random_ids(1, CONTEXT)
    close(again(ids).logits, opened.theirs(ids).logits)
    if opened.kind != "mistral":  # one without a window is a Llama as well
        assert again.config.model_type == opened.kind


@torch.inference_mode()
def test_weights_in_several_files_and_16_bits(tmp_path: Path) -> None:
    """A sharded folder in bfloat16 opens in float32 with the stored values."""
    made("llama", SHAPE).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="20KB")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    ours, ids = load_weights(tmp_path), random_ids(1, 20)
    assert {weight.dtype for weight in ours.parameters()} == {torch.float32}
    close(ours(ids), theirs(ids).logits)


@torch.inference_mode()
def test_older_files_open(tmp_path: Path) -> None:
    """GPT-2 without prefix and with masks, Llama with `rope_scaling` and frequencies, as published."""
    theirs = made("gpt2", GPT2)
    theirs.save_pretrained(tmp_path / "gpt2")
    path = tmp_path / "gpt2" / "model.safetensors"
    bare = {name.removeprefix("transformer."): x for name, x in load_file(path).items()}
    save_file(bare | {"h.0.attn.bias": torch.ones(1, 1, 4, 4).tril()}, path)
    rewrite(tmp_path / "gpt2", tie_word_embeddings=None)
    ids = random_ids(1, 20)
    close(load_weights(tmp_path / "gpt2")(ids), theirs(ids).logits)
    theirs = made("llama", SHAPE | scaled("llama3"))
    theirs.save_pretrained(tmp_path / "llama")
    path = tmp_path / "llama" / "model.safetensors"
    save_file(load_file(path) | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}, path)
    table = STRETCHED["llama3"] | {"type": "llama3"}
    rewrite(tmp_path / "llama", rope_parameters=None, rope_scaling=table, rope_theta=50.0, head_dim=None)
    close(load_weights(tmp_path / "llama")(ids), theirs(ids).logits)


def rewrite(folder: Path, **changes: object) -> None:
    """Change entries of a folder's config.json; None removes one."""
    facts = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({name: x for name, x in facts.items() if x is not None}))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel tells what is mapped on Linux")
def test_float32_weights_stay_memory_mapped(tmp_path: Path) -> None:
    """A loaded model takes no memory before it is used."""
    theirs = made("llama", SHAPE)
    theirs.save_pretrained(tmp_path)
    ours = load_weights(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    starts = [[int(end, 16) for end in line.split()[0].split("-")] for line in mapped]
    assert all(any(low <= weight.data_ptr() < high for low, high in starts) for weight in ours.parameters())
    assert sum(high - low for low, high in starts) < 2 * size + 2**16


def test_other_shapes_use_our_own_family() -> None:
    """Any combination of config values is saved as the type `sayso` and restored."""
    config = ModelConfig(
        vocab_size=50,
        layers=4,
        width=16,
        heads=2,
        kv_heads=1,
        head_size=8,
        mlp_width=24,
        mlp="geglu",
        windows=(3, 0),
        norm="layer",
        norm_place="both",
        qk_norm="whole",
        biases=("mlp", "qkv"),
        rope={"stretch": "linear", "factor": 2.0, "nope_layers": [3, 1]},
        logit_cap=30.0,
        attention_cap=5.0,
        embed_scale=4.0,
    )
    facts = json.loads(json.dumps(to_hub_config(config)))
    assert facts["model_type"] == "sayso"
    assert from_hub_config(facts) == config
    state = Transformer(config).state_dict()
    back = from_hub(to_hub(state, config), config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("shape", [["rope"], "rope", {"depth": 3}, {"logit_cap": 30.0, "depth": 3}], ids=str)
def test_an_invalid_shape_of_our_own_family_is_refused(shape: object) -> None:
    """The error lists the valid keys."""
    facts = to_hub_config(ModelConfig(50, 1, 16, 2, 1, 8, 24, logit_cap=30.0))
    assert facts["shape"] == {"logit_cap": 30.0}
    with pytest.raises(UserError, match=r"must be an object with keys from positions, rope, .*embed_scale, shift\."):
        from_hub_config(facts | {"shape": shape})


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"model_type": "mixtral"}, "'mixtral'. Did you mean 'mistral'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act silu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ("llama", {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "factor in config.json must be a number"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": float("nan")}}, "must be a number"),
        ("llama", {"rope_parameters": [1]}, "must be an object"),
        ("llama", {"rope_theta": 0.5, "rope_parameters": None}, "rope_theta must be greater than 1"),
        ("llama", {"quantization_config": {"bits": 4}}, "this one has quant_method None"),
        ("llama", {"auto_map": {"AutoModel": "model.Mine"}}, "auto_map"),
        ("llama", {"hidden_size": "wide"}, "hidden_size in config.json must be an integer"),
        ("llama", {"hidden_size": None}, "hidden_size in config.json must be an integer"),
        ("llama", {"num_hidden_layers": 10**9}, "num_hidden_layers in config.json must be 1 to"),
        ("llama", {"num_hidden_layers": 3}, "has no 'model.layers.3"),
        ("llama", {"num_hidden_layers": 5}, "'model.layers.4.* is missing"),
        ("llama", {"hidden_size": 2**60, "head_dim": 2**62}, "sizes"),
        ("llama", {"intermediate_size": 64}, r"shape \(48, 32\), expected \(64, 32\)"),
        ("llama", {"tie_word_embeddings": True}, "has no 'lm_head.weight'"),
        ("mistral", {"attention_bias": True}, "attention_bias False"),
        ("mistral", {"layer_types": ["full_attention"] * 4}, "layer_types"),
        ("gemma2", {"query_pre_attn_scalar": 16}, "query_pre_attn_scalar 8"),
        ("gemma2", {"hidden_activation": "gelu"}, "gelu_pytorch_tanh"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention False"),
        ("qwen2", {"use_sliding_window": True, "layer_types": ["full_attention"]}, "layer_types"),
        ("qwen2", {"layer_types": ["sliding_attention"] * 4}, "needs a sliding_window"),
        ("smollm3", {"no_rope_layers": [1, 2]}, "no_rope_layers"),
        ("apertus", {"hidden_act": "xielu"}, "hidden_act relu2"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx False"),
        ("gpt2", {"activation_function": "tanh"}, "gelu_new"),
    ],
)
def test_unsupported_settings_are_refused(
    kind: str, changes: dict, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """The error names the file."""
    for file in folders[kind].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rewrite(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_weights(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of some families."""
    found = {}
    for kind in ("llama", "mistral", "qwen2", "smollm3", "apertus", "gpt2", "gemma2", "gemma3"):
        found[kind] = tmp_path_factory.mktemp(kind)
        made(*FAMILIES[kind]).save_pretrained(found[kind])
    return found


def test_models_trained_from_scratch_keep_their_families() -> None:
    """Qwen3 with SwiGLU, Apertus with squared ReLU."""
    shape = {"vocab_size": 50, "layers": 2, "width": 16, "heads": 2, "kv_heads": 1, "head_size": 8, "mlp_width": 24}
    kinds = [family_of(ModelConfig(**shape, mlp=mlp)).model_type for mlp in ("swiglu", "relu2")]
    assert kinds == ["qwen3", "apertus"]
