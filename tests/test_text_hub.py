"""Data sets of the hub, on an in-memory file system: found by the card, else by file names."""

from collections.abc import Iterator

import fsspec
import pytest

from sayso.base.errors import UserError
from sayso.text.hub import hub_files

ROOT = "memory://datasets/"
CARD = """---
license: odc-by
configs:
- config_name: plain
  data_files:
  - split: train
    path: plain/*.jsonl
  - split: test
    path: ["plain_held/part-*.jsonl"]
- config_name: fancy
  data_files: "fancy/**/*.parquet"
---
# A data set
"""


@pytest.fixture
def hub() -> Iterator[fsspec.AbstractFileSystem]:
    """An in-memory hub, emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(hub: fsspec.AbstractFileSystem, name: str, *paths: str, card: str = "") -> None:
    """Create a data set of empty files."""
    for path in (*paths, "README.md"):
        hub.pipe(f"/datasets/{name}/{path}", card.encode() if path == "README.md" else b"x")


def chosen(name: str, split: str = "train", revision: str = "") -> list[str]:
    """Return the paths that a name selects, relative to the data set."""
    files = hub_files(name, split, revision, ROOT).files
    return [file.where.partition("/datasets/")[2].split("/", 2)[2] for file in files]


def test_the_card_gives_configs_splits_and_license(hub: fsspec.AbstractFileSystem) -> None:
    """A config's patterns, as a list of splits or as one pattern for train."""
    put(hub, "me/set", "plain/a.jsonl", "plain_held/part-1.jsonl", "fancy/x/b.parquet", "fancy/c.parquet", card=CARD)
    assert chosen("me/set/plain") == ["plain/a.jsonl"]
    assert chosen("me/set/plain", "test") == ["plain_held/part-1.jsonl"]
    assert chosen("me/set/fancy") == ["fancy/c.parquet", "fancy/x/b.parquet"]
    assert hub_files("me/set/plain", "train", "", ROOT).license_name == "odc-by"


def test_without_a_card_file_names_give_the_split(hub: fsspec.AbstractFileSystem) -> None:
    """The hub's names of Parquet files; files without a split in their name all belong to it."""
    put(
        hub, "me/named", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-0.parquet"
    )
    assert chosen("me/named") == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert chosen("me/named", "test") == ["data/test-0.parquet"]
    put(hub, "me/bare", "part1.jsonl.zst", "part2.jsonl.zst")
    assert chosen("me/bare") == ["part1.jsonl.zst", "part2.jsonl.zst"]


def test_folders_are_configs(hub: fsspec.AbstractFileSystem) -> None:
    """If there are several, one must be chosen."""
    put(hub, "me/two", "big-v1/train-0.parquet", "small-v1/train-0.parquet", "small-v1/validation-0.parquet")
    assert chosen("me/two/small-v1") == ["small-v1/train-0.parquet"]
    with pytest.raises(UserError, match="several configs: big-v1, small-v1"):
        chosen("me/two")


def test_a_revision_is_part_of_the_address(hub: fsspec.AbstractFileSystem) -> None:
    """Slashes of a revision are quoted, as the hub's file system expects."""
    put(hub, "me/set@refs%2Fconvert%2Fparquet", "default/train/0000.parquet")
    assert chosen("me/set", revision="refs/convert/parquet") == ["default/train/0000.parquet"]


@pytest.mark.parametrize(
    ("name", "split", "says"),
    [
        ("me", "train", "hf://owner/name"),
        ("me/none", "train", "does not exist"),
        ("me/set", "train", "several configs: plain, fancy"),
        ("me/set/plian", "train", "Did you mean 'plain'?"),
        ("me/set/plain", "tset", "Did you mean 'test'?"),
        ("me/named", "tests", "Did you mean 'test'?"),
        ("me/named/other", "train", "no config 'other'"),
        ("me/pictures", "train", "refs/convert/parquet"),
    ],
)
def test_an_unknown_config_or_split_lists_the_known_ones(
    hub: fsspec.AbstractFileSystem, name: str, split: str, says: str
) -> None:
    """The message lists existing configs and splits, and suggests the nearest."""
    put(hub, "me/set", "plain/a.jsonl", "plain_held/part-1.jsonl", "fancy/c.parquet", card=CARD)
    put(hub, "me/named", "train-0.parquet", "test-0.parquet")
    put(hub, "me/pictures", "a.png")
    with pytest.raises(UserError) as caught:
        chosen(name, split)
    assert says in str(caught.value)
