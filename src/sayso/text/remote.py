"""List the files below a URL through fsspec: object stores, the hub, or memory in tests.

Only listings are read here; readers stream the files part by part.
"""

from dataclasses import dataclass
from typing import Any

from sayso.base.errors import UserError, require
from sayso.text.document import File

_MARKS = ("ETag", "etag", "blob_id", "LastModified", "last_modified", "mtime", "created")  # names of different stores


@dataclass(frozen=True)
class Listing:
    """The files below a URL, by their relative paths (a single file by its name)."""

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
        raise UserError(f"'{url}' needs another package: {error}.") from error
    except Exception as error:  # each store's client has its own errors
        raise UserError(
            f"'{url}' cannot be listed ({error}); check its name, the network and your credentials."
        ) from error
    if not infos:
        raise UserError(f"'{url}' does not exist or is empty; check the URL.")
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
