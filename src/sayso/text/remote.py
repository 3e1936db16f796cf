"""List the files below a URL through fsspec: object stores, the hub, memory in the tests.

Only listings are read here; the readers stream the files part by part.
"""

from dataclasses import dataclass
from typing import Any

from sayso.base.errors import UserError, require
from sayso.text.document import File

_MARKS = ("ETag", "etag", "blob_id", "LastModified", "last_modified", "mtime", "created")  # by the stores' own names


@dataclass(frozen=True)
class Listing:
    """The files below a URL, by their paths from there (a single file has its own name)."""

    file_system: Any
    base: str
    files: dict[str, File]


def list_remote(url: str) -> Listing:
    """Return all files below a URL, sorted; raises `UserError` if it cannot be reached or has none."""
    core = require("fsspec.core", "data")
    try:
        file_system, base = core.url_to_fs(url)
        infos = file_system.find(base, detail=True)
    except ImportError as error:
        raise UserError(f"'{url}' needs one more package: {error}.") from error
    except Exception as error:  # each store's client raises its own kinds
        raise UserError(f"'{url}' cannot be listed ({error}); check its name, the network and your login.") from error
    if not infos:
        raise UserError(f"'{url}' does not exist or is empty.")
    base = base.rstrip("/")
    files = {
        path.removeprefix(base).strip("/") or path.rpartition("/")[2]: File(
            file_system.unstrip_protocol(path), infos[path]["size"], _mark(infos[path])
        )
        for path in sorted(infos)
    }
    return Listing(file_system, base, files)


def _mark(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _MARKS if info.get(name)), "")
