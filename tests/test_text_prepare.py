"""Preparing end to end: from files to shards that are counted, split and the same on any number of workers."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256
from sayso.base.jsonl import read_jsonl
from sayso.run.prepare import Prepare, prepare

WORDS = ["river", "stone", "light", "garden", "winter", "letter", "window", "silver", "morning", "paper"]
MANY = [f"{word}{number}" for word in WORDS for number in range(300)]


def prose(seed: int, count: int) -> list[str]:
    """Return different texts of 40 to 90 random words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(MANY, size=rng.integers(40, 90))) + "." for _ in range(count)]


def lines(path: Path, texts: list[str]) -> Path:
    """Write texts as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def documents(life: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the prepared documents by split."""
    folder = life / "data" / "text"
    return {
        split: [row for shard in sorted(folder.glob(f"{split}-*.jsonl")) for row in read_jsonl(shard)]
        for split in ("train", "val", "test")
    }


def contents(life: Path) -> dict[str, str]:
    """Return the hash of every prepared file."""
    files = sorted(path for path in (life / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(life)): sha256(path) for path in files}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of several files: good texts, bad ones, copies, near copies and conversations."""
    texts = prose(0, 120)
    near = texts[7].split()
    near[20] = "changed"
    lines(tmp_path / "in" / "a.jsonl", [*texts[:60], "Too short.", texts[3]])
    lines(tmp_path / "in" / "b.jsonl", [*texts[60:], " ".join(near), texts[5] + "\r\n"])
    turns = [
        {"role": role, "content": text} for role, text in zip(["user", "assistant"] * 5, prose(1, 10), strict=True)
    ]
    (tmp_path / "in" / "c.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (tmp_path / "in" / "d.txt").write_text("\n\n".join(prose(2, 3)))
    return tmp_path / "in"


def options(life: Path, *sources: object, **others: Any) -> Prepare:
    """Return options for a life with these sources, processed in this process."""
    return Prepare(life=life, sources=tuple(map(str, sources)), **{"workers": 1, **others})


def test_every_document_is_kept_or_counted(corpus: Path, tmp_path: Path) -> None:
    """Documents in = documents out + those dropped, by rule; files have the lines, bytes and hashes of the manifest."""
    manifest = prepare(options(tmp_path / "life", corpus))
    [source] = manifest["sources"]
    assert source["dropped"] == {"exact_duplicate": 2, "near_duplicate": 1, "too_short": 1}
    out = {split: facts["documents"] for split, facts in source["out"].items()}
    assert source["in"]["documents"] == sum(out.values()) + 4 == 126
    found = documents(tmp_path / "life")
    assert {split: len(rows) for split, rows in found.items()} == out
    assert all(set(row) == {"text", "source"} and row["source"] == str(corpus) for row in found["train"])
    for folder in ("text", "chat"):
        path = tmp_path / "life" / "data" / folder
        for name, facts in read_json(path / "manifest.json")["files"].items():
            raw = (path / name).read_bytes()
            assert (facts["bytes"], facts["lines"]) == (len(raw), raw.count(b"\n"))
            assert facts["sha256"] == hashlib.sha256(raw).hexdigest()
    assert manifest == read_json(tmp_path / "life" / "data" / "text" / "manifest.json")


def test_a_text_is_in_one_split_only(corpus: Path, tmp_path: Path) -> None:
    """Validation and test exist, and share nothing with training."""
    prepare(options(tmp_path / "life", corpus, val=0.1, test=0.1))
    texts = [{row["text"] for row in rows} for rows in documents(tmp_path / "life").values()]
    assert all(texts)
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_conversations_are_cut_into_windows_in_the_split_of_their_document(corpus: Path, tmp_path: Path) -> None:
    """One conversation of ten messages gives windows of at most four here, and one document."""
    prepare(options(tmp_path / "life", corpus, chat_turns=4, chat_characters=0))
    chat = {split: list(read_jsonl(tmp_path / f"life/data/chat/{split}.jsonl")) for split in ("train", "val", "test")}
    [split] = [name for name, rows in chat.items() if rows]
    assert [len(row["messages"]) for row in chat[split]] == [4, 4, 2]
    first = chat[split][0]["messages"][0]["content"]
    assert any(row["text"].startswith(first) for row in documents(tmp_path / "life")[split])
    manifest = prepare(options(tmp_path / "life", corpus, chat_documents=False))
    assert manifest["totals"]["in"]["documents"] == 126
    assert not any(row["text"].startswith(first) for rows in documents(tmp_path / "life").values() for row in rows)


def test_workers_and_order_of_work_change_nothing(corpus: Path, tmp_path: Path) -> None:
    """One process or three: the same bytes in every file, the small world included."""
    amounts = {"world_documents": 60, "world_conversations": 60}
    for workers in (1, 3):
        prepare(options(tmp_path / str(workers), corpus, "smallworld", workers=workers, **amounts))
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_the_same_options_do_nothing_again_and_others_do(corpus: Path, tmp_path: Path) -> None:
    """With the same options, no file is changed; a new option, a changed source or a lost file prepares again."""
    life, shard = tmp_path / "life", tmp_path / "life/data/text/train-00000.jsonl"
    first = prepare(options(life, corpus))
    written = shard.stat().st_mtime_ns
    assert prepare(options(life, corpus, workers=2)) == first
    assert shard.stat().st_mtime_ns == written
    assert prepare(options(life, corpus, near_duplicates=0.0))["totals"]["out"] != first["totals"]["out"]
    assert prepare(options(life, corpus)) == first
    shard.unlink()
    assert prepare(options(life, corpus)) == first
    assert shard.exists()
    lines(corpus / "e.jsonl", prose(5, 3))
    assert prepare(options(life, corpus))["totals"]["in"]["documents"] == 129


def test_another_source_moves_no_document_to_another_split(corpus: Path, tmp_path: Path) -> None:
    """Splits depend only on the text, so held-out text stays held out when a corpus grows."""
    more = lines(tmp_path / "more.jsonl", prose(9, 200))
    shares = {"val": 0.1, "test": 0.1}
    prepare(options(tmp_path / "one", corpus, **shares))
    prepare(options(tmp_path / "two", more, corpus, **shares))
    one, two = documents(tmp_path / "one"), documents(tmp_path / "two")
    for split, rows in one.items():
        assert {row["text"] for row in rows} == {row["text"] for row in two[split] if row["source"] == str(corpus)}


def test_evaluation_texts_are_kept_out_of_training(corpus: Path, tmp_path: Path) -> None:
    """A document that contains 13 words of an evaluation text is dropped; without the check it is kept."""
    held = prose(0, 120)[11].split()
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "task.jsonl").write_text(json.dumps({"question": " ".join(held[5:20]), "answers": ["yes"]}))
    manifest = prepare(options(tmp_path / "life", corpus, eval_texts=(tmp_path / "eval",)))
    assert manifest["totals"]["dropped"]["contaminated"] == 1
    manifest = prepare(options(tmp_path / "life", corpus, eval_texts=(tmp_path / "eval",), ngram=0))
    assert "contaminated" not in manifest["totals"]["dropped"]


def test_the_small_world_keeps_its_templates_and_its_own_splits(tmp_path: Path) -> None:
    """Only exact copies of generated text are dropped, and a real source that repeats held-out stories loses them."""
    from sayso.world import document

    copied = [document(0, index, split)["text"] for index, split in ((0, "val"), (1, "train"))]
    stolen = lines(tmp_path / "stolen.jsonl", [*copied, *prose(3, 30)])
    manifest = prepare(options(tmp_path / "life", stolen, "smallworld", world_documents=300, world_conversations=100))
    real, world = manifest["sources"]
    assert real["dropped"]["contaminated"] >= 1
    assert set(world["dropped"]) <= {"exact_duplicate"}
    assert (world["generated"], world["licence"]) == (True, "Apache-2.0")
    assert {split: facts["documents"] for split, facts in world["out"].items()} == {"train": 287, "val": 6, "test": 6}
    rows = documents(tmp_path / "life")["val"]
    assert document(0, 0, "val")["text"] in {row["text"] for row in rows if row["source"] == "smallworld"}


def test_a_limit_takes_the_first_documents_on_any_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    """As many documents as requested pass the rules; later parts are not read."""
    for workers in (1, 2):
        manifest = prepare(options(tmp_path / str(workers), corpus, limit=70, workers=workers))
        assert manifest["totals"]["in"]["documents"] < 126
        assert sum(facts["documents"] for facts in manifest["totals"]["out"].values()) == 69  # one copy is dropped
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_killed_prepare_leaves_nothing_incomplete_and_resumes(tmp_path: Path) -> None:
    """Killed with SIGKILL after its first part: no data folder; the same command then gives the undisturbed result."""
    wish = {"world_documents": 4000, "world_conversations": 0, "workers": 1}
    life = str(tmp_path / "life")
    code = f"from sayso.run.prepare import *; prepare(Prepare(Path({life!r}), ('smallworld',), **{wish}))"
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, env=dict(os.environ))
    while not done_parts(tmp_path / "life"):
        assert running.poll() is None, "it ended before it could be killed"
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "life/data/text").exists()
    [part, *_] = done_parts(tmp_path / "life")
    read_json(part)
    prepare(options(tmp_path / "life", "smallworld", **wish))
    prepare(options(tmp_path / "calm", "smallworld", **wish))
    assert contents(tmp_path / "life") == contents(tmp_path / "calm")


def done_parts(life: Path) -> list[Path]:
    """Return the finished parts of an unfinished prepare."""
    return sorted(life.glob("data/.prepare-*/[0-9]*.json"))


def test_a_full_disk_is_reported_in_one_sentence(corpus: Path, tmp_path: Path) -> None:
    """Simulated by a limit on the size of files: exit code 2, no traceback, no data folder."""
    words = ["prepare", "--life", str(tmp_path / "life"), "--sources", str(corpus)]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        f"from sayso.cli.main import run; sys.exit(run({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "full" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "life/data/text").exists()


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"val": 0.6, "test": 0.5}, "less than 1"),
        ({"near_duplicates": 1.5}, "--near-duplicates must be from 0 to 1"),
        ({"piece": -1}, "--piece must be at least 0; got -1"),
    ],
)
def test_an_impossible_option_is_refused(tmp_path: Path, others: dict[str, Any], says: str) -> None:
    """It is refused before anything is read."""
    with pytest.raises(UserError) as caught:
        options(tmp_path, "wiki", **others)
    assert says in str(caught.value)


def test_sources_without_documents_are_refused(tmp_path: Path) -> None:
    """No document at all; or none that passed, with the rules that dropped them; nothing incomplete is left."""
    short = lines(tmp_path / "short.jsonl", ["One.", "Two."])
    blank = lines(tmp_path / "blank.jsonl", [])
    blank.write_text("\n\n")
    with pytest.raises(UserError, match=r"No documents of '.*short.jsonl' passed the rules \(2 too_short\)"):
        prepare(options(tmp_path / "life", short))
    with pytest.raises(UserError, match=r"blank.jsonl' has no documents"):
        prepare(options(tmp_path / "life", blank))
    assert not (tmp_path / "life/data/text").exists()
    with pytest.raises(UserError, match="At least one source"):
        prepare(options(tmp_path / "life"))


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Messages for the user do not go into the report."""
    yield
    capsys.readouterr()


def test_exchanges_left_out_of_conversations_are_counted_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Conversations without a window, and exchanges left out of others, are in the summary and the manifest by rule."""

    def turns(*said: str) -> dict[str, Any]:
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]}

    long = "a long tale of " * 100
    rows = [turns(f"Tell tale {n}.", f"{n} {long}") for n in range(3)]
    rows += [turns("Hello?", "Hi!", f"Tell more. {n}", long, "And now?", f"Bye {n}.", "Wait") for n in range(2)]
    rows += [{"messages": [{"role": "user", "content": "Anyone?"}]}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = prepare(options(tmp_path / "life", path, quality=False))
    assert manifest["totals"]["no_conversation"] == {"too_few_turns": 1, "too_long": 3}
    assert manifest["totals"]["left_out_of_conversations"] == {"exchange_too_long": 2, "unpaired_turn": 2}
    assert sum(manifest["totals"]["conversations"].values()) == 4
    told = capsys.readouterr().out
    assert "conversations left out: 1 too_few_turns, 3 too_long; " in told
    assert "parts of conversations left out: 2 exchange_too_long, 2 unpaired_turn; raise --chat-characters" in told


def test_evaluation_texts_of_any_script_are_kept_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Chinese question is found like an English one; the summary and the manifest count usable texts."""
    question = "小明早上带着一只红色的旧风筝走过石桥去港口找他的朋友，朋友却已经坐船到对岸的集市买面粉和盐了。"
    other = "港口的居民在冬天修好了灯塔的楼梯，也换掉了市场里破旧的木门，老人坐在炉火旁边讲故事。"
    rows = [f"{other * 2}{number}{question[:9]}" for number in range(3)] + [f"{other}{question}{other}"]
    path = lines(tmp_path / "rows.jsonl", rows)
    (tmp_path / "eval.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([{"q": question, "a": "风筝"}]).encode())
    wish = options(tmp_path / "life", path, eval_texts=(tmp_path / "eval.json",), quality=False, near_duplicates=0)
    manifest = prepare(wish)
    assert manifest["totals"]["dropped"] == {"contaminated": 1}
    assert manifest["evaluation_texts"] == {"usable": 1, "too_short": 1}
    assert "checked against 1 of 2 evaluation texts (1 are shorter than 8 words)" in capsys.readouterr().out
    assert not any(question in row["text"] for split in documents(tmp_path / "life").values() for row in split)
