"""Act: serve a model: the web page for users, and the OpenAI-compatible API for programs."""

import os
import re
import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from sayso.base.device import pick_device
from sayso.base.errors import UserError, require
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.ranges import Amount, Options, Port, Range
from sayso.run.engine import EngineOptions, check_room, open_engine
from sayso.run.keys import has_keys
from sayso.run.promote import entry_named, folder_of
from sayso.serve.listen import listen
from sayso.weights.models import newest_model

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sayso.feedback.aliases import Assignment
    from sayso.serve.jobs import Acts
    from sayso.serve.served_model import ServedModel

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
PREFIX = "SAYSO_"  # of settings in the environment
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class _NamedOptions(Options):
    """What is served: models by their names or aliases, and the store, which has the aliases."""

    life: Path = Path("life")
    """Folder of the life."""
    model: str = "aligned"
    """Model of the life, path of a model folder, or alias, which is followed. Default: the latest stage that exists."""
    canary: str | None = None
    """Alias whose model answers a share of the conversations, until it is found worse; needs an alias as --model."""
    share: Annotated[float, Range(0.001, 0.999)] = 0.1
    """Share of the conversations that the canary answers."""
    shadow: str | None = None
    """Alias whose model answers too, unseen, on the page and what --record records; needs an alias as --model."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""


@dataclass(frozen=True, kw_only=True)
class Serve(EngineOptions, _NamedOptions):
    """Options of `sayso serve`."""

    host: str = "127.0.0.1"
    """Address to listen on; an API key is required for addresses other than localhost."""
    port: Port = 8000
    """Port to listen on; 0 = any free port."""
    api_key: str | None = None
    """API key that admits like one of 'sayso keys'. Prefer SAYSO_API_KEY, which does not appear in process lists."""
    allow_origin: tuple[str, ...] = ()
    """Origin whose web pages may use the server, such as https://chat.example.org; may be repeated."""
    queue: Amount = 16
    """Maximum number of waiting requests; further ones receive status 429."""
    grace: Amount = 5
    """Seconds to finish running replies on shutdown before they are cut off."""
    log_requests: bool = True
    """Log each request to standard error: method, path, status, seconds and request id."""
    record: Literal["off", "sampled", "all"] = "off"
    """Conversations of the API to record in the store: none, one in ten, or all. The page's are always stored."""


def serve(options: Serve) -> None:
    """Serve the web page and the OpenAI-compatible API until interrupted.

    Raises `UserError` for a missing model, a port in use, or an address other than localhost without an API key.
    """
    for module in ("fastapi", "uvicorn", "sqlalchemy", "markdown_it", "nh3", "prometheus_client", "rcssmin", "rjsmin"):
        require(module, "serve")
    life = Life(options.life)
    check_reach(options.host, options.api_key, options.life, options.store)
    origins = origins_of(options)
    entry = entry_named(life, options.model, options.store)
    canary, shadow = _second(options, life, entry, "canary"), _second(options, life, entry, "shadow")
    folder = folder_of(life, entry) if entry else newest_model(life, options.model)
    with listen(options.host, options.port) as listening:
        _run(options, life, folder, (entry, canary, shadow), origins, listening)


def check_reach(host: str, key: str | None, life: Path, store: str | None) -> None:
    """Raise `UserError` if a server that other machines can reach would have no key."""
    if host not in LOOPBACK and not key and not has_keys(life, store):
        raise UserError(
            f"An API key is required to listen on addresses other than localhost; got --host {host}. "
            "Add one with 'sayso keys add NAME', set SAYSO_API_KEY, or omit --host."
        )


def shown_address(listening: socket.socket) -> str:
    """Return the address of the page on a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _second(
    options: _NamedOptions, life: Life, entry: "Assignment | None", kind: Literal["canary", "shadow"]
) -> "Assignment | None":
    """Return what the alias of the canary or the shadow names.

    Raises `UserError` if it is none, or cannot be compared with the model of `entry`.
    """
    name = options.canary if kind == "canary" else options.shadow
    if name is None:
        return None
    if entry is None or name == options.model or options.canary == options.shadow:
        raise UserError(
            f"A {kind} is compared with the model of another alias; as in --model stable --{kind} candidate. "
            f"Got --model {options.model} --{kind} {name}."
        )
    second = entry_named(life, name, options.store)
    if second is None:
        raise UserError(
            f"--{kind} takes an alias, and '{name}' is none; make one with 'sayso promote MODEL --to {name}'."
        )
    return second


def origins_of(options: Serve) -> frozenset[str]:
    """Return the allowed origins as browsers send them. Raises `UserError` for anything but SCHEME://HOST[:PORT]."""
    origins = set()
    for given in options.allow_origin:
        origin = given.removesuffix("/").lower()
        if not _ORIGIN.fullmatch(origin):
            raise UserError(f"--allow-origin takes an origin such as https://chat.example.org; got '{given}'.")
        origins.add(origin)
    return frozenset(origins)


def acts_of(life: Life, store: str | None) -> "Acts":
    """Return the acts that the page of a life may start; their processes get none of the server's own settings.

    The address of the store may hold a password, so it is passed in the environment.
    """
    from sayso.run.forms import Forms
    from sayso.serve.jobs import Acts

    forms = Forms(life)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {f"{PREFIX}STORE": store} if store else {}
    return Acts(forms.every, forms.begin, forms.resume, environment)


def _run(
    options: Serve,
    life: Life,
    folder: Path,
    entries: "tuple[Assignment | None, Assignment | None, Assignment | None]",
    origins: frozenset[str],
    listening: socket.socket,
) -> None:
    """Serve a folder's model; `entries` are those of the aliases of it, of the canary and of the shadow."""
    from sayso.feedback.aliases import Aliases
    from sayso.feedback.store import Store
    from sayso.serve.app import make_app
    from sayso.serve.follow import Follow, Following
    from sayso.serve.log import logged
    from sayso.serve.served_models import start_model
    from sayso.serve.server import run_server

    device = pick_device(options.device)
    store = Store(options.store or life.store)
    aliases = Aliases(store)
    fingerprint = ""

    def load_next(entry: "Assignment") -> "ServedModel":
        folder = folder_of(life, entry)
        check_room(folder, device.kind)
        replier, mark, engine = open_engine(options, life, folder, device.kind, options.model)
        kinds = {options.canary: f"a share of {options.share:g} of the conversations", options.shadow: "unseen"}
        kind = kinds.get(entry.alias, "new requests")
        say(f"'{entry.alias}' names {folder.name} ({mark}), which answers {kind} from now on.")
        return start_model(replier, folder.name, mark, engine, options.queue, entry.alias)

    def follow(entry: "Assignment | None") -> "Follow | None":
        others = aliases.others if entry is entries[0] else None
        return Follow(entry, lambda: aliases.current(entry.alias), load_next, others) if entry else None

    def load() -> "FastAPI":
        nonlocal fingerprint
        replier, fingerprint, engine = open_engine(options, life, folder, device.kind, options.model)
        main, canary, shadow = map(follow, entries)
        return make_app(
            replier,
            store,
            folder.name,
            fingerprint=fingerprint,
            key=options.api_key or None,
            engine=engine,
            queue=options.queue,
            origins=origins,
            admin_key=options.admin_key or None,
            following=Following(main, canary, options.share, shadow) if main else None,
            record=options.record,
            life=life,
            acts=acts_of(life, options.store),
        )

    def announce() -> None:
        say(
            f"Serving {folder.name} ({fingerprint}) at {shown_address(listening)}: the web page, and OpenAI's API "
            "under /v1. Press Ctrl-C to stop."
        )

    with closing(store), logged(options.log_requests):
        run_server(load, listening, options.grace, announce)
