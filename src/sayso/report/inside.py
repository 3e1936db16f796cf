"""One attention head of the newest model on one sentence: chosen by rule, its behavior counted."""

from html import escape

from torch import Tensor

from sayso.lens.attention import attention_weights, pattern
from sayso.report.draw import heat
from sayso.report.facts import Facts
from sayso.report.markup import listing, missing, says, section
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.weights.folder import load_model

SENTENCE = "Nora gave the red kite to Ben, and Ben put the red kite in the garden."
_MOST = 28  # tokens, so that labels can be read


def inside(facts: Facts) -> str:
    """The section, from the weights of the newest stage."""
    if facts.newest is None:
        return section("inside", "Inside", missing("There is no model yet; train one with", "sayso pretrain"))
    model, tokenizer = load_model(facts.life.model(facts.newest))
    ids = [tokenizer.specials[BOS], *tokenizer.encode(SENTENCE)][: min(_MOST, model.config.context)]
    weights = attention_weights(model, ids)
    clear = pattern(weights)
    layer, head = divmod(int(clear.argmax()), weights.shape[1])
    intro = (
        f"<p>Where one of the {weights.shape[0] * weights.shape[1]} attention heads of the {facts.newest} model looks. "
        "Each row is a token; the stronger a cell's color, the more the row's token attends to the column's. Of all "
        "heads this one has the clearest pattern: the largest mean weight on a single earlier token, not counting the "
        "first token and the row's own.</p>"
    )
    labels = [label(tokenizer, token) for token in ids]
    alt = f"Attention weights of layer {layer + 1}, head {head + 1}, on: {SENTENCE}"
    drawn = heat(weights[layer, head].tolist(), labels, alt)
    words = says(head_sentence(weights[layer, head], layer, head, labels))
    return section("inside", "Inside", intro, f"<figure>{drawn}{words}</figure>")


def label(tokenizer: Tokenizer, token: int) -> str:
    """A token in readable form: its space as a dot, <|bos|> as the start."""
    if token == tokenizer.specials[BOS]:
        return "start"
    return tokenizer.decode([token]).replace(" ", "·").replace("\n", "↵")


def head_sentence(weights: Tensor, layer: int, head: int, labels: list[str]) -> str:
    """Describe the head's behavior over rows with a choice: one distance, or else the most attended columns."""
    strongest: list[int] = weights.argmax(dim=-1).tolist()
    rows = range(2, len(labels))
    back = [row - strongest[row] for row in rows]
    usual = max(sorted(set(back)), key=back.count)
    name = f"Layer {layer + 1}, head {head + 1}"
    if 2 * back.count(usual) >= len(back):
        where = {0: "at itself", 1: "at the token just before"}.get(usual, f"{usual} tokens back")
        return f"{name} looks most {where}, in {back.count(usual)} of {len(back)} rows."
    looks = [strongest[row] for row in rows]
    most = sorted(set(looks), key=lambda column: (-looks.count(column), column))[:2]
    seen = [f"“{escape(labels[column].strip('·'))}” in {looks.count(column)}" for column in most]
    return f"{name} attends to certain tokens: of {len(looks)} rows, it looks most at {listing(seen)}."
