"""The Transformer against transformers, and its invariants."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.model import ModelConfig, Transformer
from sayso.model.activation import relu2
from sayso.model.config import Rope
from sayso.model.linear import ROW_MULTIPLE, Linear, has_onednn, linear
from sayso.model.ngrams import NGramEmbedding
from sayso.model.norm import RMSNorm
from sayso.model.positions import rotary_angles, rotate
from sayso.model.segments import Segments, Trees
from sayso.model.shift import TokenShift
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import load_model, save_model
from sayso.weights.names import from_hub, from_hub_config, to_hub, to_hub_config

CONFIG = ModelConfig(
    vocab_size=300, layers=3, width=64, heads=4, kv_heads=2, head_size=16, mlp_width=96, context=64, rope_theta=5_000.0
)
SHAPES = [
    *(CONFIG, replace(CONFIG, mlp="relu2"), replace(CONFIG, tie_embeddings=True), replace(CONFIG, kv_heads=4)),
    replace(CONFIG, windows=(9, 0)),
]
NGRAMS = replace(CONFIG, ngrams=(2, 4), ngram_rows=64)
SHIFT = replace(CONFIG, shift=2)


def random_model(config: ModelConfig = CONFIG, seed: int = 0) -> Transformer:
    """Return a model with only random weights, also those that are initialized to zero or one."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config).initialize(generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], 300)


@pytest.mark.parametrize("config", SHAPES, ids=["swiglu", "relu2", "tied", "ungrouped", "windows"])
def test_transformers_opens_the_folder_with_the_same_logits(
    config: ModelConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A saved folder gives the same logits in transformers, to 1e-4, for every trainable shape."""
    model = random_model(config)
    save_model(model, tokenizer, tmp_path / "model", {"stage": "base", "seed": 0})
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    ids = torch.randint(config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert (model(ids) - reference(ids).logits).abs().max() < 1e-4


@pytest.mark.parametrize("config", [*SHAPES, NGRAMS, SHIFT, replace(NGRAMS, mlp="relu2", shift=3)])
def test_hub_names_and_config_round_trip(config: ModelConfig) -> None:
    """Converting weights and config to the hub's names and back restores them."""
    state = random_model(config).state_dict()
    back = from_hub(to_hub(state, config), config)
    assert from_hub_config(to_hub_config(config)) == config
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("config", [*SHAPES, NGRAMS, SHIFT])
def test_packed_documents_do_not_affect_each_other(config: ModelConfig) -> None:
    """Packed documents give the same logits and gradients as documents in separate rows."""
    generator = torch.Generator().manual_seed(2)
    sizes = [[17, 1, 46], [64], [30, 34]]
    documents = torch.tensor([[number for number, size in enumerate(row) for _ in range(size)] for row in sizes])
    ids = torch.randint(300, documents.shape, generator=generator)
    wanted = torch.randn(*documents.shape, 300, generator=generator)
    segments = Segments(documents)
    model = random_model(config)
    packed = model(ids, positions=segments.positions, mask=segments)
    (packed * wanted).sum().backward()
    gradients = [weight.grad for weight in model.parameters()]
    model = random_model(config)
    for row, parts in enumerate(sizes):
        pieces = zip(*(x[row].split(parts) for x in (ids, packed.detach(), wanted)), strict=True)
        for piece, logits, target in pieces:
            alone = model(piece[None])[0]
            torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)
            (alone * target).sum().backward()
    for gradient, weight in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, weight.grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("config", [*SHAPES, replace(SHAPES[0], attention_cap=5.0)])
def test_texts_that_share_positions_have_the_logits_of_rows_of_their_own(config: ModelConfig) -> None:
    """Two trees of a trunk and two branches share a beginning; a third text shares nothing, where windows allow."""
    model, ids = random_model(config).eval(), torch.randint(300, (40,), generator=torch.Generator().manual_seed(3))
    trunk, first, second, other = list(range(6)), [6, 7], [8, 9, 10], list(range(30, 40))
    later, third, fourth = [*range(4), *range(11, 20)], list(range(20, 25)), list(range(25, 30))
    trees = [[(trunk, 0), (first, 1), (second, 2)], [(later, 0), (third, 1), (fourth, 2)], [(other, 0)]]
    texts = [[*trunk, *first], [*trunk, *second], [*later, *third], [*later, *fourth], other]
    if config.windows:
        trees = [[(text, 0)] for text in texts]
    packed = Trees(
        [[place for part, _ in tree for place in part] for tree in trees],
        [[branch for part, branch in tree for _ in part] for tree in trees],
    )
    positions = torch.empty(40, dtype=torch.long)
    for text in texts:
        positions[text] = torch.arange(len(text))
    with torch.inference_mode():
        logits = model(ids[None], positions=positions[None], mask=packed)[0]
        for text in texts:
            torch.testing.assert_close(logits[text], model(ids[text][None])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", SHAPES)
def test_rows_of_one_document_each_are_plain_causal_attention(config: ModelConfig) -> None:
    """Documents that fill their rows give the logits and gradients of plain causal rows."""
    model = random_model(config)
    ids = torch.randint(300, (3, 64), generator=torch.Generator().manual_seed(1))
    plain, whole = (model(ids, mask=mask) for mask in (None, Segments(torch.zeros(3, 64, dtype=torch.int32))))
    torch.testing.assert_close(whole, plain, atol=1e-5, rtol=1e-5)
    ends = (torch.autograd.grad(logits.square().sum(), model.embed.weight)[0] for logits in (plain, whole))
    torch.testing.assert_close(*ends, atol=1e-3, rtol=1e-4)


def test_handwritten_backward_passes_agree_with_autograd() -> None:
    """RMS norm, squared ReLU and rotary rotation agree with PyTorch's, forward and backward."""
    generator = torch.Generator().manual_seed(6)
    x, gain, cotangent = (torch.randn(size, generator=generator) for size in ((2, 7, 3, 16), (16,), (2, 7, 3, 16)))
    cos, sin = rotary_angles(torch.arange(7)[None], 16, 100.0)
    cos, sin = cos[:, :, None], sin[:, :, None]
    norm = RMSNorm(16, 1e-6)
    angles = torch.arange(7)[:, None] * 100.0 ** -(torch.arange(8) / 8)

    def turned(x: torch.Tensor) -> torch.Tensor:
        pairs = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones(7, 8), angles)[None, :, None]
        return torch.cat((pairs.real, pairs.imag), -1)

    cases = [
        (norm, lambda x: F.rms_norm(x, (16,), norm.weight, 1e-6)),
        (relu2, lambda x: F.relu(x).square()),
        (lambda x: rotate(x, cos, sin), turned),
    ]
    norm.weight.data = gain
    for ours, theirs in cases:
        results = []
        for function in (ours, theirs):
            leaf = x.clone().requires_grad_()
            norm.weight.grad = None
            out = function(leaf)
            out.backward(cotangent)
            results.append((out, leaf.grad, norm.weight.grad))
        for mine, reference in zip(*results, strict=True):
            if mine is not None:
                torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, ROW_MULTIPLE - 1, ROW_MULTIPLE, 3 * ROW_MULTIPLE])
def test_a_linear_layer_agrees_with_pytorch(rows: int) -> None:
    """Forward and backward agree with float64, for shapes that use oneDNN and those that do not."""
    generator = torch.Generator().manual_seed(8)
    layer = Linear(48, 40)
    x, cotangent = (torch.randn(size, generator=generator) for size in ((rows, 2, 48), (rows, 2, 40)))
    leaf, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    weight = layer.weight.detach().double().requires_grad_()
    out, expected = layer(leaf), exact @ weight.T
    out.backward(cotangent)
    expected.backward(cotangent.double())
    for mine, reference in ((out, expected), (leaf.grad, exact.grad), (layer.weight.grad, weight.grad)):
        assert mine is not None
        assert reference is not None
        torch.testing.assert_close(mine.double(), reference, atol=1e-5, rtol=1e-5)
    turned = torch.randn(48, 40, generator=generator)
    torch.testing.assert_close(linear(x.flatten(0, 1), turned.T), x.flatten(0, 1) @ turned, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "refuses", "wrong"])
def test_without_onednn_pytorch_is_used(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """An operation that is missing, has another signature, or gives another result is not used."""

    def refuses(*_: object) -> torch.Tensor:
        raise RuntimeError("expected at most 5 arguments")

    faulty = SimpleNamespace(
        **{"missing": {}, "refuses": {"_linear_pointwise": refuses}}.get(
            fault, {"_linear_pointwise": lambda x, weight, *_: 1.01 * (x @ weight.T)}
        )
    )
    monkeypatch.setattr(torch.ops, "mkldnn", faulty)
    has_onednn.cache_clear()
    try:
        assert not has_onednn()
        test_a_linear_layer_agrees_with_pytorch(ROW_MULTIPLE)
        with torch.inference_mode():
            x, weight, bias = torch.randn(ROW_MULTIPLE, 8), torch.randn(6, 8), torch.randn(6)
            assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))
    finally:
        has_onednn.cache_clear()


def test_a_frozen_linear_layer_gets_no_gradient_and_passes_one_on() -> None:
    """Only the inputs of a frozen layer have a gradient; the products for its weights are not computed."""
    layer = Linear(48, 40).requires_grad_(False)
    x = torch.randn(ROW_MULTIPLE, 48, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(ROW_MULTIPLE, -1))


def test_a_linear_layer_under_autocast_is_in_bfloat16() -> None:
    """Mixed precision applies to the layer as to PyTorch's."""
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(48, 40)(torch.randn(ROW_MULTIPLE, 48)).dtype == torch.bfloat16


def test_attention_is_causal() -> None:
    """Changing a token does not change earlier logits."""
    model = random_model()
    ids = torch.randint(300, (1, 30), generator=torch.Generator().manual_seed(3))
    changed = ids.clone()
    changed[0, 20] = (ids[0, 20] + 1) % 300
    with torch.inference_mode():
        assert torch.equal(model(ids)[:, :20], model(changed)[:, :20])


def test_the_initial_loss_is_ln_v() -> None:
    """Initial weights give every token nearly the same probability."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    ids = torch.randint(300, (4, 50), generator=torch.Generator().manual_seed(4))
    loss = torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    assert loss.item() == pytest.approx(torch.log(torch.tensor(300.0)).item(), abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp": "swigloo"}, "swiglu"),
        ({"kv_heads": 3}, "multiple"),
        ({"layers": 0}, "at least 1"),
        ({"ngrams": (2, 2), "ngram_rows": 9}, "unique orders"),
        ({"ngrams": (2,)}, "ngram_rows of 1 or more"),
        ({"shift": -1}, "shift must be 0 or more"),
        ({"positions": "lerned"}, "Did you mean 'learned'"),
        ({"positions": "none", "rope": Rope("linear", 2.0)}, "need rotary positions"),
        ({"rope": Rope(nope_layers=(3,))}, "from 0 to 2"),
        ({"rope": Rope(local_theta=100.0)}, "no windows"),
        ({"rope_theta": 1.0}, "greater than 1"),
        ({"head_size": 15}, "even"),
        ({"norm": "rsm"}, "rms"),
        ({"norm_place": "before"}, "pre, post, both"),
        ({"qk_norm": "heads"}, "head"),
        ({"biases": ("qkv", "mpl")}, "mlp"),
        ({"windows": (-1,)}, "0 or more"),
        ({"windows": (1, 2, 3, 4)}, "at most one per layer"),
        ({"logit_cap": -1.0}, "positive, or 0"),
    ],
)
def test_an_inconsistent_config_is_refused(change: dict[str, object], message: str) -> None:
    """The error states the rule."""
    with pytest.raises(UserError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]


def test_an_inconsistent_rope_is_refused() -> None:
    """Scaling needs a factor, and if it depends on the frequency, an original context."""
    for values, message in (
        (("dynamic", 2.0), "linear"),
        (("linear", 0.5), "1 or more"),
        (("yarn", 2.0), "original context"),
        (("llama3", 2.0, 64, 4.0, 1.0), "slow < fast"),
    ):
        with pytest.raises(UserError, match=message):
            Rope(*values)  # type: ignore[arg-type]


def test_equivalent_configs_are_equal() -> None:
    """Patterns are normalized, and lists and tables from JSON give the same config."""
    config = replace(CONFIG, windows=(9, 9, 9), biases=("qkv", "mlp"), rope=Rope("linear", 2.0, nope_layers=(2, 0)))
    assert config.windows == (9,)
    assert config.layer_windows == (9, 9, 9)
    assert replace(CONFIG, windows=(0, 0)) == CONFIG
    assert ModelConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_ngrams_depend_only_on_their_tokens() -> None:
    """Equal n-grams use the same row at any position, other ones differ, and none crosses a document's start."""
    config = replace(CONFIG, ngrams=(2, 3), ngram_rows=5_003)
    embedding = NGramEmbedding(config)
    ids = torch.tensor([[7, 8, 9, 7, 8, 9, 9]])

    def of(positions: list[int]) -> torch.Tensor:
        return embedding(F.pad(ids, (config.reach, 0)), torch.tensor([positions]))[0]

    whole, cut = of([0, 1, 2, 3, 4, 5, 6]), of([0, 1, 2, 0, 1, 2, 3])
    assert torch.equal(whole[2], whole[5])
    assert not torch.equal(whole[1], whole[4])  # the same pair, but another triple
    assert torch.equal(cut[3:6], cut[:3])
    by_hand = embedding(torch.tensor([[8, 9, 9]]), torch.tensor([[2]]))
    assert torch.equal(by_hand[0, 0], whole[6])
    used = NGramEmbedding(replace(CONFIG, ngrams=(2,), ngram_rows=2**14))
    pairs = torch.cartesian_prod(torch.arange(64), torch.arange(64))
    rows = used(pairs, torch.tensor([[1]]))[:, 0, 0]
    assert rows.unique().numel() > 0.8 * len(pairs)  # about 1 - 1/8 of 4,096 draws of 16,384 are met by no other


@pytest.mark.parametrize(("order", "rows"), [(2, [617, 847, 110, 37, 348, 413]), (3, [269, 516, 376, 821, 728, 134])])
def test_the_row_of_an_ngram_never_changes(order: int, rows: list[int]) -> None:
    """The hash is fixed, since saved weights depend on it."""
    embedding = NGramEmbedding(replace(CONFIG, ngrams=(order,), ngram_rows=1_000))
    (table,) = embedding.tables
    table.weight.data.copy_(torch.arange(1_000.0)[:, None].expand_as(table.weight))  # each row has its own number
    ids = F.pad(torch.tensor([[0, 0, 1, 2, 299, 7]]), (order - 1, 0))
    assert embedding(ids, torch.arange(6)[None])[0, :, 0].int().tolist() == rows


def test_the_shift_adds_the_tokens_before_and_none_of_another_document() -> None:
    """x_t gets w_1 e_{t-1} + w_2 e_{t-2}, channel by channel; what precedes a document's start counts as zeros."""
    shift = TokenShift(SHIFT)
    with torch.no_grad():
        shift.weight.normal_(generator=torch.Generator().manual_seed(0))
    embedded = torch.randn((1, 2 + 5, CONFIG.width), generator=torch.Generator().manual_seed(1))
    found = shift(embedded, torch.tensor([[0, 1, 2, 0, 1]]))[0]
    one, two = shift.weight
    e = embedded[0, 2:]
    zero = torch.zeros(CONFIG.width)
    torch.testing.assert_close(found, torch.stack([zero, one * e[0], one * e[1] + two * e[0], zero, one * e[3]]))


def test_a_truncated_weights_file_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The error names the file."""
    save_model(random_model(), tokenizer, tmp_path / "model", {"stage": "base"})
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load_model(tmp_path / "model")


def test_another_models_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A model folder with a replaced tokenizer is not opened."""
    save_model(random_model(), tokenizer, tmp_path / "model", {"stage": "base"})
    other = train_tokenizer("bpe", ["a different text altogether " * 20], 280)
    other.save(tmp_path / "model")
    with pytest.raises(UserError, match="not the one the model was trained with"):
        load_model(tmp_path / "model")


def test_a_model_folder_round_trips(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Loading restores the saved weights bit for bit, and the card shows the lineage."""
    model = random_model()
    save_model(model, tokenizer, tmp_path / "model", {"stage": "tuned", "parent": "base", "seed": 7})
    loaded, its_tokenizer = load_model(tmp_path / "model")
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in model.state_dict().items())
    assert its_tokenizer.encode("the lazy fox") == tokenizer.encode("the lazy fox")
    assert "stage `tuned`" in (tmp_path / "model" / "README.md").read_text()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """The error says that it is not a model folder."""
    write_atomic(tmp_path / "x", "")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_model(tmp_path)
