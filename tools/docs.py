"""Write the parts of the docs that the code already says: docs/commands.md, and the tree in README.md.

The commands come from the command line itself, the tree's lines from each file's first docstring line, so neither can
drift; a test compares both with what lies in the repository. Run it by `make docs`.
"""

import ast
import re
from pathlib import Path

from sayso.cli.commands import build_app

ROOT = Path(__file__).parent.parent
COMMANDS = ROOT / "docs" / "commands.md"
README = ROOT / "README.md"
TREE = re.compile(r"(<!-- tree -->\n)(.*?)(<!-- /tree -->)", re.DOTALL)
COMMENT = re.compile(r"<!--(.*?)-->|/\*+(.*?)\*/|^//(.*?)$", re.DOTALL | re.MULTILINE)
SHOWN = (".py", ".html", ".css", ".js", ".cpp", ".h")
STAGES = (
    *("base", "text", "token", "batch", "model", "weights", "loss", "train", "sample", "think", "reply"),
    *("judge", "align", "feedback", "serve", "lens", "law", "rasp", "guard", "run", "cli"),
)
PREFACE = """<!-- Written by `make docs` from the commands; edit the help strings in src/sayso/run instead. -->

A setting comes from its flag; else from the environment: `SAYSO_PRETRAIN_DEPTH=4` sets `--depth` of `pretrain`, and
`SAYSO_LIFE=tom` sets `--life` of every command; else from `--config FILE.toml`, which is either the flat `config.toml`
that a run left in its folder or one table a command (`[pretrain]`, `[tokenizer.train]`); else it is the default.
A flag without a default is derived, and what was derived is printed. `--no-x` turns a flag `--x` off; a flag that
takes several values takes them after it or repeated.

Exit codes: 0 done; 2 something that was given cannot work, said in one sentence; 130 stopped by Ctrl-C, and then the
same command goes on from where it stopped.

"""


def commands() -> str:
    """Return docs/commands.md: every command, every flag, its help, its default."""
    text: str = build_app(help="Every command and flag of `sayso`.").generate_docs(output_format="markdown")
    body = text.split("## Table of Contents")
    return body[0].rstrip() + "\n\n" + PREFACE + "## Table of Contents" + body[1].rstrip() + "\n"


def tree() -> str:
    """Return the source tree as text, one line a file: its path and its docstring's first line."""
    lines = []
    package = ROOT / "src" / "sayso"
    folders = [package / stage for stage in STAGES if (package / stage / "__init__.py").exists()]
    lines += ["```text", "src/sayso/"]
    for folder in folders:
        lines.append(f"  {folder.name + '/':<28}{first_line(folder / '__init__.py')}")
        for path in sorted(path for path in folder.rglob("*") if _is_shown(path)):
            lines.append(f"    {path.relative_to(folder)!s:<26}{first_line(path)}")
    return "\n".join([*lines, "```", ""])


def first_line(path: Path) -> str:
    """Return the first line of what a file says of itself, its docstring or first comment, without its closing stop."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
    else:
        comment = COMMENT.search(text)
        said = next(filter(None, comment.groups()), "") if comment else ""
    return said.strip().partition("\n")[0].rstrip(".,:;")


def _is_shown(path: Path) -> bool:
    return path.suffix in SHOWN and path.name != "__init__.py" and path.is_file()


def readme(text: str) -> str:
    """Return the README with the tree between its two marks written anew."""
    return TREE.sub(lambda match: match[1] + tree() + match[3], text)


if __name__ == "__main__":
    COMMANDS.write_text(commands(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
