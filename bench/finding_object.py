"""A circuit finds the indirect object of a sentence (Wang et al. 2022).

    python -m bench.finding_object [--pictures FOLDER]

A model of three layers trains on "Ann and Bob went to the park; Bob gave a ball to" (Ann). In the corrupt sentences,
the other one gives. Patching each head at each position with its clean output shows which carry the answer: heads at
the second mention of the subject, and heads at the end. What the strongest of these adds to the logits of both names
tells how it decides. `ours` is the share of the logit difference that the three strongest heads at the end restore
together, `peer` that of all heads there.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.finding_induction import IGNORED, train
from bench.harness import parser, result, save_picture, say, sized
from sayso.lens import LogitDifference, Places, direct_attribution, patch, trace
from sayso.model import ModelConfig, Transformer
from sayso.model.transformer import Block
from sayso.report.chart import COLORS, Panel, Series, picture

NAMES, PLACES, THINGS = 24, 6, 6
BOS, AND, WENT, GAVE, TO = range(NAMES + PLACES + THINGS, NAMES + PLACES + THINGS + 5)
SUBJECT, END = 6, 9  # positions of the subject's second mention, and of the last word
SHAPE = ModelConfig(TO + 1, 3, 64, 4, 4, 16, 64, context=16, qk_norm="none", mlp="gelu")
STEPS, EVERY = sized((1200, 100), (4, 2))
SHOWN = 3  # heads
Head = tuple[int, int]


def main() -> None:
    """Train, patch, and draw what each head restores."""
    arguments = parser("finding_object", __doc__)
    arguments.add_argument("--pictures", type=Path, default=Path("docs/images"), help="folder of the picture")
    given = arguments.parse_args()
    model = Transformer(SHAPE).initialize(torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)

    def batch(_: int) -> tuple[Tensor, Tensor]:
        ids, answer, _ = sentences(128, generator)
        targets = torch.full_like(ids, IGNORED)
        targets[:, -1] = answer
        return ids, targets

    clean, answer, subject = sentences(64, generator)
    train(model, batch, STEPS, lambda step: say(f"step {step}: right {accuracy(model, clean, answer):.2f}"), EVERY)
    corrupt = clean.clone()
    corrupt[:, SUBJECT] = answer  # the other one gives, so the answers change places
    metric = LogitDifference(answer.tolist(), subject.tolist())
    high, low = (difference(model, ids, metric) for ids in (clean, corrupt))
    heads = Places("attn.hook_z", by_head=True)
    found = (patch(model, corrupt, clean, metric, heads) - low) / (high - low)  # [L, T, H]
    at_subject, at_end = strongest(found[:, SUBJECT]), strongest(found[:, END])
    every = [(layer, head) for layer in range(SHAPE.layers) for head in range(SHAPE.heads)]
    restored = partial(together, model, corrupt, clean, metric)
    ours, peer = ((restored(chosen) - low) / (high - low) for chosen in (list(at_end), every))
    adds = {name: heads_add(model, clean, token) for name, token in (("object", answer), ("subject", subject))}
    save_picture(given.pictures / "finding-object.svg", drawn(found, adds["subject"]))
    decides = next(iter(at_end))
    result(
        "finding_object", "restored share of the logit difference", round(ours, 3), round(peer, 3),
        peer_name="all heads at the end", right=accuracy(model, clean, answer), steps=STEPS,
        logit_difference=[round(high, 2), round(low, 2)], at_the_subject=named(at_subject), at_the_end=named(at_end),
        attention_to_the_object=named({one: attention(model, clean, answer, one) for one in at_end}),
        attention_to_the_subject=named({one: attended(model, clean, one, SUBJECT) for one in at_end}),
        strongest_adds={name: round(float(values[decides]), 2) for name, values in adds.items()},
        restored_by_its_values=round((by_values(model, corrupt, clean, metric, decides) - low) / (high - low), 2),
    )  # fmt: skip


def sentences(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return sentences [B, T], the indirect object of each [B], and its subject [B]; either is named first."""
    names = torch.stack([torch.randperm(NAMES, generator=generator)[:2] for _ in range(rows)])
    place = NAMES + torch.randint(PLACES, (rows,), generator=generator)
    thing = NAMES + PLACES + torch.randint(THINGS, (rows,), generator=generator)
    which = torch.randint(2, (rows,), generator=generator)
    subject, other = (names.gather(1, side[:, None])[:, 0] for side in (which, 1 - which))
    bos, both, went, gave, to = (torch.full((rows,), word) for word in (BOS, AND, WENT, GAVE, TO))
    words = [bos, names[:, 0], both, names[:, 1], went, place, subject, gave, thing, to]
    return torch.stack(words, 1), other, subject


@torch.no_grad()
def accuracy(model: Transformer, ids: Tensor, answer: Tensor) -> float:
    """Return the share of sentences whose likeliest next token is the indirect object."""
    return round(float((model(ids)[:, -1].argmax(-1) == answer).float().mean()), 3)


@torch.no_grad()
def difference(model: Transformer, ids: Tensor, metric: LogitDifference) -> float:
    """Return the mean logit difference of the answers."""
    return float(metric(model(ids)[:, -1]).mean())


def strongest(shares: Tensor) -> dict[Head, float]:
    """Return the layers and heads of the largest shares [L, H], and these."""
    order = shares.flatten().argsort(descending=True)[:SHOWN].tolist()
    return {divmod(place, shares.shape[1]): float(shares.flatten()[place]) for place in order}


def together(
    model: Transformer, corrupt: Tensor, clean: Tensor, metric: LogitDifference, heads: Sequence[Head]
) -> float:
    """Return the logit difference with some heads patched at the end, all at once."""
    names = {f"blocks.{layer}.attn.hook_z": layer for layer, _ in heads}
    kept = trace(model, clean, list(names))

    def change(x: Tensor, name: str) -> Tensor:
        chosen = [head for layer, head in heads if layer == names[name]]
        x[:, END, chosen] = kept[name][:, END, chosen]
        return x

    changes: dict[str, Callable[[Tensor], Tensor]] = {name: partial(change, name=name) for name in names}
    logits = trace(model, corrupt, "logits", interventions=changes)["logits"]
    return float(metric(logits[:, -1]).mean())


def attention(model: Transformer, clean: Tensor, answer: Tensor, one: Head) -> float:
    """Return the mean attention of a head from the end to the first mention of the indirect object."""
    return attended(model, clean, one, (clean[:, :SUBJECT] == answer[:, None]).float().argmax(1))


def attended(model: Transformer, clean: Tensor, one: Head, at: Tensor | int) -> float:
    """Return the mean attention of a head from the end to a position, or to one of each sentence [B]."""
    layer, head = one
    name = f"blocks.{layer}.attn.hook_pattern"
    return float(trace(model, clean, name)[name][torch.arange(len(clean)), head, END, at].mean())


def heads_add(model: Transformer, ids: Tensor, token: Tensor) -> Tensor:
    """Return what each head adds at the end to the logit of each sentence's token [B], the mean, [L, H]."""
    return direct_attribution(model, ids, token.tolist()).heads.mean(0)


def by_values(model: Transformer, corrupt: Tensor, clean: Tensor, metric: LogitDifference, one: Head) -> float:
    """Return the logit difference if a head's values see only the embeddings of the clean sentence."""
    layer, head = one
    start, name = f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.attn.hook_v"
    block = model.blocks[layer]
    assert isinstance(block, Block)
    there, here = (trace(model, ids, ["hook_embed", start]) for ids in (corrupt, clean))
    x = there[start] + here["hook_embed"] - there["hook_embed"]
    values = block.attention.value(block.attention_norm(x)).unflatten(-1, (-1, block.attention.size))[:, :, head]

    def change(found: Tensor) -> Tensor:
        found[:, :, head] = values
        return found

    logits = trace(model, corrupt, "logits", interventions={name: change})["logits"]
    return float(metric(logits[:, -1]).mean())


def named(values: dict[Head, float]) -> dict[str, float]:
    """Return values by "layer.head"."""
    return {f"{layer}.{head}": round(value, 2) for (layer, head), value in values.items()}


def drawn(found: Tensor, subject: Tensor) -> str:
    """Return what each head restores, [L, T, H], at both positions, and what it adds to the subject's logit, [L, H]."""
    panels = [
        Panel("Patched at the second mention", "head", "restored share", by_layer(found[:, SUBJECT])),
        Panel("Patched at the end", "head", "restored share", by_layer(found[:, END])),
        Panel("Added to the subject at the end", "head", "logit", by_layer(subject)),
    ]
    return picture("Which heads name the indirect object", panels)


def by_layer(values: Tensor) -> list[Series]:
    """Return a line over the heads of each layer, of values [L, H]."""
    return [
        Series(f"layer {layer}", list(enumerate(heads.tolist())), COLORS[layer], "both")
        for layer, heads in enumerate(values)
    ]


if __name__ == "__main__":
    main()
