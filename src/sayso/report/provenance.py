"""Provenance: the data, the tokenizer, the lineage, the cost, and the verification."""

from html import escape
from typing import Any

from sayso.base.log import duration
from sayso.report.draw import bar
from sayso.report.facts import Facts
from sayso.report.markup import counted, listing, mark, missing, says, section, size, source_name, table

_Data = dict[str, Any]


def tokenizers(facts: Facts) -> str:
    """The tokenizer table, and the effect of a misspelling."""
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
    told = (
        f"A token of the {escape(longest['name'])} tokenizer covers most, {longest['bytes_per_token']:.1f} bytes"
        + (
            f", but {100 * longest['unknown_rate']:.1f}&nbsp;% of its pieces are unknown"
            if longest["unknown_rate"]
            else ""
        )
        + f"; two letters swapped in “{escape(rows[0]['word'])}” show how each handles an unknown word."
    )
    return section("tokenizers", "Tokenization", f"<figure>{table(heads, cells)}{says(told)}</figure>")


def _pieces(tokens: list[str]) -> str:
    """Tokens as chips; the space before a word is omitted."""
    shown = [token.strip() or "·" for token in tokens if token != " "]
    return " ".join(f'<span class="chip">{escape(token)}</span>' for token in shown)


def data(facts: Facts) -> str:
    """The data table: license of each source, what was dropped, what was kept."""
    if not facts.manifest:
        return section("data", "Training data", missing("No text is prepared yet; prepare it with", "sayso prepare"))
    sources, out = facts.manifest["sources"], facts.manifest["totals"]["out"]
    heads = ("source", "license", ">read", ">dropped", "main reason", ">kept for training", ">held out")
    cells = [_source(source) for source in sources]
    whole = sum(source["out"]["train"]["bytes"] for source in sources)
    largest = max(sources, key=lambda source: source["out"]["train"]["bytes"])
    share = largest["out"]["train"]["bytes"] / whole if whole else 0.0
    told = (
        f"{size(whole)} of training text in {out['train']['documents']:,} documents; "
        f"{100 * share:.0f}&nbsp;% of it is {source_name(largest)}."
    )
    return section("data", "Training data", f"<figure>{table(heads, cells)}{says(told)}</figure>")


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


def lineage_table(facts: Facts) -> str:
    """Cards in a row: data, tokenizer, then each stage with its hash."""
    cards: list[tuple[str, str, list[str]]] = []
    if "data" in facts.hashes and facts.manifest:
        names = listing([source_name(source) for source in facts.manifest["sources"]])
        cards.append(("data", facts.hashes["data"], [names]))
    if "tokenizer" in facts.hashes:
        told = (facts.made_tokenizer or {}).get("made_of", {})
        cards.append(("tokenizer", facts.hashes["tokenizer"], [escape(str(told.get("kind", "")))]))
    for stage, made in facts.models.items():
        lines = [f"imported from {escape(made['parent'].split()[0])}"] if made.get("stage") == "imported" else []
        if metrics := made.get("metrics"):
            lines = [
                f"{metrics['steps']:,} steps",
                f"{counted(metrics['tokens'])} tokens",
                f"seed {made.get('seed', 0)}",
            ]
        apart = ("text", "tokenizer", str(made.get("parent")).split()[0])
        if own := [part.split()[0] for part in made.get("data", []) if part.split()[0] not in apart]:
            lines.append("trained on " + listing([escape(name) for name in own]))
        cards.append((stage, made["weights_sha256"], lines))
    if not cards:
        return section("lineage", "Lineage", missing("Nothing has been created yet; start with", "sayso prepare"))
    row = "".join(
        f'<li class="{name}"><b>{name}</b>{mark(digest)}' + "".join(f"<span>{line}</span>" for line in lines) + "</li>"
        for name, digest, lines in cards
    )
    return section("lineage", "Lineage", f'<ol class="lineage">{row}</ol>')


def took(facts: Facts) -> str:
    """Time and memory of each act."""
    if not facts.acts:
        return section("took", "Cost", missing("No command has run yet; run all with", "sayso demo"))
    longest, total = max(act.seconds for act in facts.acts), sum(act.seconds for act in facts.acts)
    rows = "".join(
        f'<div class="act"><span class="who">{escape(act.name)}</span>{bar(act.seconds, longest or 1, "plain")}'
        f'<span class="n">{duration(act.seconds)}</span><span class="n soft">{act.peak_memory_mb:,.0f} MB</span></div>'
        for act in facts.acts
    )
    most = max(facts.acts, key=lambda act: act.seconds)
    peak = max(act.peak_memory_mb for act in facts.acts)
    told = (
        f"{duration(total)} in total, {100 * most.seconds / (total or 1):.0f}&nbsp;% of it in {escape(most.name)}; "
        f"never more than {peak:,.0f} MB of memory in the main process (acts of one process share its peak)."
    )
    return section("took", "Cost", f'<figure><div class="acts">{rows}</div>{says(told)}</figure>')


def tiny_report(value: float) -> str:
    """Format a very small number in scientific notation, such as 9.1 × 10⁻⁶."""
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10<sup>{int(power)}</sup>".replace("-", "−") if value else "0"


def proved(facts: Facts) -> str:
    """The two guarantees that are verified by running them."""
    if not facts.verify:
        return section(
            "proved",
            "Verification",
            missing("Resuming and exporting have not been verified yet; verify them with", "sayso verify"),
        )
    lines = []
    if resume := facts.verify.get("resume"):
        word = "bitwise identical" if resume["identical"] else "<strong>different</strong>"
        lines.append(
            f"A run killed at step {resume['killed_after']} of {resume['steps']} and resumed ends with {word} weights."
        )
    if export := facts.verify.get("export"):
        difference = tiny_report(export["max_logit_difference"])
        lines.append(f"Opened by transformers, the model gives the same logits to within {difference}.")
    return section("proved", "Verification", f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>")
