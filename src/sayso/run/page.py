"""Act: serve the web page over any server with OpenAI's API, with a store of one's own."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sayso.base.errors import require
from sayso.base.life import Life
from sayso.base.log import say
from sayso.base.ranges import Amount, Options, Port
from sayso.judge.endpoint import Endpoint
from sayso.run.serve import acts_of, check_reach, shown_address
from sayso.serve.listen import listen

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(frozen=True, kw_only=True)
class Page(Options):
    """Options of `sayso page`."""

    base_url: str
    """Address of a server with OpenAI's API, such as http://127.0.0.1:8080/v1."""
    key: str | None = None
    """Key of that server. Prefer SAYSO_ENDPOINT_KEY, which does not appear in process lists."""
    model: str | None = None
    """Model that replies unless another one is chosen on the page. Default: the first that the server lists."""
    life: Path = Path("life")
    """Folder of the life, whose store keeps the conversations and ratings."""
    store: str | None = None
    """Database URL of the store, such as postgresql://host/name. Default: the life's store.sqlite."""
    host: str = "127.0.0.1"
    """Address to listen on; an API key is required for addresses other than localhost."""
    port: Port = 8000
    """Port to listen on; 0 = any free port."""
    api_key: str | None = None
    """API key that the page asks for. Prefer SAYSO_API_KEY, which does not appear in process lists."""
    grace: Amount = 5
    """Seconds to finish running replies on shutdown before they are cut off."""
    log_requests: bool = True
    """Log each request to standard error: method, path, status, seconds and request id."""


def page(options: Page) -> None:
    """Serve the web page over any server with OpenAI's API until interrupted.

    Raises `UserError` for a base URL that is not an address of HTTP, a port in use, or an address other than localhost
    without an API key.
    """
    for module in ("fastapi", "uvicorn", "sqlalchemy", "markdown_it", "nh3", "prometheus_client", "rcssmin", "rjsmin"):
        require(module, "serve")
    endpoint = Endpoint(options.base_url, options.model or "", options.key)
    check_reach(options.host, options.api_key, options.life, options.store)
    from sayso.feedback.store import Store
    from sayso.serve.log import logged
    from sayso.serve.page_app import make_page_app
    from sayso.serve.remote import Remote
    from sayso.serve.server import run_server

    life = Life(options.life)
    with listen(options.host, options.port) as listening:
        store = Store(options.store or life.store)

        def load() -> "FastAPI":
            remote = Remote(endpoint, options.model or None)
            acts = acts_of(life, options.store)
            return make_page_app(remote, store, key=options.api_key or None, life=life, acts=acts)

        def announce() -> None:
            say(f"The page over {options.base_url} is at {shown_address(listening)}. Press Ctrl-C to stop.")

        with closing(store), logged(options.log_requests):
            run_server(load, listening, options.grace, announce)
