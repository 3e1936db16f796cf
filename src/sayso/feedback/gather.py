"""Convert ratings to training data: conversations to finetune on, and pairs and single ratings to align with.

Takes the store's ratings in order; returns each item once. Of contradictory ratings of one person, the latest wins;
several people are outvoted by the more reliable side. Ratings are matched by the text of prompt and reply, whatever
button was used. What programs rated is apart (`verdicts.py`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.made import made_folder
from sayso.feedback.barred import Barred, barred, question
from sayso.feedback.cases import cases_of
from sayso.feedback.database import is_in_memory, store_file
from sayso.feedback.origins import ORIGINS, origins
from sayso.feedback.ratings import Rating, has_plain_prompt
from sayso.feedback.reliability import standing
from sayso.feedback.store import Store
from sayso.feedback.verdicts import KINDS, PROGRAMS, Judged, Key, Row, verdicts
from sayso.judge.answers.text import normalized
from sayso.text.ngrams import hash64
from sayso.text.redact import redact_all

_SOURCE = "feedback"
_LABELS = frozenset({"role", "source"})  # fields of a row that nobody has said
_LEAST_WEIGHT = 0.5  # of an annotator whose conversations are trained on, which cannot be weighed


@dataclass(frozen=True)
class Rules:
    """What training data must not contain, and what it is for."""

    barred: Barred = field(default_factory=Barred)
    trained: str | None = None
    """Fingerprint of the model to be trained next; rows with its own replies are marked on-policy."""


@dataclass(frozen=True)
class Gathered:
    """The training data, as rows of the files to write."""

    conversations: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    ties: list[dict[str, Any]]
    """Pairs of replies without a preference, on sides that a hash chooses."""
    ratings: list[dict[str, Any]]
    rewards: list[dict[str, Any]]
    """Replies with the rewards of programs, from 0 to 1."""
    made_of: dict[str, int]
    """Number of rows by their kind and source."""
    left_out: dict[str, int]
    """Number of ratings and rows left out, by reason."""
    redacted: dict[str, int] = field(default_factory=dict)
    """Number of places where personal data was replaced, by kind."""


def gather_store(
    where: str | Path, folder: Path, *, redact: bool = True, texts: Iterable[str] = (), trained: str | None = None
) -> dict[str, Any]:
    """Write the training data of every rating in a store, a file or a database URL, into a folder; return the manifest.

    `redact`: replace personal data by its kind, such as `[email]`. `texts` are evaluation texts, which no row may
    contain, and `trained` is the fingerprint of the model to be trained next. Raises `UserError` for a store in memory,
    or that does not exist, and for an empty one if the folder has ratings.
    """
    if isinstance(where, str) and is_in_memory(where):
        raise UserError(
            f"Ratings are gathered from a store that outlasts its process; '{where}' is one in memory. Name "
            "a file or a database with --store, or omit it to take the life's own."
        )
    file = store_file(where)
    if file is not None and not file.exists():
        raise UserError(
            f"Ratings are gathered from the store, but there is no '{file}'; "
            "chat with a model with 'sayso serve' and rate its replies first."
        )
    with closing(Store(where)) as store:
        ratings, cases = store.ratings(), cases_of(store)
    _check_not_emptied(len(ratings), folder)
    made = gather(ratings, Rules(barred(cases, texts), trained))
    return write(redacted(made) if redact else made, ratings, folder)


def gather(ratings: Sequence[Rating], rules: Rules | None = None) -> Gathered:
    """Convert ratings to conversations, pairs, ties, single ratings and rewards.

    A conversation ends with an edited reply or one with a thumb up. A pair prefers an edit to its original, a chosen
    reply to the rejected one, or a reply with a thumb up to one with a thumb down for the same prompt. Each thumb is
    also a single rating of its reply. Verdicts of programs become rewards, and further pairs and ratings. Rows that
    `rules` bar and near copies of another row are left out, and so are replies to raw prompts and to those with tools.
    """
    rules = rules or Rules()
    plain = [rating for rating in ratings if has_plain_prompt(rating)]
    found, reasons = _found(plain)
    reasons += Counter({"reply to a raw prompt or one with tools": len(ratings) - len(plain)})
    kept = {name: _allowed(rows, rules.barred, reasons) for name, rows in found.items()}
    counted = {name: [kind for kind, _ in rows] for name, rows in kept.items()}
    counted["ratings"] = [kind for kind in counted["ratings"] if kind == PROGRAMS]  # people's are their thumbs
    made_of = Counter(f"{name} from {kind}" for name, kinds in counted.items() for kind in kinds)
    if rules.trained is not None:
        made_of += _mark_own(kept, plain, rules.trained)
    rows: dict[str, Any] = {name: [row for _, row in those] for name, those in kept.items()}
    return Gathered(**rows, made_of=dict(sorted(made_of.items())), left_out=dict(sorted(reasons.items())))


def _found(ratings: Sequence[Rating]) -> tuple[dict[str, list[Row]], Counter[str]]:
    """Return the rows that ratings make, by the fields of `Gathered`, and the number of those that make none."""
    programs = [rating for rating in ratings if rating.source == "program" and rating.kind in KINDS]
    apart = {rating.id for rating in programs}
    counted = standing([rating for rating in ratings if rating.id not in apart])
    edits, thumbs = _edits(counted.ratings), _thumbs(counted.ratings)
    conversations, left_out = _conversations(edits, thumbs, counted.weights)
    pairs = _pairs(counted.ratings, edits, thumbs, counted.weights)
    single = [
        ("thumbs", _weighed(row, counted.weights[thumb.id]))
        for key, thumb in thumbs.items()
        for row in _single(key, thumb)
    ]
    checked = verdicts(programs, _judged(thumbs, pairs))
    reasons = Counter(counted.left_out) + Counter(left_out) + checked.left_out
    reasons += Counter({"points that a person or model gave": sum(one.kind == "rating" for one in counted.ratings)})
    preferred, ties = ([one for one in pairs if ("tie" in one[1]) == tie] for tie in (False, True))
    found = {"conversations": conversations, "pairs": [*preferred, *checked.pairs], "ties": ties}
    return found | {"ratings": [*single, *checked.ratings], "rewards": checked.rewards}, reasons


def redacted(made: Gathered) -> Gathered:
    """Return training data without personal data; a pair that differs in nothing else is left out."""
    counts, left_out = Counter[str](), Counter(made.left_out)
    conversations, pairs, ties, ratings, rewards = (
        [redact_all(row, counts, _LABELS) for row in rows]
        for rows in (made.conversations, made.pairs, made.ties, made.ratings, made.rewards)
    )
    kept, apart = ([row for row in rows if row["chosen"] != row["rejected"]] for rows in (pairs, ties))
    left_out["pair that differs only in personal data"] = len(pairs) + len(ties) - len(kept) - len(apart)
    return replace(
        made,
        conversations=conversations,
        pairs=kept,
        ties=apart,
        ratings=ratings,
        rewards=rewards,
        left_out=dict(+left_out),
        redacted=dict(sorted((+counts).items())),
    )


def write(gathered: Gathered, ratings: Sequence[Rating], folder: Path) -> dict[str, Any]:
    """Write chat, pairs, ties, ratings, rewards and origins.jsonl and manifest.json into a folder; return the manifest.

    The same ratings give the same bytes.
    """
    files = {"chat.jsonl": gathered.conversations, "pairs.jsonl": gathered.pairs}
    files |= {"ties.jsonl": gathered.ties, "ratings.jsonl": gathered.ratings, "rewards.jsonl": gathered.rewards}
    with made_folder(folder) as part:
        for name, rows in files.items():
            write_jsonl(part / name, rows)
        digests = {name: sha256(part / name) for name in files}
        used = [rating.conversation_id for rating in ratings if rating.conversation_id is not None]
        write_jsonl(part / ORIGINS, origins(folder, digests, used))
        manifest = {
            "source": _SOURCE,
            "ratings": len(ratings),
            "first": ratings[0].created_at if ratings else None,
            "last": ratings[-1].created_at if ratings else None,
            "models": dict(sorted(Counter(_maker(rating) for rating in ratings).items())),
            "conversations": len(gathered.conversations),
            "pairs": len(gathered.pairs),
            "ties": len(gathered.ties),
            "single_ratings": len(gathered.ratings),
            "rewards": len(gathered.rewards),
            "made_of": gathered.made_of,
            "left_out": gathered.left_out,
            "redacted": gathered.redacted,
            "files": digests,
        }
        write_json(part / "manifest.json", manifest, sealed=True)
    return manifest


def summary(manifest: dict[str, Any], folder: Path) -> str:
    """Return what was gathered as one sentence."""
    parts = "; ".join(f"{count} {name}" for name, count in manifest["made_of"].items())
    left = "; ".join(f"{count} {name}" for name, count in manifest["left_out"].items())
    hidden = ", ".join(f"{count} {name}" for name, count in manifest["redacted"].items())
    text = (
        f"Gathered {_count(manifest['conversations'], 'conversation')} and {_count(manifest['pairs'], 'pair')} "
        f"from {_count(manifest['ratings'], 'rating')} into {folder}"
    )
    text += (f" ({parts})" if parts else "") + (f"; left out: {left}" if left else "")
    return text + (f"; redacted: {hidden}" if hidden else "") + "."


def _check_not_emptied(ratings: int, folder: Path) -> None:
    """Refuse to replace gathered ratings with nothing: an empty store is more likely a lost one."""
    path = folder / "manifest.json"
    before = read_object(path).get("ratings", 0) if path.exists() else 0
    if before and not ratings:
        raise UserError(
            f"The store holds no ratings, but {_count(before, 'rating')} were gathered into '{folder}' earlier; "
            "restore the store, or remove that folder to discard them."
        )


def _edits(ratings: Sequence[Rating]) -> dict[Key, Rating]:
    """Return the latest edit of each reply, unless it was removed."""
    found = {_key(rating): rating for rating in ratings if rating.kind == "edit"}
    return {key: rating for key, rating in found.items() if rating.value}


def _thumbs(ratings: Sequence[Rating]) -> dict[Key, Rating]:
    """Return the latest thumb on each reply, unless it was removed."""
    found = {_key(rating): rating for rating in ratings if rating.kind == "thumb"}
    return {key: rating for key, rating in found.items() if rating.value}


def _conversations(
    edits: dict[Key, Rating], thumbs: dict[Key, Rating], weights: Mapping[int, float]
) -> tuple[list[Row], dict[str, int]]:
    good: dict[Key, tuple[int, str]] = {}
    left_out: Counter[str] = Counter()
    for key, rating in thumbs.items():
        if rating.value < 0 or key in edits:  # the edit takes precedence
            continue
        if not key[1].strip():
            left_out["empty reply"] += 1
        elif rating.snapshot["finish"] != "stop":  # would teach the model to stop in mid-sentence
            left_out["thumb up on a reply that was cut short"] += 1
        else:
            good[key] = (rating.id, "thumbs up")
    for (prompt, _), rating in edits.items():
        key = (prompt, str(rating.text))
        thumb = thumbs.get(key)
        if thumb is not None and thumb.value < 0 and thumb.id > rating.id:
            left_out["edit that got a thumb down later"] += 1
        else:
            good[key] = (rating.id, "edits")
    rows = []
    for (prompt, reply), (number, kind) in sorted(good.items(), key=lambda item: item[1]):
        if weights[number] < _LEAST_WEIGHT:
            left_out["conversation of an annotator of low reliability"] += 1
            continue
        turns = [_context(turn) for turn in json.loads(prompt)] + [{"role": "assistant", "content": reply}]
        rows.append((kind, {"messages": turns, "source": _SOURCE}))
    return rows, dict(left_out)


def _pairs(
    ratings: Sequence[Rating], edits: dict[Key, Rating], thumbs: dict[Key, Rating], weights: Mapping[int, float]
) -> list[Row]:
    found: list[tuple[int, str, str, str, str | None]] = []  # (rating id, prompt, chosen, rejected, kind; None = tie)
    for rating in ratings:
        if rating.kind == "choice":
            prompt, chosen = _key(rating)
            kind = "choices" if rating.value else None
            found.append((rating.id, prompt, chosen, rating.snapshot["rejected"]["reply"], kind))
    for (prompt, reply), rating in edits.items():
        found.append((rating.id, prompt, str(rating.text), reply, "edits"))
    down: dict[str, list[Rating]] = defaultdict(list)
    for (prompt, _), rating in thumbs.items():
        if rating.value < 0:
            down[prompt].append(rating)
    for (prompt, good), up in thumbs.items():
        if up.value > 0 and (prompt, good) not in edits:
            found += [(max(up.id, bad.id), prompt, good, _key(bad)[1], "thumbs") for bad in down[prompt]]
    latest: dict[tuple[str, frozenset[str]], tuple[int, str, str, str, str | None]] = {}
    for entry in sorted(found, key=lambda entry: entry[0]):
        _, prompt, chosen, rejected, _ = entry
        if chosen.strip() and rejected.strip() and chosen.strip() != rejected.strip():
            latest[prompt, frozenset((chosen, rejected))] = entry
    rows = []
    for number, prompt, chosen, rejected, kind in sorted(latest.values(), key=lambda entry: entry[:4]):
        sides = (chosen, rejected) if kind else _sides(prompt, chosen, rejected)
        row = {"prompt": json.loads(prompt), "chosen": sides[0], "rejected": sides[1], "source": _SOURCE}
        row |= {} if kind else {"tie": True}
        rows.append((kind or "choices", _weighed(row, weights[number])))
    return rows


def _judged(thumbs: Mapping[Key, Rating], pairs: Sequence[Row]) -> Judged:
    """Return what people think of replies, which no program's verdict overrides."""
    compared = {
        (
            json.dumps(row["prompt"], ensure_ascii=False, sort_keys=True),
            frozenset((str(row["chosen"]), str(row["rejected"]))),
        )
        for _, row in pairs
    }
    return Judged({key: thumb.value > 0 for key, thumb in thumbs.items()}, compared)


def _sides(prompt: str, one: str, other: str) -> tuple[str, str]:
    """Return two equally good replies in an order that says nothing of who was shown first, and is always the same."""
    first, second = sorted((one, other))
    odd = hash64(f"{prompt}\0{first}\0{second}") % 2
    return (second, first) if odd else (first, second)


def _weighed(row: dict[str, Any], weight: float) -> dict[str, Any]:
    """Return a row with the weight of its annotator, unless that is 1."""
    return row if weight == 1 else {**row, "weight": weight}


def _allowed(rows: Sequence[Row], barred: Barred, reasons: Counter[str]) -> list[Row]:
    """Return the rows that may be trained on, each once; count the others by reason."""
    kept, seen = list[Row](), set[tuple[str, ...]]()
    for kind, row in rows:
        prompt = row["messages"][:-1] if "messages" in row else row["prompt"]
        good = str(row["messages"][-1]["content"] if "messages" in row else row.get("chosen", row.get("reply")))
        learned = good if row.get("good", True) else None
        others = [row["rejected"]] if "rejected" in row else [] if learned else [good]
        key = (question(prompt), *map(normalized, (good, *others)), str(row.get("good")))
        why = barred.reason(prompt, learned, others)
        why = why or ("near copy of another row" if key in seen and any(key[:2]) else None)
        if why is None:
            seen.add(key)
            kept.append((kind, row))
        else:
            reasons[why] += 1
    return kept


def _mark_own(kept: Mapping[str, Sequence[Row]], ratings: Sequence[Rating], model: str) -> Counter[str]:
    """Mark the rows whose generated replies are the model's own; return their number by kind."""
    makers: dict[Key, set[str]] = defaultdict(set)
    for one in ratings:
        makers[_key(one)].add(one.snapshot["fingerprint"])
        if one.kind == "choice":
            other = one.snapshot["rejected"]
            makers[_key(one)[0], other["reply"]].add(other["fingerprint"])
    counts = Counter[str]()
    for name in ("pairs", "ties", "ratings", "rewards"):
        for _, row in kept[name]:
            prompt = json.dumps(row["prompt"], ensure_ascii=False, sort_keys=True)
            keys = [(prompt, row[side]) for side in ("chosen", "rejected", "reply") if side in row]
            row["on_policy"] = all(model in makers[key] for key in keys if key in makers)
            counts[f"{name} on policy"] += row["on_policy"]
    return +counts


def _single(key: Key, thumb: Rating) -> list[dict[str, Any]]:
    """Return the row of a thumb; none for an empty reply, and for a thumb up on one that was cut short."""
    prompt, reply = key
    good = thumb.value > 0
    if not reply.strip() or (good and thumb.snapshot["finish"] != "stop"):
        return []
    return [{"prompt": json.loads(prompt), "reply": reply, "good": good, "source": _SOURCE}]


def _context(turn: dict[str, str]) -> dict[str, Any]:
    """Give an earlier reply weight 0, so that the loss skips it (OpenAI's finetuning format)."""
    return {**turn, "weight": 0} if turn["role"] == "assistant" else turn


def _key(rating: Rating) -> Key:
    return json.dumps(rating.snapshot["prompt"], ensure_ascii=False, sort_keys=True), rating.snapshot["reply"]


def _maker(rating: Rating) -> str:
    return f"{rating.snapshot['model']} {rating.snapshot['fingerprint']}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
