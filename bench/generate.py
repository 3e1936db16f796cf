"""Greedy decoding: tokens per second against `transformers`, with the same weights.

Both open a model folder that Sayso wrote. 16 prompts of unequal length decode together, as in a server or an
evaluation; the details hold a single row, as in a chat, and the shape of a demo's model. Both must return the same
tokens.
"""

import tempfile
from pathlib import Path

import torch
import transformers

from bench.harness import TINY, pair, parser, race, result, sized
from sayso.model import ModelConfig, Transformer
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

SHAPE = {"layers": 6, "width": 384, "heads": 12, "kv_heads": 6, "head_size": 32, "mlp_width": 1024, "context": 512}
SMALL = {"layers": 4, "width": 192, "heads": 6, "kv_heads": 3, "head_size": 32, "mlp_width": 512, "context": 512}
if TINY:
    SHAPE = SMALL = {
        "layers": 1,
        "width": 32,
        "heads": 2,
        "kv_heads": 1,
        "head_size": 16,
        "mlp_width": 64,
        "context": 128,
    }
ROWS, LONGEST, NEW, ROUNDS = sized((16, 96, 64, 5), (2, 12, 4, 1))
VOCABULARY = sized(8192, 300)
TEXT = ["The quick brown fox jumps over the lazy dog and runs home before it rains."] * 50


def main() -> None:
    """Race at 16 rows and at one, with two shapes."""
    parser("generate").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = both_open(Path(folder) / "model", SHAPE)
        small = both_open(Path(folder) / "small", SMALL)
    generator = torch.Generator().manual_seed(1)
    lengths = [LONGEST - 4 * row for row in range(ROWS)]
    prompts = [torch.randint(5, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
    same = sum(a == b for a, b in zip(our_ids(ours, prompts), their_ids(theirs, prompts), strict=True))
    result(
        "generate", "tokens/s", *timed(ours, theirs, prompts), peer_name=f"transformers {transformers.__version__}",
        rows=ROWS, new_tokens=NEW, one_row=pair(timed(ours, theirs, prompts[:1])),
        small=pair(timed(*small, prompts)), small_one_row=pair(timed(*small, prompts[:1])),
        rows_with_the_same_tokens=f"{same}/{ROWS}", shape=SHAPE, small_shape=SMALL,
        threads=torch.get_num_threads(), torch=torch.__version__,
    )  # fmt: skip


def both_open(folder: Path, shape: dict[str, int]) -> tuple[Transformer, transformers.PreTrainedModel]:
    """Return a model with random weights, written once and opened by both."""
    tokenizer = train("bpe", TEXT, sized(2048, 280))
    model = Transformer(ModelConfig(vocab_size=VOCABULARY, **shape)).initialize(torch.Generator().manual_seed(0))
    for weight in model.parameters():  # parts of a new model that start at zero
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(2))
    save_model(model, tokenizer, folder, {})
    ours, _ = load_model(folder)
    return ours, transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def our_ids(model: Transformer, prompts: list[list[int]]) -> list[list[int]]:
    """Return our greedy tokens."""
    sampling = Sampling(temperature=0, max_tokens=NEW)
    return [completion.ids for completion in generate(model, prompts, sampling)]


def their_ids(model: transformers.PreTrainedModel, prompts: list[list[int]]) -> list[list[int]]:
    """Return the peer's greedy tokens; prompts are padded on the left, as its documentation recommends."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, eos_token_id=None, pad_token_id=0
        )
    return out[:, longest:].tolist()


def timed(ours: Transformer, theirs: transformers.PreTrainedModel, prompts: list[list[int]]) -> tuple[float, float]:
    """Return the new tokens per second of both."""
    return race(
        lambda: sum(map(len, our_ids(ours, prompts))),
        lambda: sum(map(len, their_ids(theirs, prompts))),
        rounds=ROUNDS,
        label=f"{len(prompts)} rows",
    )


if __name__ == "__main__":
    main()
