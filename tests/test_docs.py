"""The docs match the code: every command, flag and file, and the generated parts are up to date."""

import importlib.util
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from sayso.run.acts import COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def docs():
    """The tool that writes the generated docs."""
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_list_is_up_to_date(docs) -> None:
    """`docs/commands.md` equals the output of `make docs`."""
    assert docs.COMMANDS.read_text() == docs.commands(), "run `make docs`"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_flag_is_documented(command) -> None:
    """Each command's section lists each of its flags, and each flag has help."""
    text = (ROOT / "docs" / "commands.md").read_text()
    section = text.split(f"# sayso {command.name}\n")[1].split("\n#")[0]
    kind = get_type_hints(command.load())["options"]
    for field in fields(kind):
        flag = f"--{field.name.replace('_', '-')}"
        assert re.search(rf"`[^`]*{flag}\b[^`]*`: \w+", section), f"{flag} has no line of help"


def test_tree_is_up_to_date(docs) -> None:
    """`docs/tree.md` and the drawing of the layers equal the output of `make docs`, and no docstring is missing."""
    assert docs.TREE.read_text() == docs.tree(), "run `make docs`"
    assert docs.LAYERS.read_text() == docs.layers(), "run `make docs`"
    assert not re.search(r"^[a-z_/]+\.\w+ *$", docs.tree(), re.MULTILINE), "a file opens without a docstring"


def test_readme_is_short() -> None:
    """It fits on a few screens."""
    assert (ROOT / "README.md").stat().st_size <= 8_000


def test_links_between_the_docs_work() -> None:
    """A relative link in a Markdown file points to an existing file."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("page", sorted((*ROOT.glob("docs/**/*.md"), ROOT / "README.md")), ids=lambda page: page.name)
def test_flags_on_the_pages_exist(page: Path) -> None:
    """Every command on a page has each flag shown with it."""
    flags = {}
    for command in COMMANDS:
        names = [field.name.replace("_", "-") for field in fields(get_type_hints(command.load())["options"])]
        flags[command.name] = {f"--{name}" for name in names} | {f"--no-{name}" for name in names}
    groups = "(?:(?:tokenizer|flags|store|keys|law) |rasp (?=compile|run|teach))?"
    pattern = rf"(?:^|`)sayso ({groups}[a-z-]+)\b([^`\n#]*)"
    shown = re.findall(pattern, page.read_text(), re.MULTILINE)
    wrong = [
        f"sayso {name} {flag}"
        for name, rest in shown
        for flag in re.findall(r"--[a-z][a-z-]*", rest)
        if flag not in flags.get(name, ()) and flag not in ("--help", "--config")
    ]
    assert wrong == []


def test_files_named_by_the_architecture_exist() -> None:
    """Every file on the page, and every name next to one, is in the package."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "src" / "sayso"
    named = re.findall(r"`(\w+/[\w/]+\.\w+)`", page)
    assert len(named) > 50
    assert [name for name in named if not (package / name).exists()] == []
    source = "\n".join(path.read_text() for path in package.rglob("*.py"))
    classes = re.findall(r"`([A-Z]\w+)(?:\.(\w+))?(?:\([\w, ]*\))?`", page)
    assert [name for name, _ in classes if f"class {name}" not in source] == []
    assert [method for _, method in classes if method and f"def {method}(" not in source] == []


def test_version_is_in_the_changelog() -> None:
    """The changelog has a section for unreleased changes."""
    assert re.search(r"^## \[(Unreleased|\d)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_no_lock_file_or_machine_path_is_tracked() -> None:
    """No file contains anything that is specific to one machine."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    assert [name for name in done.stdout.split() if name.endswith((".lock", ".pickle", ".pt", ".safetensors"))] == []
