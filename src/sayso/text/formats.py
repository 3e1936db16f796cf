"""Convert a row of a file, in one of the common formats for text and conversations, to a document.

A conversation is `messages` (OpenAI's and ours: role, content, tool_calls, weight, with `tools` next to them),
`conversations` (ShareGPT's: from, value), or `instruction`, `input`, `output` (Alpaca's); anything else is `text`.
Messages are returned in OpenAI's format, otherwise unchanged. Raises `UserError` for an invalid one.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.base.jsonl import kind_of, parse, repair_surrogates
from sayso.text.calls import as_data, has_id, resolved, with_calls
from sayso.text.conversations import as_text
from sayso.text.document import Document, Message, Messages, Place

CALL = "function_call"
_ROLES = {
    **{name: name for name in ("system", "user", "assistant", "tool")},
    "developer": "system",
    "human": "user",
    "observation": "tool",
    "function": "tool",
    CALL: "assistant",
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
}
NO_TEXT = "A row must hold UTF-8 text; this one does not."
EXTRA_COLUMNS = ("system", "tools", "input", "output", "title")  # read together with the chosen column


def column_of(names: Collection[str], chosen: str | None) -> str:
    """Return the column to read: the chosen one, else that of a conversation, else "text"."""
    for name in (chosen,) if chosen else ("messages", "conversations", "instruction", "text"):
        if name in names and (name != "instruction" or chosen or "output" in names):
            return name
    missing = (
        f"column '{chosen}'" if chosen else "column 'text', 'messages', 'conversations', or 'instruction' and 'output'"
    )
    present = ", ".join([*names][:12]) or "none"
    raise UserError(
        f"There is no {missing}; the columns are {present}.{nearest(chosen or 'text', names)} Choose one: "
        "SOURCE?column=NAME."
    )


def document_of(row: Any, chosen: str | None, at: Place) -> Document:
    """Return a row as a document; raises `UserError` if it is neither text nor a conversation."""
    if row is None:
        raise UserError(NO_TEXT)
    if not isinstance(row, Mapping):
        raise UserError(f"A row must be a JSON object; this is {kind_of(row)}.")
    column = column_of(row, chosen)
    value, title = row[column], row.get("title")
    title = title if isinstance(title, str) else ""
    if column != "instruction" or chosen:
        if value is None or isinstance(value, str):
            return Document(value or "", title, at=at)
        if not isinstance(value, Sequence):
            raise UserError(f"A document must be a string or a list of messages; '{column}' is {kind_of(value)}.")
    turns = _instruction(row) if column == "instruction" and not chosen else [_turn(turn) for turn in value]
    messages: Messages = _with_system(row.get("system"), turns)
    messages = as_data(resolved(_joined(messages))) if with_calls(messages) else messages
    tools = _tools(row.get("tools"))
    return Document(as_text(messages), title, tuple(messages), tools=tools, at=at)


def _instruction(row: Mapping[str, Any]) -> list[Message]:
    """Return a row in Alpaca's format as a question, followed by its input as a paragraph, and the answer."""
    instruction, context, answer = (_content(row.get(name)) for name in ("instruction", "input", "output"))
    question = f"{instruction}\n\n{context}" if context else instruction
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _turn(turn: Any) -> Message:
    """Return one turn as a message; its fields have OpenAI's or ShareGPT's names."""
    if not isinstance(turn, Mapping):
        raise UserError(f"A turn must be an object with role and content, or from and value; got {turn!r:.100}.")
    role = turn.get("role") or turn.get("from")
    if not isinstance(role, str) or role not in _ROLES:
        raise UserError(f"A turn's role must be one of {', '.join(_ROLES)}; got {role!r}.{nearest(str(role), _ROLES)}")
    content = _content(turn["content"] if "content" in turn else turn.get("value"))
    message: dict[str, Any] = {"role": _ROLES[role], "content": content}
    if role == CALL:
        message |= {"content": "", "tool_calls": _calls(content)}
    elif turn.get(CALL):  # OpenAI's older format, with results of the role "function"
        message["tool_calls"] = [turn[CALL]]
    for name in ("tool_calls", "tool_call_id", "name"):
        if turn.get(name) and (name != "name" or message["role"] == "tool"):
            message[name] = turn[name]
    if turn.get("weight") not in (None, 0, 1):
        raise UserError(f"A turn's weight must be 0 (read, not trained) or 1; got {turn['weight']!r}.")
    if turn.get("weight") == 0:
        message["weight"] = 0
    return message


def _content(content: Any) -> str:
    """Return the text of a content: a string, None, or OpenAI's list of text parts."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, Sequence) else [content]
    if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts):
        raise UserError(f"A turn's content must be text; got {content!r:.100}.")
    return "".join(part["text"] for part in parts)


def _calls(value: str) -> list[Any]:
    """Return the calls in a `function_call` turn of ShareGPT, as JSON: one or a list."""
    try:
        calls = parse(value.encode())
    except ValueError as error:
        raise UserError(
            f"A turn from {CALL} must be JSON with name and arguments; got {value!r:.100} ({error})."
        ) from error
    return calls if isinstance(calls, list) else [calls]


def _joined(messages: Messages) -> list[Message]:
    """Return messages with consecutive ShareGPT calls, one per turn, joined into one turn."""
    done: list[Message] = []
    for message in messages:
        before = done[-1] if done else {}
        if _only_calls(message) and _only_calls(before) and message.get("weight") == before.get("weight"):
            done[-1] = {**before, "tool_calls": [*before["tool_calls"], *message["tool_calls"]]}
        else:
            done.append(message)
    return done


def _only_calls(message: Message) -> bool:
    """Whether a turn consists of calls without ids."""
    calls = message.get("tool_calls")
    return isinstance(calls, list) and not message["content"] and not any(map(has_id, calls))


def _with_system(system: Any, messages: Messages) -> list[Message]:
    """Return messages preceded by the system message in a separate column, if any."""
    if isinstance(system, str) and system and not (messages and messages[0]["role"] == "system"):
        return [{"role": "system", "content": system}, *messages]
    return [*messages]


def _tools(tools: Any) -> tuple[dict[str, Any], ...]:
    """Return the tools that a conversation may call, from a list or its JSON; plain functions are wrapped as tools."""
    try:
        tools = parse(repair_surrogates(tools).encode()) if isinstance(tools, str) and tools.strip() else tools or []
    except ValueError as error:
        raise UserError(f"Tools must be a list of functions, or its JSON; got {tools!r:.100} ({error}).") from error
    if not isinstance(tools, Sequence) or not all(isinstance(tool, Mapping) for tool in tools):
        raise UserError(f"Tools must be a list of functions, or its JSON; got {tools!r:.100}.")
    return tuple(dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)} for tool in tools)
