"""Act: clean, deduplicate and split sources into data/text (documents) and data/chat (conversations).

Parts of the sources are processed in parallel into a hidden work folder, then merged in order. An interrupted run
resumes, a finished one is skipped, and the number of workers does not change the result.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sayso.base.config import plain
from sayso.base.errors import UserError
from sayso.base.files import write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import exclusive
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_apart, check_replaceable, is_work, made_folder, work_in
from sayso.base.ranges import Count, PartOf, Processes, Repeats, Seed, Share
from sayso.text.document import Source
from sayso.text.evaluation import evaluation_counts, evaluation_files
from sayso.text.manifest import current_manifest, merged_facts, prepare_fingerprint, prepared_summary
from sayso.text.merge import fates, merge_shards
from sayso.text.parallel import run_parts
from sayso.text.rows import ReadsRows, report_ignored, report_rows
from sayso.text.sources import BUILT_IN, Amounts, resolve
from sayso.text.work import PrepareRules, Ran


@dataclass(frozen=True)
class Prepare(ReadsRows):
    """Options of `sayso prepare`."""

    life: Path = Path("life")
    """Folder of the life."""
    sources: tuple[str, ...] = ("wiki", "chitchat", "smallworld")
    """wiki, chitchat, smallworld, a file, a folder, hf://owner/name?column=text, or a URL such as s3://bucket/folder."""
    world_documents: Count = 24_000
    """Number of small-world documents, across all splits."""
    world_conversations: Count = 24_000
    """Number of small-world conversations, across all splits."""
    seed: Seed = 0
    """Random seed of the small world."""
    limit: Count = 0
    """Maximum number of accepted documents per source; 0 = all."""
    eval_texts: tuple[Path, ...] = ()
    """Files or folders of evaluation texts; documents that share an n-gram with them are dropped."""
    ngram: Repeats = 13
    """Length in words of the n-grams for this decontamination; 0 = off."""
    quality: bool = True
    """Drop documents that fail the quality rules."""
    near_duplicates: Share = 0.8
    """Drop documents at least this similar (Jaccard, 5-word shingles) to an earlier one; 0 = exact duplicates only."""
    val: PartOf = 0.02
    """Share of documents held out for validation, by content hash."""
    test: PartOf = 0.02
    """Share of documents held out for the final test, by content hash."""
    piece: Count = 20_000
    """Split text files longer than this many characters into documents at paragraph ends; 0 = never."""
    chat_turns: Count = 8
    """Maximum messages per conversation; longer ones are split. 0 = no limit."""
    chat_characters: Count = 1_200
    """Maximum characters per conversation; longer ones are split. 0 = no limit."""
    chat_documents: bool = True
    """Also use real conversations as pre-training documents."""
    workers: Processes | None = None
    """Number of worker processes. Default: one per core."""

    def __post_init__(self) -> None:
        """Check the combinations of options."""
        super().__post_init__()
        if not self.sources:
            raise UserError("At least one source is required, such as --sources wiki.")
        if self.val + self.test >= 1:
            raise UserError(f"--val and --test must add up to less than 1; got {self.val:g} and {self.test:g}.")


@exclusive(lambda options: Life(options.life).data("text"))
def prepare(options: Prepare) -> dict[str, Any]:
    """Clean, deduplicate and split the sources; return the manifest of data/text.

    Raises `UserError` for a source that is unknown, missing, empty, binary or unreachable.
    """
    life = Life(options.life)
    amounts = Amounts(
        options.world_documents, options.world_conversations, options.seed, options.val, options.test, options.piece
    )
    _check_places(life, [*(name for name in options.sources if name not in BUILT_IN), *map(str, options.eval_texts)])
    say(f"Preparing {', '.join(options.sources)}")
    sources = [resolve(name, amounts) for name in dict.fromkeys(options.sources)]
    report_ignored(sources)
    for source in sources:
        if not source.parts:
            raise UserError(f"A source must contain text; '{source.name}' has no documents.")
    evaluation = [file for path in options.eval_texts for file in evaluation_files(path)]
    _check_places(life, [file.where for file in (*(file for source in sources for file in source.files), *evaluation)])
    asked = plain(replace(options, life=Path("life"), workers=None))
    mark = prepare_fingerprint(asked, sources, evaluation)
    if (done := current_manifest(life.data("text"), life.data("chat"), mark)) is not None:
        say(f"Already prepared: {prepared_summary(done)}")
        return done
    for name in ("text", "chat"):
        check_replaceable(life.data(name))
    bad = BadRows(options.bad_rows)
    with act_log(life, "prepare", "", options):
        work = life.data("text").with_name(f".prepare-{mark[:12]}")  # new, or as an interrupted run left it
        work_in(work)
        checked = evaluation_counts(work, sources, evaluation, options.ngram, bad)
        bad.check()
        with Progress(None, "documents") as line:
            ran = run_parts(sources, _rules(options), work, options.workers, line.update, bad)
        report_rows(bad)
        head = {"fingerprint": mark, "options": asked, "evaluation_texts": checked, "bad_rows": bad.facts()}
        manifest = _write(options, sources, ran, work, head)
        for left in filter(is_work, work.parent.glob(".prepare-*")):  # including unfinished work of other options
            shutil.rmtree(left)
    say(f"Prepared {prepared_summary(manifest)}")
    return manifest


def _check_places(life: Life, names: Sequence[str]) -> None:
    """Refuse inputs inside the folders that are about to be replaced."""
    here = [Path(name) for name in names if "://" not in name]
    check_apart([life.data("text"), life.data("chat")], here)


def _rules(options: Prepare) -> PrepareRules:
    chats = (options.chat_turns, options.chat_characters, options.chat_documents)
    return PrepareRules(options.quality, bool(options.near_duplicates), options.limit, *chats, options.bad_rows)


def _write(options: Prepare, sources: Sequence[Source], ran: Ran, work: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Merge the parts into data/chat and data/text, each with its manifest; return the manifest of data/text."""
    life, jobs = Life(options.life), [job for job, _ in ran]
    fate = fates(jobs, work, options.near_duplicates)
    with (
        Progress(len(fate), "writing") as line,
        made_folder(life.data("text")) as text,  # opened first, so it is committed last: it marks completion
        made_folder(life.data("chat")) as chat,
    ):
        shares = (options.val, options.test)
        outs, text_files, chat_files = merge_shards(jobs, fate, work, text, chat, shares, line.update)
        manifest = head | merged_facts(sources, ran, outs)
        write_json(chat / "manifest.json", manifest | {"files": chat_files}, sealed=True)
        manifest |= {"files": text_files}
        write_json(text / "manifest.json", manifest, sealed=True)
    return manifest
