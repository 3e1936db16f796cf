"""A store with a million messages: how long the page's queries take, against the same in a store of a hundredth.

Half of the messages are replies with traces, every tenth reply is rated, and a quarter of the conversations come from
the API. Each query is that of a route: the list of conversations, a conversation with its ratings, the prompt of a
reply, the number of ratings; writing a message, a reply and a thumb; and opening the store, as `sayso serve` does. The
rate is that of the slowest query of a page at its 95th percentile. `opened` has the longest of several openings of
a store of a year's ratings (a hundred thousand, of twenty people who rate fourteen replies a day), and of one whose
file is just small enough to be checked as a whole; and how long it takes to read all these ratings, as `gather` does.

    make bench NAME=store_scale
    python -m bench.store_scale --postgres
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from bench.harness import parser, result, say, sized
from bench.postgres import started
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import conversations, messages, metadata, now, ratings, turns

MESSAGES, ROUNDS = sized((1_000_000, 100), (600, 3))
YEAR, CHECKED = sized((100_000, 26_000), (50, 100))  # ratings; messages of a file of at most 32 MiB
OPENINGS = sized(9, 2)
TURNS = 5  # of a conversation, each with a message and a reply
LIMIT = 0.05  # seconds that a query of a page may take
LISTED = ("list", "conversation", "prompt", "count")
MADE = Generation("tuned", "0123456789ab", {"temperature": 0.8, "seed": 7}, "stop", 60, 40, 0.9)
Rows = Callable[[int], Iterator[dict[str, Any]]]
WORDS = ("cat", "sat", "mat", "said", "that", "dogs", "are", "better", "than", "rats", "at", "chess")


def main() -> None:
    """Measure a small store and a large one."""
    arguments = parser("store_scale", __doc__)
    arguments.add_argument("--postgres", action="store_true", help="start a PostgreSQL and measure that, not SQLite")
    arguments.add_argument("--messages", type=int, default=MESSAGES, help="number of messages of the large store")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place, started() if options.postgres else nullcontext() as postgres:
        assert postgres or not options.postgres, "PostgreSQL is not installed"
        address = postgres.address if postgres else None
        small = measured(address or f"{place}/small.sqlite", max(options.messages // 100, 10 * TURNS))
        large = measured(address or f"{place}/large.sqlite", options.messages)
        opened = {"year": opening(address or f"{place}/year.sqlite", 2 * YEAR, every_rating_row)}
        if address is None:
            opened["checked"] = opening(f"{place}/checked.sqlite", CHECKED, rating_rows)
    slowest = max(LISTED, key=lambda name: large[name]["p95"])
    result(
        "store_scale",
        f"pages/s at {options.messages:,} messages",
        1 / large[slowest]["p95"],
        1 / small[slowest]["p95"],
        peer_name="the same with a hundredth of the messages",
        slowest=slowest,
        seconds=large,
        seconds_small=small,
        within_limit=all(large[name]["p95"] <= LIMIT for name in LISTED),
        opened=opened,
        opened_within_a_second=max(large["open"]["p95"], *(one["open"] for one in opened.values())) <= 1,
        database="PostgreSQL" if options.postgres else "SQLite",
    )


def measured(where: str, size: int) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of the seconds of each query in a store of a size."""
    clear(where)
    began = time.perf_counter()
    with closing(Store(where)) as store:
        fill(store, size)
        say(f"{size:,} messages were written in {time.perf_counter() - began:.0f} s")
        draw = random.Random(0)
        talks = size // (2 * TURNS)
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, query in queries(store, draw.randrange(talks) + 1).items():
                times.setdefault(name, []).append(seconds(query))
    times["open"] = [seconds(lambda: Store(where).close()) for _ in range(5)]
    found = {name: {"median": statistics.median(taken), "p95": late(taken)} for name, taken in times.items()}
    for name, taken in found.items():
        late_ms = taken["p95"] * 1e3
        say(f"{size:,} messages, {name}: {taken['median'] * 1e3:.2f} ms, 95th percentile {late_ms:.2f} ms")
    return found


def clear(where: str) -> None:
    """Remove the tables of a database, which is the same for all sizes."""
    if "://" in where:
        with closing(Store(where)) as store:
            metadata.drop_all(store.engine)


def opening(where: str, size: int, rated: Rows) -> dict[str, float]:
    """Return the longest of several openings of a store of a size, how long its ratings take, and its numbers."""
    clear(where)
    with closing(Store(where)) as store:
        fill(store, size, rated)
    longest = max(seconds(lambda: Store(where).close()) for _ in range(OPENINGS))
    with closing(Store(where)) as store:
        found = {"open": longest, "read": seconds(store.ratings), "ratings": store.count_ratings(), "messages": size}
    if "://" not in where:
        found["bytes"] = Path(where).stat().st_size
    say(f"{size:,} messages, {found['ratings']:,} ratings: opened in {longest * 1e3:.1f} ms at most")
    return found


def queries(store: Store, talk: int) -> dict[str, Callable[[], Any]]:
    """Return what the page asks about a conversation."""
    first = (talk - 1) * 2 * TURNS + 1  # the number of its first message
    last_said = first + 2 * (TURNS - 1)

    def write() -> None:
        said = store.say(store.new_conversation().id, "Hello")
        store.thumb(store.reply(said.id, "Hi", store.prompt(said.id), MADE).id, 1)

    def conversation() -> None:
        branch = store.branch(talk)
        store.opinions([message.id for message in branch])

    return {
        "list": store.conversations,
        "conversation": conversation,
        "prompt": lambda: store.prompt(last_said),
        "count": store.count_ratings,
        "write": write,
    }


def seconds(query: Callable[[], Any]) -> float:
    """Return how long a query takes."""
    began = time.perf_counter()
    query()
    return time.perf_counter() - began


def late(taken: list[float]) -> float:
    """Return the 95th percentile."""
    return sorted(taken)[int(0.95 * (len(taken) - 1))]


def fill(store: Store, size: int, rated: Rows | None = None) -> None:
    """Write conversations of `TURNS` turns with `size` messages in all, many at once; `rated` makes their ratings."""
    for table in metadata.sorted_tables:
        for rows in batches(table.name, size, rated or rating_rows):
            with store.engine.execution_options(writes=True).begin() as connection:
                if connection.dialect.name == "postgresql":
                    copy_rows(connection, table.name, rows)
                else:
                    connection.execute(table.insert(), rows)
    if store.engine.dialect.name == "postgresql":
        with store.engine.begin() as connection:
            for table in (conversations, messages, turns, ratings):
                connection.exec_driver_sql(f"SELECT setval('{table.name}_id_seq', (SELECT max(id) FROM {table.name}))")
            connection.exec_driver_sql("ANALYZE")


def copy_rows(connection: sql.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """Add rows by COPY without checks of foreign keys, several times as fast as by INSERT."""
    names = ", ".join(f'"{name}"' for name in rows[0])
    raw: Any = connection.connection  # of psycopg
    with raw.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([json.dumps(one) if isinstance(one, list | dict) else one for one in row.values()])
        cursor.execute("SET session_replication_role = origin")


def batches(table: str, size: int, rated: Rows) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a table, those of 500 conversations at a time."""
    rows = {
        "conversations": conversation_rows, "turns": turn_rows, "messages": message_rows,
        "generations": generation_rows, "ratings": rated,
    }  # fmt: skip
    talks = size // (2 * TURNS)
    for start in range(1, talks + 1, 500) if table in rows else ():
        found = [row for talk in range(start, min(start + 500, talks + 1)) for row in rows[table](talk)]
        if found:
            yield found


def text(number: int) -> str:
    """Return some 30 words."""
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=30))


def conversation_rows(talk: int) -> Iterator[dict[str, Any]]:
    """Yield the row of a conversation."""
    api = talk % 4 == 0
    head = None if api else talk * 2 * TURNS
    at = f"2026-{talk % 12 + 1:02d}-{talk % 28 + 1:02d}T00:00:{talk % 60:02d}.000+00:00"
    row = {"id": talk, "title": text(talk)[:60], "head_id": head, "user": f"user {talk % 1000}"}
    yield row | {"key": f"{talk:064x}" if api else None, "created_at": at, "updated_at": at}


def turn_rows(talk: int) -> Iterator[dict[str, Any]]:
    """Yield the turns of its prompts."""
    first = (talk - 1) * (2 * TURNS - 1) + 1
    for place in range(2 * TURNS - 1):  # the last reply is in no prompt
        number = first + place
        row: dict[str, Any] = {"id": number, "conversation_id": talk, "parent_id": number - 1 if place else None}
        role = "assistant" if place % 2 else "user"
        yield row | {"digest": f"{number:064x}", "role": role, "content": text(number), "extra": None}


def message_rows(talk: int) -> Iterator[dict[str, Any]]:
    """Yield its messages and replies."""
    first, first_turn = (talk - 1) * 2 * TURNS + 1, (talk - 1) * (2 * TURNS - 1) + 1
    for place in range(2 * TURNS):
        number, reply = first + place, place % 2 == 1
        row: dict[str, Any] = {"id": number, "conversation_id": talk, "parent_id": number - 1 if place else None}
        row |= {"role": "assistant" if reply else "user", "content": text(number), "created_at": "2026"}
        row |= {"prompt_id": first_turn + place - 1 if reply else None, "left_out": 0 if reply else None}
        yield row | {name: getattr(MADE, name) if reply else None for name in Generation.__dataclass_fields__}


def generation_rows(talk: int) -> Iterator[dict[str, Any]]:
    """Yield the traces of its replies."""
    first = (talk - 1) * 2 * TURNS + 1
    for turn in range(TURNS):
        number = first + 2 * turn + 1
        row = {"message_id": number, "route": "page", "sample": 0, "base_id": number - 2 if turn else None}
        row |= {"shared": 80 * turn, "prompt_ids": list(range(40)), "completion_ids": list(range(40))}
        yield row | {"logprobs": [-0.123456789] * 40}


def rating_rows(talk: int) -> Iterator[dict[str, Any]]:
    """Yield a thumb on its first reply, of every other conversation."""
    if talk % 2 == 0:
        yield thumb_row(talk // 2, (talk - 1) * 2 * TURNS + 2)


def every_rating_row(talk: int) -> Iterator[dict[str, Any]]:
    """Yield a thumb on each of its replies."""
    for number in range((talk - 1) * TURNS + 1, talk * TURNS + 1):
        yield thumb_row(number, 2 * number)


def thumb_row(number: int, reply: int) -> dict[str, Any]:
    """Return a thumb on a reply."""
    row: dict[str, Any] = {"id": number, "message_id": reply, "kind": "thumb", "value": 1, "created_at": now()}
    return row | {"source": "person", "annotator": f"rater {number % 20}"}


if __name__ == "__main__":
    main()
