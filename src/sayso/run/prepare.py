"""Act: clean, deduplicate and split sources into data/text (documents) and data/chat (conversations).

Parts of the sources are processed in parallel into a hidden work folder, then merged in order. An interrupted run
resumes, a finished one is skipped, and the number of workers does not change the result.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sayso.base.config import plain
from sayso.base.errors import UserError
from sayso.base.files import read_json, read_object, write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import alone
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_apart, check_replaceable, is_work, made_folder, work_in
from sayso.base.ranges import Count, PartOf, Processes, Repeats, Seed, Share
from sayso.text.decontaminate import SHORTEST, ngram_sets, save_sets, together
from sayso.text.document import File, Source
from sayso.text.evaluation import evaluation_files, evaluation_texts, held_out_texts
from sayso.text.manifest import BY_RULE, is_current, prepare_fingerprint, source_facts, stated_rules, totals, versions
from sayso.text.merge import Out, fates, merge_shards
from sayso.text.parallel import run_parts
from sayso.text.rows import ReadsRows, report_ignored, report_rows
from sayso.text.sources import BUILT_IN, Amounts, resolve
from sayso.text.work import Counts, PrepareJob, PrepareRules


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


@alone(lambda options: Life(options.life).data("text"))
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
    if (done := _already(life, mark)) is not None:
        say(f"Already prepared: {_summary(done)}")
        return done
    for name in ("text", "chat"):
        check_replaceable(life.data(name))
    bad = BadRows(options.bad_rows)
    with act_log(life, "prepare", "", options):
        work = _work_folder(life, mark)
        checked = _evaluation(options, work, sources, evaluation, bad)
        bad.check()
        with Progress(None, "documents") as line:
            ran = run_parts(sources, _rules(options), work, options.workers, line.update, bad)
        report_rows(bad)
        head = {"fingerprint": mark, "options": asked, "evaluation_texts": checked, "bad_rows": bad.facts()}
        manifest = _write(options, life, sources, ran, work, head)
        for left in filter(is_work, work.parent.glob(".prepare-*")):  # including unfinished work of other options
            shutil.rmtree(left)
    say(f"Prepared {_summary(manifest)}")
    return manifest


def _check_places(life: Life, names: Sequence[str]) -> None:
    """Refuse inputs inside the folders that are about to be replaced."""
    here = [Path(name) for name in names if "://" not in name]
    check_apart([life.data("text"), life.data("chat")], here)


def _already(life: Life, mark: str) -> dict[str, Any] | None:
    """Return the manifest of an earlier run with the same fingerprint, if all its files exist."""
    if not all((life.data(name) / "manifest.json").exists() for name in ("text", "chat")):
        return None
    text, chat = (read_object(life.data(name) / "manifest.json") for name in ("text", "chat"))
    same = text.get("fingerprint") == mark == chat.get("fingerprint")
    return text if same and is_current(life.data("text"), text) and is_current(life.data("chat"), chat) else None


def _work_folder(life: Life, mark: str) -> Path:
    """Return the work folder of these options, new or as an interrupted run left it."""
    work = life.data("text").with_name(f".prepare-{mark[:12]}")
    work_in(work)
    return work


def _evaluation(
    options: Prepare, work: Path, sources: Sequence[Source], files: Sequence[File], bad: BadRows
) -> dict[str, int]:
    """Write the n-grams of the evaluation texts into the work folder, once; return the counts of these texts."""
    path = work / "evaluation.json"
    if path.exists():
        known = read_json(path)
        bad.merge(BadRows(**known["bad"]))
        return dict(known["texts"])
    texts = Counter({"usable": 0, "too_short": 0})
    if options.ngram:
        of_files = ngram_sets(evaluation_texts(files, bad), options.ngram, texts)
        save_sets(together([of_files, ngram_sets(held_out_texts(sources), options.ngram)]), work)
    write_json(path, {"texts": texts, "bad": asdict(bad)})
    return dict(texts)


def _rules(options: Prepare) -> PrepareRules:
    return PrepareRules(
        quality=options.quality,
        near=bool(options.near_duplicates),
        limit=options.limit,
        chat_turns=options.chat_turns,
        chat_characters=options.chat_characters,
        chat_documents=options.chat_documents,
        bad_rows=options.bad_rows,
    )


def _write(
    options: Prepare,
    life: Life,
    sources: Sequence[Source],
    ran: list[tuple[PrepareJob, Counts]],
    work: Path,
    head: dict[str, Any],
) -> dict[str, Any]:
    """Merge the parts into data/chat and data/text, each with its manifest; return the manifest of data/text."""
    jobs = [job for job, _ in ran]
    fate = fates(jobs, work, options.near_duplicates)
    with (
        Progress(len(fate), "writing") as line,
        made_folder(life.data("text")) as text,  # opened first, so it is committed last: it marks completion
        made_folder(life.data("chat")) as chat,
    ):
        outs, text_files, chat_files = merge_shards(
            jobs, fate, work, text, chat, (options.val, options.test), line.update
        )
        entries = [
            source_facts(
                source, [counts for job, counts in ran if job.source == source.name], outs.get(source.name, Out())
            )
            for source in sources
        ]
        _check(entries)
        manifest = head | {
            "versions": versions(),
            "rules": stated_rules(),
            "sources": entries,
            "totals": totals(entries),
        }
        write_json(chat / "manifest.json", manifest | {"files": chat_files}, sealed=True)
        manifest |= {"files": text_files}
        write_json(text / "manifest.json", manifest, sealed=True)
    return manifest


def _check(entries: Sequence[dict[str, Any]]) -> None:
    """Refuse a source that yields nothing, before anything is trained."""
    for entry in entries:
        if not entry["in"]["documents"]:
            raise UserError(f"A source must contain text; '{entry['name']}' has no documents.")
        if not any(out["documents"] for out in entry["out"].values()) and not any(entry["conversations"].values()):
            told = ", ".join(f"{count} {rule}" for rule, count in entry["dropped"].items())
            raise UserError(
                f"No documents of '{entry['name']}' passed the rules ({told}); see docs/prepare.md or use --no-quality."
            )


def _summary(manifest: dict[str, Any]) -> str:
    total = manifest["totals"]
    out, talks = total["out"], total["conversations"]
    size = sum(split["bytes"] for split in out.values()) / 2**20
    dropped, none, parts = (_by_rule(total[rules]) for rules in BY_RULE)
    counts = " + ".join(f"{out[split]['documents']:,}" for split in out)
    documents = f"{counts} documents ({size:,.1f} MB; train + val + test)"
    return (
        f"{documents} and {sum(talks.values()):,} conversations; dropped: {dropped or 'none'}"
        + (f"; conversations left out: {none}" if none else "")
        + (f"; parts of conversations left out: {parts}" if parts else "")
        + ("; raise --chat-characters to keep longer ones" if "long" in none + parts else "")
        + _checked(manifest["evaluation_texts"], manifest["options"]["ngram"])
    )


def _checked(texts: dict[str, int], ngram: int) -> str:
    """Describe how many evaluation texts documents were checked against; empty if there were none."""
    usable, short = texts["usable"], texts["too_short"]
    if not usable + short:
        return ""
    told = f"checked against {usable:,} of {usable + short:,} evaluation texts"
    return f"; {told}" + (f" ({short:,} are shorter than {min(ngram, SHORTEST)} words)" if short else "")


def _by_rule(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {rule}" for rule, count in counts.items())
