"""The report's sections on tokenizers, data, lineage, cost and verification."""

from html import escape
from typing import Any

from sayso.base.log import duration
from sayso.report.draw import bar
from sayso.report.facts import Facts
from sayso.report.markup import caption, counted, listing, mark, missing, section, size, source_name, table

_Data = dict[str, Any]


def tokenizers(facts: Facts) -> str:
    """Return the table of tokenizers, with the effect of a misspelling."""
    rows = facts.tokenizers
    if not rows:
        return section(
            "tokenizers",
            "Tokenization",
            missing("No tokenizers have been compared yet; compare them with", "sayso tokenizer compare"),
        )
    heads = (
        "tokenizer",
        ">vocabulary",
        ">bytes per token",
        ">tokens per word",
        ">unknown",
        rows[0]["word"],
        rows[0]["misspelt"],
    )
    cells = [
        [
            escape(row["name"]),
            f"{row['vocab_size']:,}",
            f"{row['bytes_per_token']:.2f}",
            f"{row['tokens_per_word']:.2f}",
            f"{100 * row['unknown_rate']:.1f}&nbsp;%",
            _pieces(row["word_pieces"]),
            _pieces(row["misspelt_pieces"]),
        ]
        for row in rows
    ]
    longest = max(rows, key=lambda row: row["bytes_per_token"])
    text = f"The {escape(longest['name'])} tokenizer has the longest tokens, {longest['bytes_per_token']:.1f} bytes on "
    text += "average"
    if longest["unknown_rate"]:
        text += f", but {100 * longest['unknown_rate']:.1f}&nbsp;% of them are unknown"
    text += (
        f". The last column, “{escape(rows[0]['word'])}” with two letters swapped, shows how each handles a new word."
    )
    return section("tokenizers", "Tokenization", f"<figure>{table(heads, cells)}{caption(text)}</figure>")


def _pieces(tokens: list[str]) -> str:
    """Return tokens as chips, without the space before a word."""
    shown = [token.strip() or "·" for token in tokens if token != " "]
    return " ".join(f'<span class="chip">{escape(token)}</span>' for token in shown)


def data(facts: Facts) -> str:
    """Return the table of sources: license, documents read and dropped, bytes kept."""
    if not facts.manifest:
        text = "No text has been prepared yet; prepare it with"
        return section("data", "Training data", missing(text, "sayso prepare"))
    sources, out = facts.manifest["sources"], facts.manifest["totals"]["out"]
    heads = ("source", "license", ">documents read", ">dropped", "main reason", ">training", ">held out")
    cells = [_source(source) for source in sources]
    total = sum(source["out"]["train"]["bytes"] for source in sources)
    largest = max(sources, key=lambda source: source["out"]["train"]["bytes"])
    share = largest["out"]["train"]["bytes"] / total if total else 0.0
    text = (
        f"{size(total)} of training text in {out['train']['documents']:,} documents; "
        f"{100 * share:.0f}&nbsp;% of it is from {source_name(largest)}."
    )
    return section("data", "Training data", f"<figure>{table(heads, cells)}{caption(text)}</figure>")


def _source(source: _Data) -> list[str]:
    dropped = sum(source["dropped"].values())
    most = max(source["dropped"], key=lambda rule: source["dropped"][rule], default="")
    held = source["out"]["val"]["bytes"] + source["out"]["test"]["bytes"]
    return [
        source_name(source) + (" <small>generated</small>" if source.get("generated") else ""),
        escape(source["licence"]),
        f"{source['in']['documents']:,}",
        f"{100 * dropped / max(1, source['in']['documents']):.1f}&nbsp;%",
        escape(most.replace("_", " ")),
        size(source["out"]["train"]["bytes"]),
        size(held),
    ]


def lineage(facts: Facts) -> str:
    """Return a row of cards with hashes: data, tokenizer, then each stage."""
    cards: list[tuple[str, str, list[str]]] = []
    if "data" in facts.hashes and facts.manifest:
        names = listing([source_name(source) for source in facts.manifest["sources"]])
        cards.append(("data", facts.hashes["data"], [names]))
    if "tokenizer" in facts.hashes:
        made_of = (facts.made_tokenizer or {}).get("made_of", {})
        cards.append(("tokenizer", facts.hashes["tokenizer"], [escape(str(made_of.get("kind", "")))]))
    for stage, made in facts.models.items():
        lines = [f"imported from {escape(made['parent'].split()[0])}"] if made.get("stage") == "imported" else []
        if metrics := made.get("metrics"):
            lines = [
                f"{metrics['steps']:,} steps",
                f"{counted(metrics['tokens'])} tokens",
                f"seed {made.get('seed', 0)}",
            ]
        shown = ("text", "tokenizer", str(made.get("parent")).split()[0])  # other cards
        if own := [part.split()[0] for part in made.get("data", []) if part.split()[0] not in shown]:
            lines.append("trained on " + listing([escape(name) for name in own]))
        cards.append((stage, made["weights_sha256"], lines))
    if not cards:
        return section("lineage", "Lineage", missing("Nothing has been created yet; start with", "sayso prepare"))
    row = "".join(
        f'<li class="{name}"><b>{name}</b>{mark(digest)}' + "".join(f"<span>{line}</span>" for line in lines) + "</li>"
        for name, digest, lines in cards
    )
    return section("lineage", "Lineage", f'<ol class="lineage">{row}</ol>')


def cost(facts: Facts) -> str:
    """Return the time and memory of each act."""
    if not facts.acts:
        return section("cost", "Cost", missing("No command has been run yet; run all with", "sayso demo"))
    longest, total = max(act.seconds for act in facts.acts), sum(act.seconds for act in facts.acts)
    rows = "".join(
        f'<div class="act"><span class="who">{escape(act.name)}</span>{bar(act.seconds, longest or 1, "plain")}'
        f'<span class="n">{duration(act.seconds)}</span><span class="n soft">{act.peak_memory_mb:,.0f} MB</span></div>'
        for act in facts.acts
    )
    most = max(facts.acts, key=lambda act: act.seconds)
    peak = max(act.peak_memory_mb for act in facts.acts)
    text = (
        f"{duration(total)} in total, {100 * most.seconds / (total or 1):.0f}&nbsp;% of it in {escape(most.name)}; "
        f"at most {peak:,.0f} MB of memory in the main process (acts run by one process share its peak)."
    )
    return section("cost", "Cost", f'<figure><div class="acts">{rows}</div>{caption(text)}</figure>')


def scientific(value: float) -> str:
    """Format a very small number in scientific notation, such as 9.1 × 10⁻⁶."""
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10<sup>{int(power)}</sup>".replace("-", "−") if value else "0"


def verification(facts: Facts) -> str:
    """Return the results of `sayso verify`."""
    if not facts.verify:
        text = "Resuming and exporting have not been verified yet; verify them with"
        return section("verification", "Verification", missing(text, "sayso verify"))
    lines = []
    if resume := facts.verify.get("resume"):
        word = "bitwise identical" if resume["identical"] else "<strong>different</strong>"
        steps = f"{resume['killed_after']} of {resume['steps']}"
        lines.append(f"A run that was killed at step {steps} and resumed ended with {word} weights.")
    if export := facts.verify.get("export"):
        difference = scientific(export["max_logit_difference"])
        lines.append(f"In transformers, the exported model gives the same logits to within {difference}.")
    return section("verification", "Verification", f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>")
