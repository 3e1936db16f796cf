"""The act that puts a model on a port: the page for people, and OpenAI's API for programs."""

import asyncio
import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest, require
from sayso.base.life import STAGES, Life
from sayso.base.log import say

LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEY_VARIABLE = "SAYSO_API_KEY"
GRACE = 3  # seconds that open streams get when the server is told to end


@dataclass(frozen=True)
class Serve:
    """Serve a model's page and its OpenAI-compatible API."""

    life: Path = Path("life")
    """The life's folder."""
    model: str | None = None
    """A model of the life, or a model folder; the latest of aligned, tuned and base when left away."""
    host: str = "127.0.0.1"
    """The address to listen on; one that others can reach needs an API key."""
    port: int = 8000
    """The port to listen on; 0 = any free one."""
    api_key: str | None = None
    """The key that every request must bring; better set as SAYSO_API_KEY, which no list of processes shows."""
    queue: int = 16
    """How many requests may wait for the model before further ones are answered 429."""
    store: str | None = None
    """The address of the store, such as postgresql://host/name; the life's store.sqlite when left away."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when left away."""


def serve(options: Serve) -> None:
    """Listen until interrupted.

    Raises `UserError` for a missing model, a port in use, or an address that others can reach without a key.
    """
    for module in ("fastapi", "uvicorn", "sqlalchemy", "markdown_it", "nh3"):
        require(module, "serve")
    life = Life(options.life)
    key = options.api_key or os.environ.get(KEY_VARIABLE) or None
    if options.host not in LOOPBACK and key is None:
        raise UserError(
            f"A server that others can reach needs an API key; '{options.host}' is not this machine alone: "
            f"set {KEY_VARIABLE}, or leave --host away."
        )
    folder = find_model(life, options.model)
    listening = listen(options.host, options.port)
    with listening:
        _run(options, life, folder, key, listening)


def find_model(life: Life, name: str | None) -> Path:
    """Return a model's folder by its name in the life or its path; the latest stage when no name is given."""
    if name is None:
        present = [stage for stage in reversed(STAGES) if life.model(stage).is_dir()]
        if not present:
            raise UserError(
                f"A life has a model before it can be served; '{life.root}' has none yet: run 'sayso pretrain', "
                "or name another life with --life."
            )
        return life.model(present[0])
    for folder in (life.model(name), Path(name)):
        if (folder / "config.json").is_file():
            return folder
    models = life.root / "models"
    known = sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
    has = f"it has {', '.join(known)}" if known else "it has none yet"
    raise UserError(f"There is no model '{name}' in '{life.root}'; {has}.{nearest(name, known)}")


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
                f"such as --port {port + 1}."
            ) from error
        raise UserError(
            f"Cannot listen on {host} port {port}: {error.strerror}; take another --host or --port."
        ) from error
    return listening


def _run(options: Serve, life: Life, folder: Path, key: str | None, listening: socket.socket) -> None:
    import uvicorn

    from sayso.base.files import sha256
    from sayso.feedback.store import Store
    from sayso.reply import Replier
    from sayso.serve.app import make_app
    from sayso.weights.folder import load_model

    device = pick_device(options.device)
    model, tokenizer = load_model(folder, device.kind)
    store = Store(options.store or life.store)
    fingerprint = sha256(folder / "model.safetensors")[:12]
    app = make_app(Replier(model, tokenizer), store, folder.name, fingerprint=fingerprint, key=key, queue=options.queue)
    config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=GRACE)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(
        f"Serving {folder.name} ({fingerprint}) at http://{shown}:{port}: the page, and OpenAI's API under /v1. "
        "Ctrl-C ends it."
    )
    try:
        asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
    except KeyboardInterrupt:
        pass
    finally:
        store.close()
