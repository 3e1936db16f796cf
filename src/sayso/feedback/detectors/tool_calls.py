"""Tool calls that are broken: no JSON, no such tool, or arguments that its schema does not allow."""

import json
import re

from sayso.feedback.detectors.detector import Reply
from sayso.reply.arguments import mismatch
from sayso.token.tools import CALL, CALL_END

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_CALL = re.compile(rf"{CALL}(.*?)({CALL_END}|(?={CALL})|\Z)", re.DOTALL)
_MARKER = re.compile(r"<\s*/?\s*(?:tool|function)[ _-]?calls?\s*/?>|<tool_call\b(?!>)|\[TOOL_CALLS?\]", re.I)


def broken_call(reply: Reply) -> str | None:
    """Return what is wrong with the first broken call of a reply; markers within code do not count.

    A call without its end in a reply that was cut off is not broken.
    """
    text = _CODE.sub("", reply.text)
    for call in _CALL.finditer(text):
        if not call[2] and call.end() == len(text) and reply.finish != "stop":
            return None
        if wrong := _wrong(call[1], reply):
            return wrong
        if not call[2]:
            return f"a call without {CALL_END}"
    rest = _CALL.sub("", text)
    if found := _MARKER.search(rest):
        return f"a marker '{found[0]}' that begins no call"
    return _bare(rest.strip(), reply)


def _wrong(text: str, reply: Reply) -> str | None:
    """Return what is wrong with the text of a call, if anything."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return "a call that is not JSON"
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return "a call without a name"
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return "arguments that are not JSON"
    if not isinstance(arguments, dict):
        return "arguments that are not an object"
    tools = {one["function"]["name"]: one["function"] for one in reply.tools}
    if not tools:
        return None
    if call["name"] not in tools:
        return f"there is no tool '{call['name'][:40]}'"
    wrong = mismatch(arguments, tools[call["name"]].get("parameters") or {})
    return f"{call['name']}: {wrong}" if wrong else None


def _bare(text: str, reply: Reply) -> str | None:
    """Return whether a reply is nothing but a call to a tool, without its markers."""
    names = {one["function"]["name"] for one in reply.tools}
    try:
        call = json.loads(text) if names and text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    return f"a call without {CALL}" if isinstance(call, dict) and call.get("name") in names else None
