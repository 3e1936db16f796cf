"""Reward models: scores, training, checkpoints, and the format of transformers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from sayso.base.errors import UserError
from sayso.base.files import read_json, write_json
from sayso.model import ModelConfig, Transformer
from sayso.model.adapters import LoRA, add_lora, merge
from sayso.model.score import add_score, last_scores, last_tokens, normalize, score_head, token_scores
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.train.checkpoint import load_checkpoint, save_checkpoint
from sayso.train.loop import State, train
from sayso.train.optimizers import Rates, make_optimizers
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_model, save_model

CONFIG = ModelConfig(vocab_size=300, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=48, context=64)
GPT2 = replace(
    CONFIG, kv_heads=4, mlp="gelu", positions="learned", norm="layer", qk_norm="none", tie_embeddings=True,
    biases=("qkv", "out", "mlp"),
)  # fmt: skip
SHAPES = {
    "qwen3": CONFIG,
    "qwen3-tied": replace(CONFIG, tie_embeddings=True),
    "llama": replace(CONFIG, qk_norm="none"),
    "gpt2": GPT2,
}
LENGTHS = (9, 40, 1, 23)


def scorer(config: ModelConfig = CONFIG) -> Transformer:
    """Return a reward model with random weights."""
    generator = torch.Generator().manual_seed(0)
    model = Transformer(config).initialize(generator).eval()
    add_score(model, generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def batch(padding: int, last: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of unequal length, padded with an id; `last` is the id at the end of every row."""
    ids = torch.randint(5, 300, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(1))
    documents = torch.full(ids.shape, -1, dtype=torch.int32)
    for row, length in enumerate(LENGTHS):
        ids[row, length:], documents[row, :length] = padding, row
        if last is not None:
            ids[row, length - 1] = last
    return ids, documents


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], 300)


def test_the_score_is_at_the_last_token_before_padding() -> None:
    """A padded row has the score of the row alone, also if padding has the id that ends replies."""
    model, (ids, documents) = scorer(), batch(padding=1, last=1)
    alone = [token_scores(model, ids[i : i + 1, :n], documents[i : i + 1, :n])[0, -1] for i, n in enumerate(LENGTHS)]
    torch.testing.assert_close(last_scores(model, ids, documents), torch.stack(alone))


def test_packed_documents_have_the_scores_of_separate_rows() -> None:
    """Each of several documents in a row has its own score."""
    model, (ids, documents) = scorer(), batch(padding=0)
    parts = [ids[i, :n] for i, n in enumerate(LENGTHS)]
    numbers = [torch.full((n,), i, dtype=torch.int32) for i, n in enumerate(LENGTHS)]
    row, packed = torch.cat([*parts, torch.zeros(7, dtype=torch.int64)])[None], torch.cat(numbers)
    packed = torch.cat((packed, torch.full((7,), -1, dtype=torch.int32)))[None]
    assert last_tokens(packed)[0].nonzero()[:, 0].tolist() == [8, 48, 49, 72]
    torch.testing.assert_close(last_scores(model, row, packed), last_scores(model, ids, documents))


def test_the_initial_head_is_that_of_the_paper() -> None:
    """Weights have a standard deviation of 1 / sqrt(C + 1), or 0 for a value model; the bias is 0."""
    wide = replace(CONFIG, width=4096, layers=1)
    with torch.device("meta"):
        model = Transformer(wide)
    head = score_head(add_score(model.to_empty(device="cpu"), torch.Generator().manual_seed(0)))
    assert head is not None
    assert abs(head.weight.std().item() * 4097**0.5 - 1) < 0.05
    assert head.bias.item() == 0
    zero = score_head(add_score(Transformer(CONFIG), std=0.0))
    assert zero is not None
    assert not zero.weight.any()


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_checkpoint_restores_all_trained_weights(shape: str, lora: bool, tmp_path: Path) -> None:
    """All weights, or adapters and the head, change in a step and are restored."""

    def fresh() -> State:
        model = Transformer(SHAPES[shape]).initialize(torch.Generator().manual_seed(0))
        if lora:
            add_lora(model, LoRA(2, 4.0, ()), torch.Generator().manual_seed(2))
        add_score(model, torch.Generator().manual_seed(3))
        return State(model, make_optimizers(model, Rates().times(0.01)))

    def loss(model: Transformer, part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, int, int]:
        return (last_scores(model, *part) - 3.0).square().sum(), len(LENGTHS), 1

    state = fresh()
    before = {name: weight.clone() for name, weight in state.model.named_parameters()}
    train(state, lambda _: [batch(0)], loss, Schedule(2, warmup=0))
    moved = {name for name, weight in state.model.named_parameters() if not torch.equal(weight, before[name])}
    assert {"score.weight", "score.bias"} <= moved
    trained = {name for name, weight in state.model.named_parameters() if weight.requires_grad}
    assert trained == ({n for n in before if n.endswith((".a", ".b"))} | {"score.weight", "score.bias"}
                       if lora else before.keys() - {"unembed.weight"})  # fmt: skip
    save_checkpoint(state, tmp_path)
    again = fresh()
    assert load_checkpoint(again, tmp_path)
    assert torch.equal(last_scores(again.model, *batch(0)), last_scores(state.model, *batch(0)))
    merge(again.model)
    torch.testing.assert_close(last_scores(again.model, *batch(0)), last_scores(state.model, *batch(0)))


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_opens_it_as_a_reward_model_with_the_same_scores(
    shape: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Sequence classification scores the last token before padding; only our bias is missing there."""
    model = normalize(scorer(SHAPES[shape]), 0.5, 2.0)
    save_model(model, tokenizer, tmp_path / "reward", {"stage": "reward"})
    facts = read_json(tmp_path / "reward" / "config.json")
    theirs, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward", output_loading_info=True)
    assert theirs.config.num_labels == 1
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids, documents = batch(padding=facts["pad_token_id"])
    with torch.no_grad():
        expected = theirs(ids, attention_mask=(documents != -1).long()).logits[:, 0] + facts["score_bias"]
        torch.testing.assert_close(last_scores(model, ids, documents), expected, rtol=1e-4, atol=1e-5)
        opened, _ = load_model(tmp_path / "reward", scores=True)
        assert torch.equal(last_scores(opened, ids, documents), last_scores(model, ids, documents))


def test_a_reward_model_of_the_own_family_round_trips(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A shape that no other family has, such as one with n-grams, keeps its scalar head."""
    model = scorer(replace(CONFIG, ngrams=(2,), ngram_rows=64, mlp="relu2"))
    save_model(model, tokenizer, tmp_path / "reward", {"stage": "reward"})
    opened, _ = load_model(tmp_path / "reward", scores=True)
    assert torch.equal(last_scores(opened, *batch(0)), last_scores(model, *batch(0)))


def test_reward_models_and_language_models_are_not_confused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Opening one as the other, or a head with several labels, is an error that names the folder."""
    save_model(scorer(), tokenizer, tmp_path / "reward", {"stage": "reward"})
    save_model(Transformer(CONFIG).initialize(), tokenizer, tmp_path / "tuned", {"stage": "tuned"})
    with pytest.raises(UserError, match="reward' is a model that scores replies; choose one that generates text"):
        load_model(tmp_path / "reward")
    with pytest.raises(UserError, match="tuned' is a model that generates text; choose one that scores replies"):
        load_model(tmp_path / "tuned", scores=True)
    weights = load_file(tmp_path / "reward" / "model.safetensors")
    weights["score.weight"] = weights["score.weight"].repeat(2, 1)
    (tmp_path / "reward" / "sayso.json").unlink()
    save_file(weights, tmp_path / "reward" / "model.safetensors")
    with pytest.raises(UserError, match="choose a model with one label"):
        load_model(tmp_path / "reward", scores=True)
    path = tmp_path / "reward" / "config.json"
    write_json(path, read_json(path) | {"score_bias": "much"})
    with pytest.raises(UserError, match="a number as score_bias"):
        load_model(tmp_path / "reward", scores=True)


def test_normalized_scores_have_mean_0_and_deviation_1() -> None:
    """The affine transformation becomes part of the head."""
    model, (ids, documents) = scorer(), batch(0)
    with torch.no_grad():
        before = last_scores(model, ids, documents)
        after = last_scores(normalize(model, before.mean().item(), before.std().item()), ids, documents)
    torch.testing.assert_close(after, (before - before.mean()) / before.std())
