"""Drafts of detectors: takes a category of notes, returns a Python file with a first rule or a question to a judge.

The file has the category's replies, and others that were read, as its labelled sample, and measures itself on them.
What people wrote goes into it only as literals.
"""

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sql

from sayso.base.errors import UserError
from sayso.feedback.categories import Categories, Category, function_name
from sayso.feedback.nearness import words
from sayso.feedback.notes import Note, Notes
from sayso.feedback.prompts import chain, prompt_of
from sayso.feedback.samples import Samples
from sayso.feedback.store import Store
from sayso.feedback.tables import messages

Kind = Literal["python", "judge"]
_EACH = 100  # examples of each label, at most
_WORDS = 5  # of a first rule
_QUOTED, _QUOTE = 5, 200  # notes in a question, and characters of one


@dataclass(frozen=True)
class Draft:
    """A file to download."""

    name: str
    text: str


def draft_detector(store: Store, sample_id: int, category_id: int, kind: Kind) -> Draft:
    """Return the draft of a detector for a category.

    Raises `UserError` if no reply of the sample has a note in it.
    """
    category, examples, noted = Categories(store).one(category_id), *_examples(store, sample_id, category_id)
    if not any(example["wrong"] for example in examples):
        raise UserError(f"No note of this sample is in '{category.name}'; put some into it first.")
    name = function_name(category.name)
    literal = "\n".join(["[", *(f"    {example!r}," for example in examples), "]"])
    if kind == "judge":
        question = _question(category, noted)
        command = f"--detector {shlex.quote(f'judge: {question}')} --endpoint URL --judge MODEL"
        fields = {"question": json.dumps(question, ensure_ascii=False), "command": command}
        return Draft(f"{name}_judge.py", _JUDGE.format(file=f"{name}_judge.py", examples=literal, **fields))
    rule = json.dumps(_telling(examples), ensure_ascii=False)
    title = json.dumps(category.name, ensure_ascii=False)
    return Draft(f"{name}.py", _PYTHON.format(name=name, words=rule, category=title, examples=literal))


_PYTHON = '''\
"""A draft of a detector: complete the rule, and see how well it does on the replies that you have read.

    python {name}.py
    sayso flags scan --detector {name}.py:{name}
"""

from sayso.feedback.detectors.labelled import measured

CATEGORY = {category}
WORDS = {words}  # that are more frequent in the wrong replies; change them


def {name}(reply):
    said = reply.text.lower()
    found = [word for word in WORDS if word in said]
    return found and f"{{CATEGORY}}: {{', '.join(found)}}"


EXAMPLES = {examples}

if __name__ == "__main__":
    print(measured({name}, EXAMPLES))
'''
_JUDGE = '''\
"""A draft of a question to a judge: reword it, and see how well it does on the replies that you have read.

    python {file} URL MODEL
"""

import sys

from sayso.feedback.detectors.labelled import measured
from sayso.feedback.detectors.own import load_detectors
from sayso.judge.endpoint import Endpoint

# sayso flags scan {command}
QUESTION = {question}

EXAMPLES = {examples}

if __name__ == "__main__":
    [detector] = load_detectors([f"judge: {{QUESTION}}"], Endpoint(*sys.argv[1:]))
    print(measured(detector.finds, EXAMPLES))
'''


def _question(category: Category, noted: Sequence[Note]) -> str:
    """Return what a judge is asked, on one line."""
    said = f" ({category.definition})" if category.definition else ""
    quoted = "; ".join(f'"{note.text[:_QUOTE]}"' for note in noted[:_QUOTED])
    text = f'Does the reply have the problem "{category.name}"{said}? Readers wrote of such replies: {quoted}'
    return " ".join(text.split())


def _telling(examples: Sequence[dict[str, Any]]) -> list[str]:
    """Return the words that are in more of the wrong replies than of the others, the most telling first."""
    seen = [(example["wrong"], {*words(example["reply"])}) for example in examples]
    wrong = Counter(word for is_wrong, those in seen if is_wrong for word in those)
    other = Counter(word for is_wrong, those in seen if not is_wrong for word in those)
    bad = sum(is_wrong for is_wrong, _ in seen)
    lift = {word: count / bad - other[word] / max(1, len(seen) - bad) for word, count in wrong.items()}
    order = sorted((word for word in lift if lift[word] > 0), key=lambda word: (-lift[word], word))
    return order[:_WORDS]


def _examples(store: Store, sample_id: int, category_id: int) -> tuple[list[dict[str, Any]], list[Note]]:
    """Return the replies with a note in a category, others that were read, and the notes."""
    noted = [note for note in Notes(store).of_sample(sample_id) if note.category_id == category_id]
    by_reply = {note.message_id: note.text for note in noted}
    read = [one for item in Samples(store).items(sample_id) if item.read for one in item.replies]
    others = [one for one in read if one not in by_reply][:_EACH]
    with store.engine.begin() as connection:
        wrong = [_example(connection, one, by_reply[one]) for one in [*by_reply][:_EACH]]
        return [*wrong, *(_example(connection, one, None) for one in others)], noted


def _example(connection: sql.Connection, reply: int, note: str | None) -> dict[str, Any]:
    row = connection.execute(messages.select().where(messages.c.id == reply)).mappings().one()
    prompt = prompt_of(chain(connection, row["prompt_id"]), row)
    said = {"wrong": note is not None, "reply": row["content"], "finish": row["finish"], "prompt": prompt}
    return said | ({} if note is None else {"note": note})
