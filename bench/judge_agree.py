"""Log-probabilities of choices against `transformers`, item by item, whatever the batch, the padding and the order.

    python -m bench.judge_agree [DATA] [--model SOURCE ...]     # DATA has arc_easy.jsonl and others below it

Models are GPT-2- and Llama-style ones with random weights, those of --model, which may be any source of `sayso import`
such as stories260K.bin, and, with DATA, SmolLM2-135M-Instruct on the suite `small`.
Each is scored in float32: in one pass per question, in batches of one, and shuffled. `transformers` reads each choice
alone, in float64, so that the difference is our rounding and not its own, which the details have. `ours` is the largest
absolute difference of any choice; the peer's is 0 by definition.
"""

import random
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from bench.harness import TINY, parser, result, say, sized
from bench.peer import Peer, peer_of
from bench.smollm2 import TEXT, random_model, smollm2
from sayso.judge.likelihood import spans
from sayso.judge.likelihood.continuations import Continuation, ContinuationScore, ModelScorer
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import SMALL
from sayso.judge.tasks.task import chosen, groups_of
from sayso.model import ModelConfig
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.token.train import train
from sayso.weights.sources import locate, open_files

ITEMS = sized(200, 4)
Groups = list[list[Continuation]]


def main() -> None:
    """Compare every model, and print the largest difference."""
    arguments = parser("judge_agree", __doc__)
    arguments.add_argument("data", nargs="?", type=Path)
    arguments.add_argument("--items", type=int, default=ITEMS, help=f"questions of each task ({ITEMS})")
    arguments.add_argument("--model", nargs="*", default=[], metavar="SOURCE", help="more models, on invented words")
    given = arguments.parse_args()
    own = train("bpe", [TEXT] * 50, 400)
    llama = ModelConfig(own.vocab_size, 2, 64, 4, 2, 16, 128, context=256, qk_norm="none")
    gpt2 = ModelConfig(
        own.vocab_size, 2, 64, 4, 4, 16, 256, "gelu", 256, "learned", norm="layer", qk_norm="none",
        biases=("qkv", "out", "mlp"), tie_embeddings=True,
    )  # fmt: skip
    scorers = {"llama": ModelScorer(random_model(llama), own), "gpt2": ModelScorer(random_model(gpt2), own)}
    scorers |= {source: ModelScorer(*open_files(locate(source)[0])) for source in given.model}
    words = {"words": invented(given.items)}
    found = {name: largest_difference(scorer, words) for name, scorer in scorers.items()}
    if given.data and not TINY:
        found["smollm2"] = largest_difference(ModelScorer(*smollm2()), public(given.data, given.items))
    for name, apart in found.items():
        say(f"{name}: {apart}")
    largest = max(value["ours"] for one in found.values() for value in one.values())
    result("judge_agree", "largest difference of a log-probability", largest, 0.0, models=found, items=given.items)


def invented(count: int) -> Groups:
    """Return questions of random words with four choices of unequal length."""
    drawn, words = random.Random(0), TEXT.split()
    return [
        [
            Continuation(context, " " + " ".join(drawn.choices(words, k=drawn.randint(1, 6))))
            for context in [" ".join(drawn.choices(words, k=drawn.randint(2, 20)))]
            for _ in range(4)
        ]
        for _ in range(count)
    ]


def public(data: Path, count: int, names: Collection[str] = tuple(task.name for task in SMALL)) -> dict[str, Groups]:
    """Return the questions of the public tasks with these names."""
    groups = {}
    for task in SMALL:
        if task.name in names:
            items = read_items(next(data.rglob(task.file)))
            groups[task.name] = [groups_of(task, items, number) for number in chosen(len(items), count)]
    return groups


def largest_difference(scorer: ModelScorer, tasks: dict[str, Groups]) -> dict[str, dict[str, float]]:
    """Return the largest difference of any choice in each task, ours over three ways of batching and the peer's own."""
    peer = peer_of(scorer.model).eval()
    found = {}
    for name, groups in tasks.items():
        flat = [one for group in groups for one in group]
        rounded = [alone(peer.float(), scorer.tokenizer, one, scorer.begin) for one in flat]
        expected = [alone(peer.double(), scorer.tokenizer, one, scorer.begin) for one in flat]
        ways = [[score.logprob for group in way for score in group] for way in scored(scorer, groups)]
        found[name] = {
            "ours": max(abs(value - right) for way in ways for value, right in zip(way, expected, strict=True)),
            "transformers in float32": max(abs(a - b) for a, b in zip(rounded, expected, strict=True)),
        }
    return found


def scored(scorer: ModelScorer, groups: Groups) -> list[list[list[ContinuationScore]]]:
    """Return the scores of the groups in order, shuffled, and in batches of one row."""
    order = random.Random(1).sample(range(len(groups)), len(groups))
    shuffled = scorer.score([groups[number] for number in order])
    back = [scores for _, scores in sorted(zip(order, shuffled, strict=True), key=lambda pair: pair[0])]
    before = spans._POSITIONS["cpu"]
    spans._POSITIONS["cpu"] = 1
    single = scorer.score(groups)
    spans._POSITIONS["cpu"] = before
    return [scorer.score(groups), back, single]


@torch.inference_mode()
def alone(peer: Peer, tokenizer: Tokenizer, one: Continuation, begin: bool) -> float:
    """Return the log-probability of a continuation as `transformers` computes it in a row of its own."""
    context = one.context.rstrip()
    before, whole = tokenizer.encode(context), tokenizer.encode(context + one.context[len(context) :] + one.text)
    first: Sequence[int] = [tokenizer.specials[BOS]] if begin or not before else []
    ids = [*first, *before, *whole[len(before) :]]
    start = len(first) + len(before)
    logp = peer(input_ids=torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return sum(float(logp[place - 1, ids[place]]) for place in range(start, len(ids)))


if __name__ == "__main__":
    main()
