"""What docs/serve.md says of the API is what the code takes."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from sayso.reply import Replier
from sayso.sample.engine import Engine
from sayso.serve.embeddings import EmbeddingRequest
from sayso.serve.engine_counts import EngineCounts
from sayso.serve.fields import GenerationFields
from sayso.serve.openai import ChatRequest, CompletionRequest
from sayso.serve.responses import ResponsesRequest
from sayso.serve.tokens import DetokenizeRequest, TokenizeRequest

DOCS = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def listed(heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    table = DOCS.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("heading", "models", "without"),
    [
        ("field of chat and text completions", [GenerationFields], []),
        ("field of chat completions only", [ChatRequest], [GenerationFields]),
        ("field of text completions only", [CompletionRequest], [GenerationFields]),
        ("field of responses", [ResponsesRequest], []),
        ("field of embeddings", [EmbeddingRequest], []),
        ("field of tokenize", [TokenizeRequest], []),
        ("field of detokenize", [DetokenizeRequest], []),
    ],
)
def test_every_field_is_in_the_docs(
    heading: str, models: list[type[BaseModel]], without: list[type[BaseModel]]
) -> None:
    """Field by field, and none that is not taken."""
    fields = {name for model in models for name in model.model_fields}
    assert listed(heading) == fields - {name for model in without for name in model.model_fields}


def test_every_route_is_in_the_docs(app: FastAPI) -> None:
    """Each path of the application, the page's own too."""
    said = set(re.findall(r"`(?:GET|POST|DELETE) ([^`]+)`", DOCS))
    paths = {*app.openapi()["paths"], "/openapi.json"}
    assert {re.sub(r"\b(ID|NAME|POSITION|ALIAS)\b", "{}", path) for path in said} == {
        re.sub(r"\{.*?\}", "{}", path) for path in paths
    }


def test_every_metric_is_in_the_docs(client: TestClient) -> None:
    """Each name, as it is read."""
    told = re.findall(r"^# TYPE (\S+)", client.get("/metrics").text, re.MULTILINE)
    assert listed("metric") == {name for name in told if not name.endswith("_created")}


def test_every_metric_of_speculation_and_adapters_is_in_the_docs(replier: Replier) -> None:
    """They exist only where they can count."""
    engine = Engine(replier.model, speculate=2, adapters={"poet": replier.model})
    more = {metric.name + "_total" * (metric.type == "counter") for metric in EngineCounts(engine, "tuned").collect()}
    plain = {metric.name + "_total" * (metric.type == "counter")
             for metric in EngineCounts(Engine(replier.model), "tuned").collect()}  # fmt: skip
    assert listed("metric with `--speculate` or `--adapter`") == more - plain
