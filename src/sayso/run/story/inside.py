"""One head of the newest model on one sentence: the head is chosen by rule, what it does is counted."""

from torch import Tensor

from sayso.lens.attention import attention_weights, pattern
from sayso.run.story.draw import heat
from sayso.run.story.facts import Facts
from sayso.run.story.markup import missing, says, section
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.weights.folder import load_model

SENTENCE = "Nora gave the red kite to Ben, and Ben put the red kite in the garden."
MOST = 28  # tokens, so that labels can be read


def inside(facts: Facts) -> str:
    """The section, from the weights of the newest stage."""
    if facts.newest is None:
        return section(
            "inside", "Inside", missing("There is no model to look into yet; make one with", "sayso pretrain")
        )
    model, tokenizer = load_model(facts.life.model(facts.newest))
    ids = [tokenizer.specials[BOS], *tokenizer.encode(SENTENCE)][: min(MOST, model.config.context)]
    weights = attention_weights(model, ids)
    clear = pattern(weights)
    layer, head = divmod(int(clear.argmax()), weights.shape[1])
    intro = (
        f"<p>Where one of the {weights.shape[0] * weights.shape[1]} attention heads of the {facts.newest} model looks. "
        "Each row is a token; the stronger a cell's colour, the more the row's token takes from the column's. Of all "
        "heads this one has the clearest pattern: the largest mean weight on a single earlier token, not counting the first "
        "token and the row's own.</p>"
    )
    labels = [label(tokenizer, token) for token in ids]
    alt = f"Attention weights of layer {layer + 1}, head {head + 1}, on: {SENTENCE}"
    drawn = heat(weights[layer, head].tolist(), labels, alt)
    return section(
        "inside", "Inside", intro, f"<figure>{drawn}{says(told(weights[layer, head], layer, head, ids))}</figure>"
    )


def label(tokenizer: Tokenizer, token: int) -> str:
    """A token as a reader can see it: its space as a dot, <|bos|> as the start."""
    if token == tokenizer.specials[BOS]:
        return "start"
    return tokenizer.decode([token]).replace(" ", "·").replace("\n", "↵")


def told(weights: Tensor, layer: int, head: int, ids: list[int]) -> str:
    """What the head does, counted over the rows: the distance of its strongest look, and whether it finds repeats."""
    strongest = weights.argmax(dim=-1)
    rows = range(2, len(ids))
    back = [row - int(strongest[row]) for row in rows]
    usual = max(sorted(set(back)), key=back.count)
    where = {0: "at itself", 1: "at the token just before"}.get(usual, f"{usual} tokens back")
    repeats = [row for row in rows if ids[row] in ids[:row]]
    met = [row for row in repeats if ids[int(strongest[row])] == ids[row] or ids[int(strongest[row]) - 1] == ids[row]]
    text = f"Layer {layer + 1}, head {head + 1} looks most {where} in {back.count(usual)} of {len(back)} rows"
    if repeats and usual > 1 and len(met) * 2 > len(repeats):
        text += f"; of {len(repeats)} rows whose token stood before, {len(met)} look at that place or just after it"
    return text + "."
