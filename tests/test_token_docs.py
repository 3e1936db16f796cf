"""The page on tokenizers says what runs."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tokenizer.md"


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's Python runs from top to bottom, assertions and all."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    assert any(names["trained"])
