"""Find the data files of a Hugging Face data set to stream, by its card or by file names.

`hf://owner/name[/config]?split=train&column=text&revision=main`. Only listings and the card are read here; files are
read part by part through fsspec, without downloading whole files. Tests replace `root` by another file system.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from urllib.parse import quote

from sayso.base.errors import UserError, nearest, require
from sayso.text.document import File
from sayso.text.files import suffix_of
from sayso.text.remote import Listing, list_remote

ROOT = "hf://datasets/"
SPLIT_NAMES = ("train", "validation", "valid", "val", "dev", "test")


@dataclass(frozen=True)
class HubFiles:
    """The data files, and the license that the card states."""

    files: tuple[File, ...]
    license_name: str


def hub_files(name: str, split: str, revision: str, root: str = ROOT) -> HubFiles:
    """Return the data files of `owner/name[/config]` for one split.

    Raises `UserError` if the data set cannot be reached, or has no such config or split (the error lists those it has).
    """
    owner, _, rest = name.removeprefix("datasets/").partition("/")
    short, _, config = rest.strip("/").partition("/")
    if not owner or not short:
        raise UserError(f"A data set on the hub must be hf://owner/name or hf://owner/name/config; got 'hf://{name}'.")
    folder = f"{root}{owner}/{short}" + (f"@{quote(revision, safe='')}" if revision else "")
    if folder.startswith(ROOT):
        require("huggingface_hub", "data")
    found = list_remote(folder)
    card = _card(found)
    names = [path for path in found.files if suffix_of(path) in (".parquet", ".jsonl", ".ndjson")]
    names = names or [path for path in found.files if suffix_of(path) == ".txt"]
    if not names:
        raise UserError(
            f"'{folder}' has no Parquet, JSON Lines or text files; the hub's own conversion may be at "
            f"hf://{owner}/{short}?revision=refs/convert/parquet."
        )
    chosen = _by_card(names, card.get("configs") or [], config, split, folder) or _by_name(names, config, split, folder)
    stated = card.get("license") or "unknown"
    license_name = stated if isinstance(stated, str) else ", ".join(map(str, stated))
    return HubFiles(tuple(found.files[path] for path in chosen), license_name)


def _card(found: Listing) -> dict[str, Any]:
    """Return the metadata at the top of the data set's README, or {} if there is none."""
    if "README.md" not in found.files:
        return {}
    text = found.file_system.cat_file(f"{found.base}/README.md").decode("utf-8", "replace")
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    data = require("yaml", "data").safe_load(head[1]) if head else {}
    return data if isinstance(data, dict) else {}


def _by_card(names: list[str], configs: list[dict[str, Any]], config: str, split: str, folder: str) -> list[str]:
    """Return the files that the card lists for a config and split; [] if the card lists no files."""
    known = {str(entry["config_name"]): entry.get("data_files") for entry in configs if "config_name" in entry}
    if not any(known.values()):
        return []
    if not config:
        config = "default" if "default" in known else next(iter(known)) if len(known) == 1 else ""
    if config not in known:
        problem = f"has no config '{config}'" if config else "has several configs"
        raise UserError(
            f"'{folder}' {problem}: {', '.join(known)}.{nearest(config, known)} Choose one: hf://owner/name/CONFIG."
        )
    patterns = _patterns(known[config])
    if split not in patterns:
        raise UserError(f"'{folder}' has no split '{split}'; it has {', '.join(patterns)}.{nearest(split, patterns)}")
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns[split])]


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """Map splits to path patterns by the card's `data_files`: a string, or a list of strings or of split and path."""
    patterns: dict[str, list[str]] = {}
    for entry in [data_files] if isinstance(data_files, str | dict) else data_files or []:
        pair = entry if isinstance(entry, dict) else {"split": "train", "path": entry}
        paths = [pair["path"]] if isinstance(pair["path"], str) else pair["path"]
        patterns.setdefault(str(pair["split"]), []).extend(path.replace("**/", "*") for path in paths)
    return patterns


def _by_name(names: list[str], config: str, split: str, folder: str) -> list[str]:
    """Return the files whose path names the config and the split, by the hub's conventions."""
    if config:
        kept = [name for name in names if _names(name, config)]
    else:
        tops = sorted({name.split("/")[0] for name in names if "/" in name} - {"data", *SPLIT_NAMES})
        if len(tops) > 1:
            raise UserError(f"'{folder}' has several configs: {', '.join(tops)}. Choose one: hf://owner/name/CONFIG.")
        kept = names
    if not kept:
        raise UserError(f"'{folder}' has no config '{config}'; its files are {', '.join(names[:8])} ...")
    splits = [known for known in SPLIT_NAMES if any(_names(name, known) for name in kept)]
    if not splits:
        return kept
    chosen = [name for name in kept if _names(name, split)]
    if not chosen:
        raise UserError(f"'{folder}' has no split '{split}'; it has {', '.join(splits)}.{nearest(split, splits)}")
    return chosen


def _names(path: str, word: str) -> bool:
    return re.search(rf"(?:^|[/_.-]){re.escape(word)}(?:[/_.-]|$)", path) is not None
