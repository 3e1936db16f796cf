"""The words of a route whose requests are converted to chats: its own names for a chat's fields, in every error.

Takes paths and errors of a chat, such as `messages[1].tool_call_id`; returns those of the body that the client sent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from sayso.serve.errors import ApiError
from sayso.serve.openai import ChatRequest
from sayso.serve.problems import first_problem

_QUOTED = re.compile(r"'([a-z_]+(?:\[\d+\]|\.\w+)*)'")  # a field in a message; values are in double quotes
_MESSAGE = re.compile(r"messages\[(\d+)\]")


@dataclass(frozen=True)
class Wording:
    """A route's names of a chat's fields."""

    fields: Mapping[str, str]
    """The route's name by a regular expression of the chat's; several may apply to one path, in this order."""
    places: Sequence[str] = ()
    """The path of the part of the body that each message of the chat comes from."""

    def path(self, name: str) -> str:
        """Return the route's name of a field of the chat."""
        found = _MESSAGE.match(name)
        if found is not None and int(found[1]) < len(self.places):
            place = self.places[int(found[1])]
            name = place + name[found.end() :] if "[" in place else place  # a plain text has no fields
        for pattern, own in self.fields.items():
            name = re.sub(pattern, own, name)
        return name

    def text(self, message: str) -> str:
        """Return an error's message with the route's names."""
        return _QUOTED.sub(lambda found: f"'{self.path(found[1])}'", message)

    def at(self, places: Sequence[str]) -> "Wording":
        """Return it for one body, whose messages come from these places."""
        return replace(self, places=places)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Rename the fields in the errors that are raised within."""
        try:
            yield
        except ApiError as error:
            param = None if error.param is None else self.path(error.param)
            raise ApiError(error.status, self.text(error.message), error.code, param) from error

    def chat(self, body: Mapping[str, Any]) -> ChatRequest:
        """Return a checked chat; `ApiError` names the route's fields."""
        with self.errors():
            try:
                return ChatRequest.model_validate(body)
            except ValidationError as error:
                raise ApiError(400, *first_problem(error.errors(), body)) from error


CHAT = Wording({})
FUNCTIONS = Wording(
    {
        r"^tools(\[\d+\])\.function\b": r"functions\1",
        r"^tools\b": "functions",
        r"^tool_choice\b.*": "function_call",
    }
)
"""OpenAI's older form of a chat's tools."""
