"""LoRA: the formula, PEFT's format, and runs that train only an adapter."""

import math
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from sayso.align.pairs.preference import PairTerm, Preference
from sayso.align.pairs.reference import Frozen
from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.pairs import PairBatches
from sayso.cli.main import run
from sayso.loss.next_token import next_token_loss
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, LoRALinear, adapters, add_lora, chosen_targets, merge, without_adapters
from sayso.model.linear import Linear
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.train.measure import step_flops
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.workers import can_fork
from sayso.weights.adapter import CONFIG as SETTINGS
from sayso.weights.adapter import WEIGHTS, load_adapter, save_adapter
from sayso.weights.folder import load_model, save_model

# peft asks transformers for a property by a name that is deprecated there
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
CONFIG = ModelConfig(vocab_size=300, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=48, context=64)
GPT2 = replace(
    CONFIG, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", tie_embeddings=True,
    biases=("qkv", "out", "mlp"),
)  # fmt: skip
SHAPES = [CONFIG, replace(CONFIG, mlp="relu2"), replace(CONFIG, tie_embeddings=True), GPT2]
LORA = LoRA(rank=3, alpha=8.0, targets=("query", "value", "up"))
IDS = torch.randint(300, (2, 40), generator=torch.Generator().manual_seed(1))


def noise(*weights: torch.Tensor) -> None:
    """Add noise to weights, so that none is zero or one."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in weights:
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))


def random_model(config: ModelConfig = CONFIG) -> Transformer:
    """Return a model with random weights."""
    model = Transformer(config).initialize(torch.Generator().manual_seed(0)).eval()
    noise(*model.parameters())
    return model


def adapted(model: Transformer, lora: LoRA = LORA) -> Transformer:
    """Add adapters with random weights to a model."""
    add_lora(model, lora, torch.Generator().manual_seed(2))
    noise(*(layer.b for layer in adapters(model).values()))
    return model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], 300)


@pytest.fixture(params=SHAPES, ids=["swiglu", "relu2", "tied", "gpt2"])
def folder(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """Return the folder of a model with random weights."""
    save_model(random_model(request.param), tokenizer, tmp_path / "model", {"stage": "base"})
    return tmp_path / "model"


def test_an_adapted_layer_is_the_formula() -> None:
    """It returns W x + (alpha / rank) B A x, for inputs of any leading shape."""
    linear = Linear(6, 4)
    a, b, x = torch.randn(2, 6), torch.randn(4, 2), torch.randn(3, 5, 6)
    expected = x @ (linear.weight + 1.5 * b @ a).T
    torch.testing.assert_close(LoRALinear(linear, a, b, 1.5)(x), expected)


def test_a_new_adapter_changes_nothing_and_only_it_is_trained() -> None:
    """B is zero; only A and B of the targets in every block have a gradient and an optimizer."""
    model = random_model()
    before = model(IDS)
    add_lora(model, LORA, torch.Generator().manual_seed(2))
    assert torch.equal(model(IDS), before)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    layers = ("attention.query", "attention.value", "mlp.up")
    assert trained == {f"blocks.{n}.{layer}.{part}" for n in range(2) for layer in layers for part in "ab"}
    next_token_loss(model, IDS, IDS, torch.zeros_like(IDS))[0].backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == trained
    (optimizer,) = make_optimizers(model, Rates())
    owned = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert {id(weight) for weight in owned} == {id(w) for w in model.parameters() if w.requires_grad}
    assert len(owned) == len(trained)


@pytest.mark.parametrize("config", SHAPES, ids=["swiglu", "relu2", "tied", "gpt2"])
def test_merging_leaves_a_plain_model_with_the_same_logits(config: ModelConfig) -> None:
    """The merged model has the names of a plain one, all its weights are trainable, and its logits are equal."""
    model, plain = adapted(random_model(config), LoRA(3, 8.0, ())), random_model(config)
    targets = chosen_targets(plain)
    assert len(adapters(model)) == 2 * len(targets) == 2 * (7 if config.mlp == "swiglu" else 6)
    with torch.inference_mode():
        expected = model(IDS)
        assert (expected - plain(IDS)).abs().max() > 0.1
        with without_adapters(model):
            assert torch.equal(model(IDS), plain(IDS))
        assert torch.equal(model(IDS), expected)
    assert len(merge(model)) == 2 * len(targets)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(weight.requires_grad for weight in model.parameters())
    torch.testing.assert_close(model(IDS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"targets": ("querry",)}, "Did you mean 'query'"),
        ({"rank": 0}, "at least 1"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"targets": ("unembed",)}, "one of query, key, value, out, gate, up, down"),
    ],
)
def test_an_invalid_adapter_is_refused(bad: dict, message: str) -> None:
    """The error has the nearest name of a target."""
    with pytest.raises(UserError, match=message):
        add_lora(random_model(), replace(LORA, **bad), torch.Generator())


def test_a_step_of_an_adapted_model_computes_no_gradients_of_frozen_matrices() -> None:
    """4 operations per frozen weight and token, 6 per weight of an adapter."""
    matrices = CONFIG.matmul_parameters - CONFIG.head_parameters
    assert step_flops(CONFIG, 10, 3, narrow=7) == 10 * (4 * matrices + 6 * 7) + 3 * 4 * CONFIG.head_parameters


def test_peft_opens_our_adapter_with_the_same_logits(folder: Path) -> None:
    """With the parent loaded by transformers, peft's logits agree with those of our adapted model to 1e-4."""
    model, _ = load_model(folder)
    adapted(model)
    save_adapter(adapters(model), model.config, LORA, str(folder), folder.parent / "adapter")
    parent = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(parent, folder.parent / "adapter").eval()
    with torch.inference_mode():
        assert (model(IDS) - theirs(IDS).logits).abs().max() < 1e-4
    again, _ = load_model(folder)
    summary = load_adapter(again, folder.parent / "adapter")
    assert summary == {"rank": 3, "alpha": 8, "targets": ["query", "value", "up"]}
    assert torch.equal(again(IDS), model(IDS))


PEFTS = {
    "plain": {"target_modules": ["q_proj", "v_proj"], "r": 4, "lora_alpha": 16},
    "stabilised": {
        "target_modules": "all-linear", "r": 4, "lora_alpha": 6, "use_rslora": True, "lora_dropout": 0.1,
    },
    "patterns": {
        "target_modules": ["q_proj", "o_proj", "down_proj"],
        "layers_to_transform": [1],
        "rank_pattern": {"o_proj": 2, r"model\.layers\.1\.mlp\.down_proj": 5},
        "alpha_pattern": {"layers.1.self_attn.q_proj": 3, "down_proj": 20},
    },
}  # fmt: skip
PEFTS_OF_GPT2 = {
    "plain": {"target_modules": ["c_attn"], "r": 4, "lora_alpha": 16},
    "stabilised": PEFTS["stabilised"],
    "patterns": {
        "target_modules": ["c_attn", "attn.c_proj", "c_fc"],
        "layers_to_transform": [1],
        "rank_pattern": {"attn.c_proj": 2, r"transformer\.h\.1\.mlp\.c_fc": 5},
        "alpha_pattern": {"h.1.attn.c_attn": 3, "c_fc": 20},
    },
}


@pytest.mark.parametrize("kind", PEFTS)
def test_an_adapter_saved_by_peft_has_the_same_logits_here(folder: Path, kind: str) -> None:
    """They agree with peft's to 1e-4, adapted and merged."""
    gpt2 = read_json(folder / "config.json")["model_type"] == "gpt2"
    settings = (PEFTS_OF_GPT2 if gpt2 else PEFTS)[kind] | {"fan_in_fan_out": gpt2}
    parent = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = get_peft_model(parent, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    noise(*(weight for weight in theirs.parameters() if weight.requires_grad))
    theirs.save_pretrained(folder.parent / "adapter")
    ours, _ = load_model(folder)
    load_adapter(ours, folder.parent / "adapter")
    with torch.inference_mode():
        expected = theirs(IDS).logits
        assert (ours(IDS) - expected).abs().max() < 1e-4
        merge(ours)
        assert (ours(IDS) - expected).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"future_setting": 3}, "future_setting"),
    ],
)
def test_settings_beyond_plain_lora_are_refused(settings: dict, message: str, tmp_path: Path) -> None:
    """The error names the setting that changes the meaning of the weights."""
    model = adapted(random_model())
    save_adapter(adapters(model), CONFIG, LORA, "base", tmp_path)
    write_json(tmp_path / SETTINGS, read_json(tmp_path / SETTINGS) | settings)
    with pytest.raises(UserError, match=message):
        load_adapter(random_model(), tmp_path)


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    """No adapter, too many blocks, another width, a missing matrix, another kind of layer."""
    with pytest.raises(UserError, match=SETTINGS):
        load_adapter(random_model(), tmp_path)
    save_adapter(adapters(adapted(random_model())), CONFIG, LORA, "base", tmp_path)
    with pytest.raises(UserError, match=r"layers\.1\..*choose its base model"):
        load_adapter(random_model(replace(CONFIG, layers=1)), tmp_path)
    with pytest.raises(UserError, match="has 64 inputs and"):
        load_adapter(random_model(replace(CONFIG, width=64)), tmp_path)
    (tmp_path / f"{WEIGHTS}.sha256").unlink()  # as a third-party adapter
    tensors = load_file(tmp_path / WEIGHTS)
    first, *rest = sorted(tensors)
    save_file({name: tensors[name] for name in rest}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="copy it again"):
        load_adapter(random_model(), tmp_path)
    save_file(tensors | {"base_model.model.lm_head.lora_A.weight": tensors[first].clone()}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="linear layers"):
        load_adapter(random_model(), tmp_path)


WORDS = ("red", "blue", "green", "grey", "white", "black")


@pytest.fixture(scope="module")
def parent_life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with a base model of random weights, conversations, and pairs from feedback."""
    life = Life(tmp_path_factory.mktemp("lora") / "life")
    questions = [f"What is {word}?" for word in WORDS]
    replies = [f"A colour: {word}." for word in WORDS]
    turns = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        for question, reply in zip(questions, replies, strict=True)
    ]
    write_jsonl(life.data("chat") / "train.jsonl", ({"messages": both, "source": "test"} for both in turns * 4))
    pairs = [{"prompt": both[:1], "chosen": both[1]["content"], "rejected": "No.", "source": "f"} for both in turns]
    write_jsonl(life.data("feedback") / "pairs.jsonl", pairs)
    tokenizer = train_tokenizer("bpe", [*questions, *replies] * 5, 300)
    tokenizer.save(life.tokenizer)
    config = replace(CONFIG, vocab_size=tokenizer.vocab_size)
    save_model(random_model(config), tokenizer, life.model("base"), {"stage": "base"})
    return life.root


FLAGS = {
    "finetune": ["--rows", "2", "--row-tokens", "64", "--steps", "8"],
    "align": ["--parent", "base", "--tasks", "0", "--rows", "4", "--rate", "1"],
}
MADE = {"finetune": "tuned", "align": "aligned"}


def act(name: str, life: Life, *flags: str) -> int:
    """Run an act that trains an adapter, with two processes if possible; return its exit code."""
    processes = ["--processes", "2"] if can_fork("cpu") else []
    given = ["--life", str(life.root), "--lora-rank", "2", "--device", "cpu", "--save-seconds", "0", "--keep", "99"]
    return run([name, *FLAGS[name], *given, *processes, *flags])


@pytest.fixture(scope="module", params=FLAGS)
def trained(request: pytest.FixtureRequest, parent_life: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """An act's name, the life in which it trained an adapter, and the folders of its run and its model."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path_factory.mktemp(request.param) / "life")))
    assert act(request.param, life) == 0
    model = MADE[request.param]
    return request.param, life, life.run(f"{request.param}-{model}"), life.model(model)


def test_an_act_saves_the_parent_merged_with_the_adapter(trained: tuple) -> None:
    """The loss falls; checkpoints contain only A and B; the model is the parent merged with the saved adapter."""
    _, life, ran, folder = trained
    log = read_log(ran / "run.jsonl")
    losses = [line["loss"] for line in log if line["event"] == "step"]
    assert losses[-1] < losses[0]
    assert next(line["peak_rates"].keys() for line in log if line["event"] == "speed") == {"adapter"}
    for path in (ran / "checkpoints").iterdir():
        assert {key.rpartition(".")[2] for key in load_file(path / "model.safetensors")} == {"a", "b"}
    targets = ["query", "key", "value", "out", "gate", "up", "down"]
    assert read_json(folder / "sayso.json")["config"]["lora"] == {"rank": 2, "alpha": 32, "targets": targets}
    assert "rank 2, alpha 32" in (folder / "README.md").read_text()
    merged, parent = load_model(folder)[0], load_model(life.model("base"))[0]
    assert not torch.allclose(merged(IDS % 200), parent(IDS % 200), atol=1e-3)
    load_adapter(parent, folder / "adapter")
    merge(parent)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(merged.parameters(), parent.parameters(), strict=True))


def test_the_reference_of_an_adapted_policy_is_the_model_without_its_adapters(parent_life: Path) -> None:
    """Losses and gradients are those with a copy of the parent as reference; before training, the loss is ln 2."""
    model, tokenizer = load_model(Life(parent_life).model("base"))
    parent = deepcopy(model)
    prompt, good, bad = (tokenizer.encode(text) for text in ("What is red?", "A colour: red.", "No."))
    batch = PairBatches([(prompt, good, bad)] * 2, 2, 64, 0).batch(0)
    add_lora(model, LORA, torch.Generator().manual_seed(2))
    preference = Preference("dpo", 0.1)
    assert PairTerm(preference, Frozen())(model, batch).loss.item() == pytest.approx(2 * math.log(2), abs=1e-6)
    noise(*(layer.b for layer in adapters(model).values()))
    losses, gradients = [], []
    for reference in (Frozen(), Frozen(parent)):
        loss = PairTerm(preference, reference)(model, batch).loss
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, [layer.a for layer in adapters(model).values()]))
    assert losses[0] == losses[1] != pytest.approx(2 * math.log(2), abs=1e-3)
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_an_interrupted_run_of_an_adapter_ends_with_the_same_weights(trained: tuple, tmp_path: Path) -> None:
    """After a kill in the second step, the same command ends with bitwise equal files."""
    name, life, ran, folder = trained
    killed = Life(Path(shutil.copytree(life.root, tmp_path / "life")))
    later = sorted((killed.run(ran.name) / "checkpoints").iterdir())[1:]
    for path in [*later, killed.model(folder.name)]:
        shutil.rmtree(path)
    log = killed.run(ran.name) / "run.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True)[:-1]))
    assert act(name, killed) == 0
    assert [line["step"] for line in read_log(log) if line["event"] == "resume"] == [1]
    for file in ("model.safetensors", f"adapter/{WEIGHTS}"):
        assert sha256(killed.model(folder.name) / file) == sha256(folder / file)


def test_merging_yields_the_model_of_the_act(trained: tuple, capsys: pytest.CaptureFixture[str]) -> None:
    """The weights are equal; repeating the command changes nothing; the name of another model is refused."""
    _, life, _, folder = trained
    words = ["merge", "--life", str(life.root), "--adapter", str(folder / "adapter"), "--parent", "base"]
    assert run([*words, "--name", "merged"]) == 0
    assert sha256(life.model("merged") / "model.safetensors") == sha256(folder / "model.safetensors")
    assert read_json(life.model("merged") / "sayso.json")["config"]["lora"]["rank"] == 2
    capsys.readouterr()
    assert run([*words, "--name", "merged"]) == 0
    assert "already" in capsys.readouterr().out
    assert run([*words, "--name", folder.name]) == 2
    assert "another --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lora-rank", "0"], "from 1 to"),
        (["--lora-rank", "2", "--lora-targets", "qery"], "Did you mean 'query'"),
        (["--lora-alpha", "4"], "requires --lora-rank"),
    ],
)
def test_invalid_flags_are_refused(
    flags: list[str], message: str, parent_life: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error comes before training."""
    assert run(["finetune", "--life", str(parent_life), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not Life(parent_life).run("finetune-tuned").exists()
