"""The report's section on one attention head of the newest model, chosen by a rule, on one sentence."""

from html import escape

from torch import Tensor

from sayso.lens.attention import attention_weights, pattern
from sayso.report.draw import heat
from sayso.report.facts import Facts
from sayso.report.markup import caption, listing, missing, section
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.weights.folder import load_model

SENTENCE = "Nora gave the red kite to Ben, and Ben put the red kite in the garden."
_MOST = 28  # maximum number of tokens, so that labels are readable


def inside(facts: Facts) -> str:
    """Return the section, computed from the weights of the newest stage."""
    if facts.newest is None:
        return section("inside", "Inside", missing("No model exists yet; train one with", "sayso pretrain"))
    model, tokenizer = load_model(facts.life.model(facts.newest))
    ids = [tokenizer.specials[BOS], *tokenizer.encode(SENTENCE)][: min(_MOST, model.config.context)]
    weights = attention_weights(model, ids)
    layer, head = divmod(int(pattern(weights).argmax()), weights.shape[1])
    intro = (
        f"<p>The attention weights of one of the {weights.shape[0] * weights.shape[1]} heads of the {facts.newest} "
        "model. The stronger a cell's color, the more the token of its row attends to that of its column. This head "
        "has the clearest pattern of all: the largest mean weight on a single earlier token, not counting the first "
        "token and the row's own.</p>"
    )
    labels = [label(tokenizer, token) for token in ids]
    alt = f"Attention weights of layer {layer + 1}, head {head + 1}, on: {SENTENCE}"
    drawn = heat(weights[layer, head].tolist(), labels, alt)
    text = caption(head_sentence(weights[layer, head], layer, head, labels))
    return section("inside", "Inside", intro, f"<figure>{drawn}{text}</figure>")


def label(tokenizer: Tokenizer, token: int) -> str:
    """Return a token in readable form: spaces as dots, <|bos|> as "start"."""
    if token == tokenizer.specials[BOS]:
        return "start"
    return tokenizer.decode([token]).replace(" ", "·").replace("\n", "↵")


def head_sentence(weights: Tensor, layer: int, head: int, labels: list[str]) -> str:
    """Describe what the head does, except in the first two rows: a constant distance, or the most attended columns."""
    strongest: list[int] = weights.argmax(dim=-1).tolist()
    rows = range(2, len(labels))
    distances = [row - strongest[row] for row in rows]
    usual = max(sorted(set(distances)), key=distances.count)
    name = f"Layer {layer + 1}, head {head + 1}"
    if 2 * distances.count(usual) >= len(distances):
        target = {0: "the token itself", 1: "the previous token"}.get(usual, f"the token {usual} positions back")
        return f"{name} attends most to {target} in {distances.count(usual)} of {len(distances)} rows."
    columns = [strongest[row] for row in rows]
    most = sorted(set(columns), key=lambda column: (-columns.count(column), column))[:2]
    counts = [f"“{escape(labels[column].strip('·'))}” in {columns.count(column)}" for column in most]
    return f"{name} attends to certain tokens: of {len(columns)} rows, it attends most to {listing(counts)}."
