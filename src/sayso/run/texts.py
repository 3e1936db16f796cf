"""Act: measure a model's loss on any texts.

The part of `sayso evaluate` with `--text`. Prints bits per byte and perplexity of each source, and the loss by the
context seen, and writes `runs/evaluate-NAME/text/loss.json`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object, write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.log import Progress, act_log, say
from sayso.base.made import work_in
from sayso.base.output import console
from sayso.judge.statistics.estimate import Estimate
from sayso.judge.text_loss import TextLoss, exponential, text_loss, window_and_stride
from sayso.run.earlier import say_replaced
from sayso.run.suite import fingerprint_of
from sayso.text.rows import report_ignored, report_rows
from sayso.text.sources import file_source, read_part
from sayso.weights.folder import load_model


@dataclass(frozen=True)
class ReadAs:
    """How texts are read."""

    window: int | None
    """Most tokens in a window; None = the model's context."""
    stride: int | None
    """Tokens from one window to the next; None = half a window."""
    device: str | None


def texts_of(name: str) -> list[str]:
    """Return the documents of a file, a folder or a URL; a text file is one document.

    Raises `UserError` if it cannot be read, is not UTF-8, or has no text.
    """
    source, bad = file_source(name, 0), BadRows()
    report_ignored([source])
    texts = [document.text for part in source.parts for document in read_part(part, bad) if document.text.strip()]
    report_rows(bad)
    if not texts:
        raise UserError(f"--text must name sources with text; '{name}' has none.")
    return texts


def evaluate_texts(
    life: Life, folder: Path, name: str, sources: Sequence[str], how: ReadAs, config: Any
) -> dict[str, Any]:
    """Measure a model on sources of text, print the tables, and write them to `runs/evaluate-NAME/text/loss.json`.

    `config` is what the log records as the options.
    """
    texts = {one: texts_of(one) for one in dict.fromkeys(sources)}
    model, tokenizer = load_model(folder, pick_device(how.device).kind)
    window, stride = window_and_stride(model.config.context, how.window, how.stride)
    with act_log(life, "evaluate", name, config):
        path = life.run(f"evaluate-{name}") / "text" / "loss.json"
        work_in(path.parent)
        flat = [text for own in texts.values() for text in own]
        with Progress(None, f"{name}: token") as line:

            def show(done: int, total: int) -> None:
                line.total = total
                line.update(done)

            whole = text_loss(model, tokenizer, flat, window, stride, show)
        ends = [0, *accumulate(map(len, texts.values()))]
        parts = {one: whole.of(slice(*places)) for one, places in zip(texts, pairwise(ends), strict=True)}
        scores = {
            "model": name,
            "fingerprint": fingerprint_of(folder),
            "window": window,
            "stride": stride,
            "sources": {one: part.as_dict() for one, part in parts.items()},
            "all": whole.as_dict(),
        }
        _say_replaced(path, scores)
        write_json(path, scores, sealed=True)
    show_losses(name, parts, whole, f"windows of {window:,} tokens, stride {stride:,}")
    say(f"Wrote {path}.")
    return scores


def _say_replaced(path: Path, scores: dict[str, Any]) -> None:
    """Say that an earlier result of the same model on other texts, or read otherwise, is replaced."""
    if path.exists() and (earlier := read_object(path, "sources"))["fingerprint"] == scores["fingerprint"]:
        before, now = ({**one, "text": " ".join(one["sources"])} for one in (earlier, scores))
        say_replaced(path, {name: before[name] for name in ("text", "window", "stride")}, now)


def show_losses(name: str, parts: dict[str, TextLoss], whole: TextLoss, how: str) -> None:
    """Print the loss of each source, and of all by the context seen."""
    screen = console()
    table = Table("source", "documents", "bytes", "bits per byte", "perplexity", title=f"{name}: {how}")
    rows = {**parts, "all": whole} if len(parts) > 1 else parts
    for one, part in rows.items():
        sizes = f"{len(part.sizes):,}", f"{int(part.sizes.sum()):,}"
        table.add_row(one, *sizes, _interval(part.bits_per_byte, 4), _interval(part.perplexity, 3))
    screen.print(table, markup=False)
    by_context = Table("tokens before", "tokens", "nats per token", "perplexity", title=f"{name}: by the context seen")
    for bucket in whole.buckets():
        span = f"{bucket.least:,}" if bucket.least == bucket.most else f"{bucket.least:,} to {bucket.most:,}"
        perplexity = exponential(bucket.nats)
        by_context.add_row(span, f"{bucket.tokens:,}", _interval(bucket.nats, 4), f"{perplexity.mean:.3f}")
    screen.print(by_context)
    if any(len(part.sizes) == 1 for part in rows.values()):
        say("A single document has no interval: give several files, or a .jsonl file with one document per row.")


def _interval(value: Estimate, digits: int) -> str:
    ends = value.interval(f".{digits}f")
    return f"{value.mean:.{digits}f}" + (f" ({ends})" if ends else "")
