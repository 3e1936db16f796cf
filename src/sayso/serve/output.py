"""The output of /v1/responses: takes pieces, builds output items, and returns each change as one of OpenAI's events.

Text becomes a `message`, reasoning a `reasoning` item, each tool call a `function_call`; one is closed before the next
begins.
"""

import time
import uuid
from typing import Any

from sayso.reply.calls import Delta
from sayso.reply.parser import ReplyParser
from sayso.reply.tools import Toolbox
from sayso.sample.sampling import Sampling
from sayso.serve.call_format import call_input
from sayso.serve.choice import Choice, ChoicePiece
from sayso.serve.logprobs import ReportedLogprobs
from sayso.token.reasoning import Reasoning

_Event = dict[str, Any]


def new_response(model: str, sampling: Sampling, echoed: dict[str, Any]) -> dict[str, Any]:
    """Return an empty response; `echoed` is what it repeats of its request."""
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        **echoed,
    }


class Output:
    """The growing output of one response."""

    def __init__(
        self,
        response: dict[str, Any],
        reported: ReportedLogprobs,
        choice: Choice,
        tools: Toolbox,
        reasoning: Reasoning = "none",
    ) -> None:
        """Take the response to fill, the token details, the choice, and the tools that its text may call.

        `reasoning`: whether the text may begin with reasoning.
        """
        self.response = response
        self._reported, self._choice, self._tools = reported, choice, tools
        self._arguments = ""  # of the open call of a custom tool
        self._parser = ReplyParser(calls=tools.calls, reasoning=reasoning)
        self._logprobs: list[dict[str, Any]] = []  # of tokens whose text has not come yet
        self._open: dict[str, Any] | None = None
        self._number = 0

    def begin(self) -> list[_Event]:
        """Return the initial events of a stream."""
        return [self._whole("response.created"), self._whole("response.in_progress")]

    def push(self, piece: ChoicePiece) -> list[_Event]:
        """Take a piece; return its events, including the final ones if it is the last."""
        deltas = self._parser.push(piece.text)
        if piece.finish:
            deltas += self._parser.close(cut=piece.finish != "stop")
        logprobs = self._reported.chat(piece)
        self._logprobs += logprobs["content"] if logprobs else []
        events: list[_Event] = []
        for delta in deltas:
            if delta.reasoning:
                events += self._add_reasoning(delta.reasoning)
            else:
                events += self._add_text(delta.content) if delta.call is None else self._add_call(delta)
        return events + (self._end(piece) if piece.finish else [])

    def fail(self, why: str) -> list[_Event]:
        """Return the events of a failed reply."""
        self.response |= {"status": "failed", "error": {"code": "server_error", "message": why}}
        return [self._whole("response.failed")]

    def _end(self, piece: ChoicePiece) -> list[_Event]:
        cut = piece.finish != "stop"
        events = []
        if not self.response["output"] or (self._logprobs and self._in_message):
            events += self._add_text("")  # an empty reply is also reported, and so are tokens without text
        events += self._close("incomplete" if cut else "completed")
        prompt_tokens = len(self._choice.request.prompt)
        self.response["usage"] = {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {"cached_tokens": self._choice.request.reused, "cache_write_tokens": 0},
            "output_tokens": piece.tokens,
            "output_tokens_details": {"reasoning_tokens": self._choice.text.reasoning_tokens},
            "total_tokens": prompt_tokens + piece.tokens,
        }
        status = "incomplete" if cut else "completed"
        self.response |= {"status": status, "completed_at": None if cut else int(time.time())}
        if cut:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        return [*events, self._whole(f"response.{status}")]

    def _add_text(self, text: str) -> list[_Event]:
        """Add text to the message; the tokens since the last text belong to it."""
        events: list[_Event] = []
        if not self._in_message:
            events = self._close() + self._begin(self._message())
        assert self._open is not None
        part, logprobs = self._open["content"][0], self._logprobs
        part["text"] += text
        part["logprobs"] += logprobs
        self._logprobs = []
        if not text and not logprobs:
            return events
        return [*events, self._event("output_text.delta", delta=text, logprobs=logprobs, **self._part())]

    def _add_reasoning(self, text: str) -> list[_Event]:
        """Add to the reasoning, which has no log-probabilities."""
        self._logprobs = []
        events: list[_Event] = []
        if self._open is None or self._open["type"] != "reasoning":
            own = {"type": "reasoning", "id": f"rs_{uuid.uuid4().hex}", "summary": [], "status": "in_progress"}
            events = self._close() + self._begin(own | {"content": [{"type": "reasoning_text", "text": ""}]})
        assert self._open is not None
        self._open["content"][0]["text"] += text
        return [*events, self._event("reasoning_text.delta", delta=text, **self._part())]

    def _add_call(self, delta: Delta) -> list[_Event]:
        """Add to a call, which has no log-probabilities."""
        self._logprobs = []
        events: list[_Event] = []
        if delta.id:
            events = self._close() + self._begin(self._new_call(delta))
        assert self._open is not None
        if self._open["type"] == "custom_tool_call":
            self._arguments += delta.arguments
            text = call_input(self._arguments)[len(self._open["input"]) :]
            self._open["input"] += text
            return events + ([self._event("custom_tool_call_input.delta", delta=text, **self._item())] if text else [])
        if delta.arguments:
            self._open["arguments"] += delta.arguments
            events.append(self._event("function_call_arguments.delta", delta=delta.arguments, **self._item()))
        return events

    def _new_call(self, delta: Delta) -> dict[str, Any]:
        self._arguments = ""
        head = {"call_id": delta.id, "name": delta.name}
        if delta.name in self._tools.custom:
            return {"type": "custom_tool_call", "id": f"ctc_{uuid.uuid4().hex}", **head, "input": ""}
        head = {"type": "function_call", "id": f"fc_{uuid.uuid4().hex}", **head}
        return head | {"arguments": "", "status": "in_progress"}

    def _message(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        own = {"type": "message", "id": f"msg_{uuid.uuid4().hex}", "role": "assistant", "status": "in_progress"}
        return own | {"content": [part]}

    def _begin(self, item: dict[str, Any]) -> list[_Event]:
        """Open an item."""
        self.response["output"].append(item)
        self._open = item
        bare = {**item, "content": []} if "content" in item else dict(item)
        events = [self._event("output_item.added", output_index=self._place, item=bare)]
        if "content" in item:
            part = {**item["content"][0]}  # a copy, because the item's own grows
            if "logprobs" in part:
                part["logprobs"] = []
            events.append(self._event("content_part.added", part=part, **self._part()))
        return events

    def _close(self, status: str = "completed") -> list[_Event]:
        """Close the open item, if any."""
        item = self._open
        if item is None:
            return []
        if "status" in item:
            item["status"] = status
        if item["type"] == "custom_tool_call":
            events = [self._event("custom_tool_call_input.done", input=item["input"], **self._item())]
        elif item["type"] == "message":
            part = item["content"][0]
            done = {"text": part["text"], "logprobs": part["logprobs"]}
            events = [self._event("output_text.done", **done, **self._part())]
            events.append(self._event("content_part.done", part={**part}, **self._part()))
        elif item["type"] == "reasoning":
            part = item["content"][0]
            events = [self._event("reasoning_text.done", text=part["text"], **self._part())]
            events.append(self._event("content_part.done", part={**part}, **self._part()))
        else:
            done = {"name": item["name"], "arguments": item["arguments"]}
            events = [self._event("function_call_arguments.done", **done, **self._item())]
        events.append(self._event("output_item.done", output_index=self._place, item={**item}))
        self._open = None
        return events

    @property
    def _in_message(self) -> bool:
        return self._open is not None and self._open["type"] == "message"

    @property
    def _place(self) -> int:
        return len(self.response["output"]) - 1

    def _item(self) -> dict[str, Any]:
        return {"item_id": self.response["output"][-1]["id"], "output_index": self._place}

    def _part(self) -> dict[str, Any]:
        return self._item() | {"content_index": 0}

    def _whole(self, kind: str) -> _Event:
        return self._event(kind.removeprefix("response."), response={**self.response})

    def _event(self, kind: str, **fields: Any) -> _Event:
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number - 1, **fields}
