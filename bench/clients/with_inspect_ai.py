"""Inspect AI: a small task by its OpenAI-compatible provider with a base URL, and a tool."""

import os
import tempfile
from typing import Any

from checks import MODEL, expect, run
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import Solver, generate, multiple_choice, use_tools
from inspect_ai.tool import Tool, ToolCall, tool

SAMPLES = [Sample("Say cat.", target="cat"), Sample("Say dog.", target="dog")]


@tool
def feed() -> Tool:
    """A tool with one argument."""

    async def execute(pet: str) -> str:
        """Feeds a pet.

        Args:
            pet: Name of the pet.
        """
        return f"fed {pet}"

    return execute


def evaluated(base_url: str, task: Task, **options: Any) -> EvalLog:
    """Return the log of a task, which has ended well."""
    os.environ["SAYSO_API_KEY"] = "none"
    model = get_model(
        f"openai-api/sayso/{MODEL}", base_url=base_url, **options,
        config=GenerateConfig(max_tokens=16, temperature=0, seed=1, stop_seqs=list("123456")),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = evaluate(task, model=model, log_dir=folder, display="none")[0]
    expect(log.status == "success", log.error)
    return log


def task(base_url: str) -> None:
    """Two questions, scored."""
    log = evaluated(base_url, Task(dataset=SAMPLES, solver=generate(), scorer=includes()))
    expect(log.results and log.results.completed_samples == 2, log.results)


def multiple(base_url: str) -> None:
    """A question of multiple choice."""
    samples = [Sample("Which one barks?", choices=["cat", "dog"], target="B")]
    evaluated(base_url, Task(dataset=samples, solver=multiple_choice(), scorer=choice()))


def tools(base_url: str) -> None:
    """A task whose solver offers a tool."""
    solver: list[Solver] = [use_tools(feed()), generate(tool_calls="single")]
    evaluated(base_url, Task(dataset=SAMPLES, solver=solver, scorer=includes()))


def history(base_url: str) -> None:
    """A conversation with a call and its result, by chats and by the responses route."""
    call = ToolCall(id="call_1", function="feed", arguments={"pet": "cat"})
    turns: list[ChatMessage] = [
        ChatMessageSystem(content="Be short."), ChatMessageUser(content="hello"),
        ChatMessageAssistant(content="", tool_calls=[call]),
        ChatMessageTool(content="fed", tool_call_id="call_1", function="feed"),
    ]  # fmt: skip
    task = Task(dataset=[Sample(turns, target="cat")], solver=[use_tools(feed()), generate()], scorer=includes())
    evaluated(base_url, task)
    evaluated(base_url, task, responses_api=True)


if __name__ == "__main__":
    run("inspect-ai", task, multiple, tools, history, package="inspect-ai")
