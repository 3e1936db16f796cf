"""The tables of a life's store: what people said, what models replied, and what is thought of the replies.

A conversation owns its turns and messages, a message what is known and thought about it; deleting a conversation
deletes all of that. What a table is for stands above it. Times are those of `now`.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql

metadata = sql.MetaData()


def now() -> str:
    """Return the time in UTC as ISO 8601 with milliseconds; such strings sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _id() -> sql.Column[Any]:
    return sql.Column("id", sql.Integer, primary_key=True)


def _created() -> sql.Column[Any]:
    return sql.Column("created_at", sql.String(32), nullable=False)


def _message(**options: Any) -> sql.Column[Any]:
    """Return a column for the reply that a row is about, with which the row is deleted."""
    return sql.Column("message_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), **options)


migrations_table = sql.Table(
    "migrations",
    metadata,
    sql.Column("name", sql.String(80), primary_key=True),
    sql.Column("applied_at", sql.String(32), nullable=False),
)
# A conversation of the page has messages from the user and a current branch. One of the API has a `key`, a hash of its
# user and its first turns, by which its later requests find it; its replies have no parent, only a prompt.
conversations = sql.Table(
    "conversations",
    metadata,
    _id(),
    sql.Column("title", sql.Text, nullable=False),
    sql.Column("head_id", sql.Integer),  # last message of the current branch; no foreign key: that would be a cycle
    _created(),
    sql.Column("updated_at", sql.String(32), nullable=False, index=True),
    sql.Column("user", sql.Text, index=True),  # as the API's client names it, or the name of the key
    sql.Column("key", sql.String(64), index=True, unique=True),
    sql.Index(  # for the list on the page, which must not read those of the API
        "conversations_listed",
        "updated_at",
        "id",
        sqlite_where=sql.text("head_id IS NOT NULL"),
        postgresql_where=sql.text("head_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,  # the id of a deleted conversation is never reused
)
# The prompts of replies; they may contain an edit that was removed later. Each prompt is a chain of turns, from the
# last to the first; prompts of a conversation share their common beginning.
turns = sql.Table(
    "turns",
    metadata,
    _id(),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    sql.Column("parent_id", sql.ForeignKey("turns.id", ondelete="CASCADE"), index=True),
    sql.Column("digest", sql.String(64), nullable=False),  # of this turn and all previous ones
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    sql.Column("extra", sql.JSON(none_as_null=True)),  # the turn's other fields, such as tool_calls
    sql.Index("turns_by_digest", "conversation_id", "digest"),
    sqlite_autoincrement=True,
)
# A tree: replies to the same message are siblings, so a regenerated reply does not replace the first one.
messages = sql.Table(
    "messages",
    metadata,
    _id(),
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    sql.Column("parent_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),
    sql.Column("role", sql.String(16), nullable=False),
    sql.Column("content", sql.Text, nullable=False),
    _created(),
    # Only for replies: their prompt, and how they were generated.
    sql.Column("prompt_id", sql.ForeignKey("turns.id"), index=True),  # the last turn of its prompt
    sql.Column("left_out", sql.Integer),  # how many of the first turns did not fit
    sql.Column("model", sql.Text),
    sql.Column("fingerprint", sql.String(64)),
    sql.Column("sampling", sql.JSON(none_as_null=True)),
    sql.Column("finish", sql.String(16)),
    sql.Column("prompt_tokens", sql.Integer),
    sql.Column("completion_tokens", sql.Integer),
    sql.Column("seconds", sql.Float),
    sql.Index("messages_by_conversation", "conversation_id", "id"),
    sqlite_autoincrement=True,
)
# More about a reply: who asked, under which name, the tokens that the model read and wrote, and how likely the written
# ones were. `prompt_ids` follow the first `shared` ids of what the reply `base_id` of the same conversation read and
# wrote, so that a conversation is stored once. The seed is in the message's `sampling`.
generations = sql.Table(
    "generations",
    metadata,
    _message(primary_key=True),
    sql.Column("route", sql.String(32), nullable=False),  # page, or the route of the API
    sql.Column("request", sql.String(128), index=True),  # id of the request, as in the response's header
    sql.Column("key_id", sql.ForeignKey("keys.id", ondelete="SET NULL"), index=True),
    sql.Column("alias", sql.Text),  # the name by which the model was asked for, if it was an alias
    sql.Column("template", sql.String(64)),  # hash of the chat template
    sql.Column("sample", sql.Integer, nullable=False),  # index of the reply among those to the same prompt
    sql.Column("base_id", sql.Integer),  # no foreign key: the whole conversation is deleted at once
    sql.Column("shared", sql.Integer, nullable=False),
    sql.Column("prompt_ids", sql.JSON, nullable=False),
    sql.Column("completion_ids", sql.JSON, nullable=False),
    sql.Column("logprobs", sql.JSON, nullable=False),  # of the completion's ids, under the model itself
    sql.Column("first_seconds", sql.Float),  # from the request to the first token; the total is the message's `seconds`
    sql.Column("canary", sql.String(64)),  # API only: its conversation in `canary`, if its request took part
)
# Replies that were made to be compared: shown side by side, or one of them unseen.
candidates = sql.Table(
    "candidates",
    metadata,
    _id(),
    sql.Column("set_id", sql.String(32), nullable=False, index=True),  # the same for the replies of one set
    sql.Column("purpose", sql.String(16), nullable=False),  # shown, shadow
    _message(nullable=False, index=True),
    sql.Column("policy", sql.Text, nullable=False),  # what made the reply, such as the name of an alias
    sql.Column("side", sql.String(8)),  # where it was shown: left or right; of more than two, its number from the left
    _created(),
    sqlite_autoincrement=True,
)
# Append-only: a changed rating is a new row, and the latest one counts. A thumb's value is 1, -1, or 0 (removed), a
# rating's a number of points, an edit's or tag's 1 or 0 (removed), a choice's 1 or 0 (a tie). Messages never change.
ratings = sql.Table(
    "ratings",
    metadata,
    _id(),
    _message(nullable=False, index=True),
    sql.Column("kind", sql.String(16), nullable=False),  # thumb, rating, edit, choice, tag, comment
    sql.Column("value", sql.Integer, nullable=False),
    sql.Column("text", sql.Text),  # edit: the corrected reply; tag: its name; choice: its reasons, one per line
    sql.Column("rejected_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),  # choice: the other reply
    sql.Column("comment", sql.Text),
    sql.Column("position", sql.String(8)),  # choice: side of the chosen reply, left or right
    sql.Column("annotator", sql.Text),  # who or what rated
    sql.Column("source", sql.String(16), nullable=False, server_default="person"),  # person, model, program
    sql.Column("confidence", sql.Float),  # from 0 to 1
    _created(),
    sqlite_autoincrement=True,
)
# What people are asked to do on the screen Rate: compare two replies, or write one to a prompt. Rows never change.
queue = sql.Table(
    "queue",
    metadata,
    _id(),
    sql.Column("kind", sql.String(8), nullable=False),  # pair, write
    sql.Column("conversation_id", sql.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("prompt_id", sql.ForeignKey("turns.id", ondelete="CASCADE"), index=True),  # write: its last turn
    sql.Column("first_id", sql.ForeignKey("messages.id", ondelete="CASCADE")),  # pair: its replies
    sql.Column("second_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),
    sql.Column("origin", sql.Text, nullable=False, index=True),  # regenerated, shown, shadow, or the name of a list
    _created(),
    sql.UniqueConstraint("first_id", "second_id", name="queue_once"),
    sqlite_autoincrement=True,
)
# Who works on an item of the queue, and what came of it. A row changes until it is done. The verdict of a comparison is
# also a choice in `ratings`, that of a check a thumb or an edit; undoing it deletes that row.
reviews = sql.Table(
    "reviews",
    metadata,
    _id(),
    sql.Column("queue_id", sql.ForeignKey("queue.id", ondelete="CASCADE"), nullable=False),
    sql.Column("act", sql.String(8), nullable=False),  # compare, write, check
    sql.Column("annotator", sql.Text, nullable=False, index=True),
    sql.Column("state", sql.String(8), nullable=False),  # held, done, skipped
    sql.Column("at", sql.String(32), nullable=False),  # held: until when nobody else gets the item; else when it ended
    sql.Column("left_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),  # compare: shown on the left
    sql.Column("message_id", sql.ForeignKey("messages.id", ondelete="CASCADE"), index=True),  # write, check: the reply
    sql.Column("rating_id", sql.ForeignKey("ratings.id", ondelete="SET NULL"), index=True),
    # compare: 1 the first is better, 0 a tie, -1 the second; check: 1 accepted, 0 corrected, -1 rejected
    sql.Column("value", sql.Integer),
    _created(),
    sql.UniqueConstraint("queue_id", "act", "annotator", name="reviews_once"),
    sql.Index("reviews_by_state", "act", "state", "queue_id", "value"),
    sqlite_autoincrement=True,
)
# How to rate, as an admin wrote it, and what the screen offers. Append-only: the latest row counts.
guidelines = sql.Table(
    "guidelines",
    metadata,
    _id(),
    sql.Column("text", sql.Text, nullable=False),  # Markdown
    sql.Column("reviews", sql.Integer, nullable=False),  # comparisons that each pair needs
    sql.Column("reasons", sql.JSON, nullable=False),  # for a choice
    sql.Column("tags", sql.JSON, nullable=False),  # of a reply
    sql.Column("annotator", sql.Text),  # who wrote it
    _created(),
    sqlite_autoincrement=True,
)
# What people did instead of rating; kept apart from ratings, since a copied reply is not always a good one.
signals = sql.Table(
    "signals",
    metadata,
    _id(),
    _message(nullable=False, index=True),
    sql.Column("kind", sql.String(16), nullable=False),  # regenerated, copied, edited on, complained
    sql.Column("detail", sql.Text),
    _created(),
    sqlite_autoincrement=True,
)
# What detectors found in replies. The same version of a detector flags a reply once.
flags = sql.Table(
    "flags",
    metadata,
    _id(),
    _message(nullable=False),
    sql.Column("detector", sql.String(64), nullable=False),
    sql.Column("version", sql.String(32), nullable=False),
    sql.Column("detail", sql.Text, nullable=False),
    _created(),
    sql.UniqueConstraint("message_id", "detector", "version", name="flags_once"),
    sqlite_autoincrement=True,
)
# How far each version of a detector, or of a program that checks replies, has looked: a scan goes on after the message
# `message_id`. A detector that is a question to a judge has its text, so that its cases can be checked later.
scans = sql.Table(
    "scans",
    metadata,
    _id(),
    sql.Column("detector", sql.String(64), nullable=False),
    sql.Column("version", sql.String(32), nullable=False),
    sql.Column("message_id", sql.Integer, nullable=False),  # no foreign key: the message may be deleted
    sql.Column("question", sql.Text),
    _created(),
    sql.UniqueConstraint("detector", "version", name="scans_once"),
    sqlite_autoincrement=True,
)
# What people made of flags. Append-only: the latest row of a flag counts; a flag without one is open.
triage = sql.Table(
    "triage",
    metadata,
    _id(),
    sql.Column("flag_id", sql.ForeignKey("flags.id", ondelete="CASCADE"), nullable=False, index=True),
    sql.Column("state", sql.String(8), nullable=False),  # open, real, false, fixed
    sql.Column("annotator", sql.Text),
    sql.Column("reason", sql.Text),
    _created(),
    sqlite_autoincrement=True,
)
# Confirmed misbehaviour as an evaluation case. It has its own copy of what was said, so that it never changes; deleting
# the conversation deletes it nevertheless. One from elsewhere has no message.
cases = sql.Table(
    "cases",
    metadata,
    _id(),
    _message(index=True),
    sql.Column("flag_id", sql.ForeignKey("flags.id", ondelete="CASCADE"), index=True),
    sql.Column("digest", sql.String(64), nullable=False, unique=True),  # of detector, prompt and reply
    sql.Column("detector", sql.String(64), nullable=False),
    sql.Column("prompt", sql.JSON, nullable=False),  # its turns
    sql.Column("reply", sql.Text, nullable=False),  # the bad one
    sql.Column("state", sql.String(16), nullable=False),  # open, fixed, retired
    _created(),
    sqlite_autoincrement=True,
)

# Samples of conversations that people read one after the other. `matched` is how many conversations were drawn from.
samples = sql.Table(
    "samples",
    metadata,
    _id(),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("filters", sql.JSON, nullable=False),
    sql.Column("seed", sql.Integer, nullable=False),
    sql.Column("matched", sql.Integer, nullable=False),
    sql.Column("annotator", sql.Text),
    _created(),
    sqlite_autoincrement=True,
)
# The replies of a sample's conversations as they were when it was drawn. Those of one conversation have the same
# position, and the last one of them ends what is read.
sampled = sql.Table(
    "sampled",
    metadata,
    _id(),
    sql.Column("sample_id", sql.ForeignKey("samples.id", ondelete="CASCADE"), nullable=False),
    _message(nullable=False, index=True),
    sql.Column("position", sql.Integer, nullable=False),  # from 1
    sql.UniqueConstraint("sample_id", "message_id", name="sampled_once"),
    sqlite_autoincrement=True,
)
# Which conversations of a sample were read, each named by its last reply.
readings = sql.Table(
    "readings",
    metadata,
    _id(),
    sql.Column("sample_id", sql.ForeignKey("samples.id", ondelete="CASCADE"), nullable=False),
    _message(nullable=False, index=True),
    sql.Column("annotator", sql.Text),
    _created(),
    sql.UniqueConstraint("sample_id", "message_id", name="read_once"),
    sqlite_autoincrement=True,
)
# What people call the problems that they noted.
categories = sql.Table(
    "categories",
    metadata,
    _id(),
    sql.Column("name", sql.String(100), nullable=False, unique=True),
    sql.Column("definition", sql.Text, nullable=False),
    sql.Column("annotator", sql.Text),
    _created(),
    sql.Column("updated_at", sql.String(32), nullable=False),
    sqlite_autoincrement=True,
)
# What people noted about replies. Append-only: a changed, grouped or removed note is a new row with the `first_id` of
# the note's first row, and the latest one counts. The text of a removed note is null.
notes = sql.Table(
    "notes",
    metadata,
    _id(),
    _message(nullable=False, index=True),
    sql.Column("first_id", sql.ForeignKey("notes.id", ondelete="CASCADE"), index=True),
    sql.Column("text", sql.Text),
    sql.Column("category_id", sql.ForeignKey("categories.id", ondelete="SET NULL"), index=True),
    sql.Column("annotator", sql.Text),
    _created(),
    sqlite_autoincrement=True,
)

# What models answered to the items of evaluation tasks. An answer is never changed: another prompt, rule or model is
# another row.
answers = sql.Table(
    "answers",
    metadata,
    _id(),
    sql.Column("model", sql.String(64), nullable=False),  # fingerprint of the weights and the tokenizer, or of a server
    sql.Column("task", sql.String(100), nullable=False),
    sql.Column("prompt", sql.String(64), nullable=False),  # hash of all that was asked, and how it was scored
    sql.Column("item", sql.Text, nullable=False),
    sql.Column("answer", sql.JSON, nullable=False),
    _created(),
    sql.UniqueConstraint("model", "task", "prompt", "item", name="answers_once"),
    sqlite_autoincrement=True,
)

# Which model an alias such as `stable` named, and since when. Append-only: the latest row of an alias counts, and what
# a roll-back undoes stays in the history.
aliases = sql.Table(
    "aliases",
    metadata,
    _id(),
    sql.Column("alias", sql.String(64), nullable=False, index=True),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("fingerprint", sql.String(64), nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),  # promoted, overridden, rolled back
    sql.Column("reason", sql.Text),  # of a person who overrode the gate or rolled back
    sql.Column("evidence", sql.JSON(none_as_null=True)),  # what the gate found
    _created(),
    sqlite_autoincrement=True,
)
# Who may use the server: only a hash of each key is kept. A revoked key keeps its row, since generations name it.
keys = sql.Table(
    "keys",
    metadata,
    _id(),
    sql.Column("name", sql.String(64), nullable=False, index=True),
    sql.Column("hash", sql.String(64), nullable=False, unique=True),
    sql.Column("role", sql.String(8), nullable=False),  # user, rater, admin
    sql.Column("per_minute", sql.Integer),  # requests; no limit if null
    _created(),
    sql.Column("revoked_at", sql.String(32)),
    sqlite_autoincrement=True,
)
# The canary: which arm a conversation got, and what came of it. Append-only: an outcome is a row of its own.
canary = sql.Table(
    "canary",
    metadata,
    _id(),
    sql.Column("alias", sql.String(64), nullable=False),
    sql.Column("assignment_id", sql.ForeignKey("aliases.id"), nullable=False),  # of the candidate
    sql.Column("arm", sql.String(16), nullable=False),  # current, candidate
    sql.Column("conversation", sql.String(64), nullable=False, index=True),  # its id if of the page, else its key
    sql.Column("outcome", sql.Float),  # null: it was only assigned
    _created(),
    sql.Index("canary_by_assignment", "assignment_id", "id"),
    sqlite_autoincrement=True,
)
# Numbers about replies for charts, so that those need not read the texts. They are derived from the tables above when
# somebody looks at them, and not exported. The key begins with what charts group by.
measures = sql.Table(
    "measures",
    metadata,
    sql.Column("hour", sql.Integer, primary_key=True, autoincrement=False),  # of the reply, since 1970 in UTC
    sql.Column("model", sql.Text, primary_key=True),
    _message(primary_key=True, autoincrement=False, index=True, unique=True),
    sql.Column("shown", sql.Integer, nullable=False),  # 0: the reply of a shadow
    sql.Column("first_seconds", sql.Float),  # from the request to the first token
    sql.Column("token_seconds", sql.Float),  # mean time of each token after the first
    sql.Column("tokens", sql.Integer),
    sql.Column("refused", sql.Integer, nullable=False),  # 1: it is a full refusal
    sql.Column("repeated", sql.Float, nullable=False),  # share of its 4-grams that occurred in it before
    sqlite_with_rowid=False,
)
# What a server was asked to do in a minute. Append-only: several rows of a minute add up, of one server or of several.
minutes = sql.Table(
    "minutes",
    metadata,
    _id(),
    sql.Column("minute", sql.Integer, nullable=False),  # in which the requests ended, since 1970 in UTC
    sql.Column("model", sql.Text, nullable=False),  # empty: they were refused before a model was chosen
    sql.Column("requests", sql.Integer, nullable=False),  # all of them
    sql.Column("invalid", sql.Integer, nullable=False),  # answered with a status from 400 to 499, but for the next
    sql.Column("rejected", sql.Integer, nullable=False),  # answered with 429
    sql.Column("failed", sql.Integer, nullable=False),  # answered with a status from 500 on, or failed in a stream
    sql.Column("begun", sql.Integer, nullable=False),  # that got a row of the engine
    sql.Column("waited", sql.Float, nullable=False),  # seconds that these waited for it, in all
    sql.Column("waiting", sql.Integer, nullable=False),  # the most that waited at once
    sql.Index("minutes_by_minute", "minute", "model"),
    sqlite_autoincrement=True,
)
