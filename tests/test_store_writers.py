"""Sixteen processes write to one store at the same time, and one is killed: what was acknowledged is there."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import sqlalchemy as sql

from sayso.feedback.generations import Generations
from sayso.feedback.store import Store

WRITERS, TALKS = 16, 5
SCRIPT = """
import json, os, signal, sys
from itertools import count
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.store import Generation, Store
from sayso.feedback.traces import Trace

address, folder, writers, talks = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
MADE = Generation("tuned", "0" * 12, {"seed": 1}, "stop", 1, 2, 0.1)

def write(number, done):
    store = Store(address)  # the first one creates it, the others wait
    with open(f"{folder}/{number}.jsonl", "w", buffering=1) as acknowledged:
        for turn in count() if number == 0 else range(talks):
            said = store.say(store.new_conversation().id, f"{number} {turn}")
            trace = Trace(route="page", prompt_ids=[number, turn], completion_ids=[turn], logprobs=[-1.0])
            reply = store.reply(said.id, f"reply {number} {turn}", store.prompt(said.id), MADE, trace=trace)
            store.thumb(reply.id, 1, comment=str(turn))
            recorded = RecordedReply(
                conversation="shared", prompt=[{"role": "user", "content": "x"}], content=f"api {number} {turn}",
                generation=MADE, trace=trace,
            )
            [api] = Generations(store).record([recorded])
            acknowledged.write(json.dumps([turn, reply.id, api]) + "\\n")
            os.write(done, b".")

reading, writing = os.pipe()
for number in range(writers):
    pipe = writing if number == 0 else os.open(os.devnull, os.O_WRONLY)
    child = os.fork()
    if not child:
        write(number, pipe)
        os._exit(0)
    if number == 0:
        victim = child
for _ in range(2):
    os.read(reading, 1)
os.kill(victim, signal.SIGKILL)
ends = [os.wait() for _ in range(writers)]
assert sorted(end for _, end in ends) == [0] * (writers - 1) + [signal.SIGKILL], ends
"""


def test_nothing_acknowledged_is_lost(store_address: str, tmp_path: Path) -> None:
    """And nothing is there by half, although a writer is killed in the middle."""
    script = tmp_path / "writers.py"
    script.write_text(SCRIPT)
    words = [sys.executable, str(script), store_address, str(tmp_path), str(WRITERS), str(TALKS)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with closing(Store(store_address)) as store:
        kept = Generations(store)
        rated = {rating.message_id: rating.comment for rating in store.ratings()}
        for number in range(WRITERS):
            lines = [json.loads(line) for line in (tmp_path / f"{number}.jsonl").read_text().splitlines()]
            assert len(lines) >= 2 if number == 0 else len(lines) == TALKS
            for turn, reply, api in lines:
                assert store.message(reply).content == f"reply {number} {turn}"
                assert rated[reply] == str(turn)
                assert store.message(api).content == f"api {number} {turn}"
                for one in (reply, api):
                    trace = kept.trace(one)
                    assert trace is not None
                    assert (trace.prompt_ids, trace.completion_ids) == ([number, turn], [turn])
        with store.engine.begin() as connection:
            count = "SELECT count(*) FROM messages LEFT JOIN generations ON message_id = id WHERE role = 'assistant'"
            assert connection.exec_driver_sql(f"{count} AND message_id IS NULL").scalar_one() == 0
            assert connection.scalar(sql.text("SELECT count(*) FROM conversations WHERE key = 'shared'")) == 1
            if connection.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
