"""The act that puts a model on a port: the page for people, and OpenAI's API for programs."""

import asyncio
import errno
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from sayso.base.device import free_memory, pick_device
from sayso.base.errors import UserError, require
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.ranges import Amount, Options, Port, Positive, Range, Several
from sayso.model import Transformer
from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.sample.pages import bytes_per_token
from sayso.weights.adapter import adapted_tensors
from sayso.weights.folder import load_model
from sayso.weights.models import newest_model, resolve_model
from sayso.weights.tensors import weights_file

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sayso.serve.server import Server

HIGHEST_PORT = 65_535
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Serve(Options):
    """Serve a model's page and its OpenAI-compatible API."""

    life: Path = Path("life")
    """The life's folder."""
    model: str = "aligned"
    """A model of the life or the path of a model folder; without an aligned one the newest earlier stage is served."""
    host: str = "127.0.0.1"
    """The address to listen on; one that others can reach needs an API key."""
    port: Port = 8000
    """The port to listen on; 0 = any free one."""
    api_key: str | None = None
    """The key that every request must bring; better set as SAYSO_API_KEY, which no list of processes shows."""
    rows: Several = 64
    """How many replies are spoken side by side."""
    cache_tokens: Positive | None = None
    """How many tokens of prompts and replies are kept in memory; as many as the rows can fill, within 4 GiB, when left
    away."""
    cache_bits: Literal[8, 0] = 0
    """8 keeps keys and values as whole numbers, in a quarter of the memory; 0 = as they are computed."""
    speculate: Annotated[int, Range(0, 64)] = 0
    """How many tokens are proposed at once to each of a few replies, by what followed before or by --draft; 0 = off."""
    draft: str | None = None
    """A smaller model of the same vocabulary that proposes, a model of the life or the path of a model folder."""
    adapter: tuple[str, ...] = ()
    """An adapter of the model as NAME=FOLDER, in PEFT's format, served as the model NAME; may be given again."""
    deterministic: bool = False
    """Give a reply the same bits whatever else is asked at the time."""
    queue: Amount = 16
    """How many requests may wait for a row before further ones are answered 429."""
    grace: Amount = 5
    """Seconds that replies get to end when the server is told to end; then they are cut."""
    store: str | None = None
    """The address of the store, such as postgresql://host/name; the life's store.sqlite when left away."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when left away."""


def serve(options: Serve) -> None:
    """Listen until interrupted.

    Raises `UserError` for a missing model, a port in use, or an address that others can reach without a key.
    """
    for module in ("fastapi", "uvicorn", "sqlalchemy", "markdown_it", "nh3", "prometheus_client"):
        require(module, "serve")
    life = Life(options.life)
    if options.host not in LOOPBACK and not options.api_key:
        raise UserError(
            f"A server that others can reach needs an API key; '{options.host}' is not this machine alone: "
            "set SAYSO_API_KEY, or leave --host away."
        )
    folder = newest_model(life, options.model)
    listening = listen(options.host, options.port)
    with listening:
        _run(options, life, folder, listening)


def engine_of(options: Serve, life: Life, name: str, model: Transformer, device: str) -> Engine:
    """Return the engine that a server's flags ask for; the model has a name. `UserError` for what does not fit."""
    adapters: dict[str, Transformer] = {}
    for given in options.adapter:
        called, _, folder = given.partition("=")
        if not (called and folder) or called in (name, *adapters):
            raise UserError(f"An adapter is given as NAME=FOLDER, with a name of its own; got '{given}'.")
        adapters[called] = adapted_tensors(model, Path(folder))
    _check_cache(options, model, device)
    draft = load_model(resolve_model(life, options.draft), device)[0] if options.draft else None
    return Engine(
        model,
        rows=options.rows,
        tokens=options.cache_tokens,
        speculate=options.speculate,
        draft=draft,
        adapters=adapters,
        cache_bits=options.cache_bits,
        deterministic=options.deterministic,
    )


def _check_cache(options: Serve, model: Transformer, device: str) -> None:
    """Raise `UserError` for a cache of more tokens than fit into memory, before it is made."""
    free, of_one = free_memory(device), bytes_per_token(model.config, model.dtype, options.cache_bits)
    if options.cache_tokens and free is not None and options.cache_tokens * of_one > free:
        raise UserError(
            f"--cache-tokens must fit into memory, {free // of_one:,} tokens of {of_one:,} bytes at most here; got "
            f"{options.cache_tokens:,}."
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; a port in use or an address that is not ours is a `UserError` with its mend."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UserError(
            f"There is no address '{host}' port {port} to listen on; --host 127.0.0.1 is this machine."
        ) from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a server that just ended is free
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} on {host} is in use by another program; end that one, or take another port "
                f"such as --port {port - 1 if port == HIGHEST_PORT else port + 1}."
            ) from error
        raise UserError(
            f"Cannot listen on {host} port {port}: {error.strerror}; take another --host or --port."
        ) from error
    return listening


def _run(options: Serve, life: Life, folder: Path, listening: socket.socket) -> None:
    from sayso.feedback.store import Store
    from sayso.serve.app import make_app
    from sayso.serve.server import Loading, Server

    device = pick_device(options.device)
    store = Store(options.store or life.store)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    def load() -> "FastAPI":
        model, tokenizer = load_model(folder, device.kind, plain=bool(options.adapter))
        fingerprint = sha256(weights_file(folder))[:12]
        app = make_app(
            Replier(model, tokenizer),
            store,
            folder.name,
            fingerprint=fingerprint,
            key=options.api_key or None,
            engine=engine_of(options, life, folder.name, model, device.kind),
            queue=options.queue,
        )
        say(
            f"Serving {folder.name} ({fingerprint}) at http://{shown}:{port}: the page, and OpenAI's API under /v1. "
            "Ctrl-C ends it."
        )
        return app

    loading = Loading(load)
    server = Server(loading, loading.drain, options.grace)
    loading.failed = server.end
    try:
        _run_server(server, listening)
    except KeyboardInterrupt:
        pass
    finally:
        store.close()
    if loading.error is not None:
        raise loading.error


def _run_server(server: "Server", listening: socket.socket) -> None:
    """Run the server until it is interrupted; a notebook, whose thread has an event loop already, gives it another."""

    def serve_all() -> None:
        asyncio.run(server.serve(sockets=[listening]))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        serve_all()
        return
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve_all)
        try:
            serving.result()
        except KeyboardInterrupt:
            server.end()
