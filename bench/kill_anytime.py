"""`kill -9` at random moments: nothing acknowledged is lost, an alias is never half moved, and everything goes on.

    python -m bench.kill_anytime [--moments 100] [--seed 0] [--only server|PostgreSQL|cycle]

A third of the moments each:

- the server, `sayso serve`, on SQLite and on PostgreSQL in turn, together with a process that moves its alias;
- PostgreSQL: all of its processes, its first one alone, or one that serves a connection; it is started again after up
  to a second, and the server recovers by itself;
- `sayso cycle`, which is started again until it ends, with the results of one that nobody killed.

Clients talk, rate and ask the API all the time, and keep what was acknowledged (bench/acknowledged.py). A moment is
survived if all clients get answers again, everything acknowledged is in the store, nothing is there by half or twice,
and the server serves what the alias names. `ours` is the number of moments survived, `peer` the number of moments.
"""

import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx2
import torch

from bench.acknowledged import Client, Told, faults_of, faults_of_history, recorded
from bench.harness import parser, result, say, sized
from bench.killed_cycle import kill_cycles
from bench.mover import ALIAS
from bench.postgres import VICTIMS, Postgres, started
from bench.tiny import tiny_life
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.feedback.aliases import Aliases
from sayso.feedback.keys import Keys
from sayso.feedback.store import Store
from sayso.model import Transformer
from sayso.run.suite import fingerprint_of
from sayso.weights.folder import load_model, save_model
from sayso.weights.tensors import weights_file

MOMENTS, CLIENTS = sized((100, 4), (3, 2))
WITHIN, OUTAGE = sized((2.0, 1.0), (0.3, 0.1))  # seconds: from the first answers to the kill, and PostgreSQL's absence
READY = 120.0  # seconds for a server to start, for clients to get answers again, and for recorded replies to be stored
SHOWN = 5  # faults of each moment that are reported
Target = Literal["server", "PostgreSQL"]


@dataclass
class Tally:
    """What came of the moments of one kind."""

    moments: int = 0
    survived: int = 0
    seconds: list[float] = field(default_factory=list)
    """From each kill until every client was answered again."""
    faults: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for the last line."""
        found: dict[str, Any] = {"moments": self.moments, "survived": self.survived, **self.counts}
        if self.seconds:
            found["seconds_to_recover"] = {"median": statistics.median(self.seconds), "most": max(self.seconds)}
        return found | {"faults": self.faults}


def main() -> None:
    """Kill everything in turn; print how much was survived."""
    arguments = parser("kill_anytime", __doc__)
    arguments.add_argument("--moments", type=int, default=MOMENTS, help="number of kills in all")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments.add_argument("--only", choices=("server", "PostgreSQL", "cycle"), help="kill nothing else")
    options = arguments.parse_args()
    draw, third = random.Random(options.seed), options.moments // 3
    with TemporaryDirectory() as folder, nullcontext() if options.only == "cycle" else started() as postgres:
        place = Path(folder)
        tallies = {
            f"{target} on {kind}": kill_services(place / f"{target}-{kind}", address, postgres, [target] * count, draw)
            for target, kind, address, count in shares(place, postgres, third)
            if options.only in (None, target)
        }
        if options.only in (None, "cycle"):
            moments, faults, counts = kill_cycles(place / "cycles", options.moments - 2 * third, draw)
            tallies["cycle"] = Tally(moments, moments - len(faults), faults=faults, counts=counts)
    result(
        "kill_anytime",
        "moments survived",
        sum(one.survived for one in tallies.values()),
        sum(one.moments for one in tallies.values()),
        **{name: one.as_dict() for name, one in tallies.items()},
        postgresql=postgres is not None,
        seed=options.seed,
    )


def shares(place: Path, postgres: Postgres | None, third: int) -> list[tuple[Target, str, str, int]]:
    """Return what is killed on which database, its address, and how often."""
    sqlite = f"{place}/service.sqlite"
    if postgres is None:
        say("PostgreSQL is not installed (apt-get install postgresql): only SQLite is tested.")
        return [("server", "SQLite", sqlite, 2 * third)]
    on_postgres = third // 2
    found: list[tuple[Target, str, str, int]] = [
        ("server", "SQLite", sqlite, third - on_postgres),
        ("server", "PostgreSQL", postgres.address, on_postgres),
        ("PostgreSQL", "PostgreSQL", postgres.address, third),
    ]
    return [one for one in found if one[-1]]


def kill_services(
    place: Path, address: str, postgres: Postgres | None, targets: Sequence[Target], draw: random.Random
) -> Tally:
    """Kill something under a served life again and again; return what came of it."""
    tally = Tally()
    with served(place, address) as service:
        for target in targets:
            struck = service.restart if target == "server" or postgres is None else outage(postgres, draw)
            began = time.perf_counter()
            faults = service.moment(struck, draw.uniform(0, WITHIN), tally)
            tally.moments += 1
            tally.survived += not faults
            tally.faults += faults[:SHOWN]
            say(f"{target} {tally.moments}: {faults or 'survived'} ({time.perf_counter() - began:.1f} s)")
        told = [client.told for client in service.clients]
        tally.counts["acknowledged"] = sum(one.answered for one in told)
        tally.counts["without an answer"] = sum(sum(one.open.values()) for one in told)
        tally.counts["moves of the alias"] = service.answers()[-1]
    return tally


def outage(postgres: Postgres, draw: random.Random) -> Callable[[], None]:
    """Return what kills PostgreSQL and starts it again later."""

    def strike() -> None:
        if postgres.kill(draw.choice(VICTIMS), draw):
            time.sleep(draw.uniform(0, OUTAGE))
            postgres.start()

    return strike


class Service:
    """A server on a store, its clients, and the process that moves its alias."""

    def __init__(self, place: Path, address: str) -> None:
        self.place, self.address = place, address
        self.life = tiny_life(place)
        _add_another(self.life)
        folders = {name: self.life.model(name) for name in ("tuned", "other")}
        self.weights = {name: sha256(weights_file(folder))[:12] for name, folder in folders.items()}
        """What a reply has of the model that made it."""
        self.models = {name: fingerprint_of(folder) for name, folder in folders.items()}
        """What an alias has of the model that it names."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        with closing(Store(address)) as store:
            aliases = Aliases(store)
            aliases.assign(ALIAS, "tuned", self.models["tuned"], after=aliases.current(ALIAS))
            self.begun = len(aliases.history(ALIAS))
            names = [f"{place.name.replace(' ', '-')}-{number}" for number in range(CLIENTS)]
            keys = [Keys(store).add(name, "rater")[1] for name in names]
        self.clients = [Client(*each) for each in zip(names, [self.url] * CLIENTS, keys, strict=True)]
        self.server: subprocess.Popen[bytes] | None = None
        self.mover: subprocess.Popen[bytes] | None = None
        self.killed = 0
        """How often the mover was killed."""

    def start(self) -> None:
        """Start the server, and return when it answers."""
        command = [sys.executable, "-m", "sayso", "serve", "--life", str(self.life.root), "--model", ALIAS]
        command += ["--port", str(self.port), "--store", self.address, "--record", "all", "--queue", "64"]
        with (self.place / "server.log").open("ab") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + READY
        while not self.is_ready():
            assert self.server.poll() is None, f"the server did not start:\n{self.log()}"
            assert time.monotonic() < until, f"the server did not answer in time:\n{self.log()}"
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Whether the server answers."""
        with suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/ready").is_success
        return False

    def start_mover(self) -> None:
        """Let the alias move."""
        models = [word for pair in self.models.items() for word in pair]
        command = [sys.executable, str(Path(__file__).with_name("mover.py")), self.address, *models]
        with (self.place / "moves.jsonl").open("ab") as moves, (self.place / "mover.log").open("ab") as log:
            self.mover = subprocess.Popen(command, stdout=moves, stderr=log)

    def kill_mover(self) -> None:
        """Kill the process that moves the alias."""
        assert self.mover is not None
        self.mover.kill()
        self.mover.wait()
        self.killed += 1

    def kill(self) -> None:
        """Kill the server."""
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL)
            self.server.wait()

    def restart(self) -> None:
        """Kill the server and the mover, and start them again."""
        self.kill()
        self.kill_mover()
        self.start()
        self.start_mover()

    def moment(self, strike: Callable[[], None], after: float, tally: Tally) -> list[str]:
        """Strike some seconds after all clients were answered; return what is wrong afterwards."""
        stop, process = threading.Event(), self.server
        threads = [threading.Thread(target=client.run, args=(stop,)) for client in self.clients]
        for thread in threads:
            thread.start()
        self.start_mover()
        try:
            if not self._all_answered():
                return [f"the clients got no answers:\n{self.log()}"]
            time.sleep(after)
            began = time.perf_counter()
            strike()
            if not self._all_answered():
                return [f"the clients got no answers any more:\n{self.log()}"]
            tally.seconds.append(time.perf_counter() - began)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            self.kill_mover()
        return self.faults(lossy=self.server is not process, tally=tally)

    def _all_answered(self) -> bool:
        """Wait until every client and the mover have got another answer; return whether they did."""
        before = self.answers()
        return _soon(lambda: all(now > was for now, was in zip(self.answers(), before, strict=True)))

    def answers(self) -> list[int]:
        """Return how many answers each client and the mover have got."""
        return [*(client.told.answered for client in self.clients), sum(move is not None for move in self.moves())]

    def faults(self, lossy: bool, tally: Tally) -> list[str]:
        """Return what is wrong while nobody writes. With `lossy`, recorded replies of the API may have been lost."""
        told = [client.told for client in self.clients]
        with closing(Store(self.address)) as store:
            found = faults_of(store, told, self.weights)
            for one in told:
                missing, wrong = _recorded_soon(store, one, READY * (not lossy))
                found += wrong + ([] if lossy else [f"the reply to '{text}' was not recorded" for text in missing])
                for text in missing:
                    del one.replies[text]
                    tally.counts["recorded replies lost in memory"] += lossy
            history, moves = Aliases(store).history(ALIAS), self.moves()
            current = history[-1].model
        found += faults_of_history(history, moves, self.models)
        extra = len(history) - self.begun - sum(move is not None for move in moves)
        if extra > self.killed + sum(move is None for move in moves):
            found.append(f"the alias moved {extra} times more often than was acknowledged")
        if not _soon(lambda: self.serves() == (current, self.weights[current])):
            found.append(f"the server serves {self.serves()}, and '{ALIAS}' names '{current}'")
        if "Traceback" in self.log():
            found.append(f"the server's log has a traceback:\n{self.log()}")
        return found

    def moves(self) -> list[Any]:
        """Return what the movers reported."""
        return [json.loads(line) for line in (self.place / "moves.jsonl").read_text().splitlines()]

    def serves(self) -> tuple[str, str]:
        """Return the name and the fingerprint of the model that is served."""
        told = self.clients[0].http.get("/api/model").json()
        return told["name"], told["fingerprint"]

    def log(self) -> str:
        """Return what the server has said, but for the lines about requests."""
        lines = (self.place / "server.log").read_text().splitlines()
        return "\n".join([line for line in lines if " /api/" not in line and " /v1/" not in line][-60:])


@contextmanager
def served(place: Path, address: str) -> Iterator[Service]:
    """Yield a running service; end it."""
    service = Service(place, address)
    try:
        service.start()
        yield service
    finally:
        service.kill()
        for client in service.clients:
            client.http.close()


def _add_another(life: Life) -> None:
    """Add a second model to a life, of the same shape and tokenizer."""
    model, tokenizer = load_model(life.model("tuned"))
    other = Transformer(model.config).initialize(torch.Generator().manual_seed(1))
    save_model(other.eval(), tokenizer, life.model("other"), {"stage": "tuned", "seed": 1})


def _recorded_soon(store: Store, told: Told, patience: float) -> tuple[list[str], list[str]]:
    """Return what `recorded` does, when nothing is missing any more or after some seconds."""
    until = time.monotonic() + patience
    while (found := recorded(store, told))[0] and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _soon(happened: Callable[[], bool]) -> bool:
    """Wait until something has happened; return whether it did in time."""
    until = time.monotonic() + READY
    while not (found := happened()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


if __name__ == "__main__":
    main()
