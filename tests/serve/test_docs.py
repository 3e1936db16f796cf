"""What docs/serve.md says of the API is what the code takes."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from sayso.serve.body import HARMLESS
from sayso.serve.fields import Asked
from sayso.serve.openai import ChatRequest, CompletionRequest

DOCS = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def listed(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    table = DOCS.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("heading", "models", "without"),
    [
        ("field of chats and completions", [Asked], []),
        ("field of chats alone", [ChatRequest], [Asked]),
        ("field of completions alone", [CompletionRequest], [Asked]),
    ],
)
def test_every_field_is_in_the_docs(
    heading: str, models: list[type[BaseModel]], without: list[type[BaseModel]]
) -> None:
    """Field by field, and none that is not taken."""
    fields = {name for model in models for name in model.model_fields}
    assert listed(heading) == fields - {name for model in without for name in model.model_fields}


def test_every_label_is_in_the_docs() -> None:
    """What is accepted without an effect is named."""
    said = DOCS.split("Labels that change no word:", 1)[1].split(".", 1)[0]
    assert set(re.findall(r"`([^`]+)`", said)) == HARMLESS
