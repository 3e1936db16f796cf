"""Which characters of a conversation are trained, where a template of another maker laid it out.

What the template marks by {% generation %}, else each reply as a model has to say it: its content and calls, from where
an open reply begins. Either way the token that ends the reply is among them, for a model that is not taught it never
stops.
"""

import re
from collections.abc import Sequence

from sayso.base.errors import UserError
from sayso.token.template import Content, Laid, Messages, Span, Template
from sayso.token.tools import CALL, CALL_END

TALK = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."})


def around_reply(template: Template) -> tuple[str, str]:
    """Return the blanks with which an open reply begins, and the text after a reply's content from its first letter.

    That text begins with the control token that ends a turn, which may be another than `eos_token`: base models end
    texts with one, and are brought with a template that ends turns with another. Empty where the template takes other
    conversations than the plainest, and says so when it gets one.
    """
    try:
        prompt, text = template.text(TALK[:1], reply=True), template.text(TALK)
    except UserError:
        return "", ""
    words = TALK[1]["content"]
    return _blanks(prompt), text[text.rfind(words) + len(words) :].lstrip()


def trained_spans(
    laid: Laid, messages: Messages, contents: Sequence[Content], lead: str, ending: re.Pattern[str], *, whole: bool
) -> list[Span]:
    """Return the stretches to train, in order; a reply of weight 0 has none, nor has what a tool gave.

    `lead` are the blanks that an open reply begins with, `ending` matches, with blanks before it, what ends one. Raises
    `UserError` where a stretch cannot be told or, of a `whole` conversation, where nothing ends a reply.
    """
    replies = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    learned = [number for number in replies if messages[number].get("weight", 1) != 0]
    if laid.marked:
        if len(laid.marked) != len(replies) and len(learned) < len(replies):
            raise UserError(
                "This chat template marks other stretches than the replies, so that none can have weight 0."
            )
        same = len(laid.marked) == len(replies)
        spans = [span for number, span in enumerate(laid.marked) if not same or replies[number] in learned]
    else:
        written = [_written(number, messages, laid.text, contents) for number in learned]
        spans = [(_begin(start, laid.text, lead), end) for start, end in written]
    return [_ended(span, laid.text, contents, ending, whole) for span in spans]


def _written(number: int, messages: Messages, text: str, contents: Sequence[Content]) -> Span:
    """Return where a reply's content and its calls stand."""
    own = next((part for part in contents if part.message == number), None)
    if not messages[number].get("tool_calls"):
        assert own, "contents tell of each message that only calls no tools"
        return own.start, own.end
    begin = own.end if own else max((part.end for part in contents if part.message < number), default=0)
    stop = min((part.start for part in contents if part.message > number), default=len(text))
    first, last = text.find(CALL, begin, stop), text.rfind(CALL_END, begin, stop)
    if not begin <= first < last:
        raise UserError("This chat template changes calls of tools, so that nobody can tell what is trained.")
    return own.start if own else first, last + len(CALL_END)


def _begin(start: int, text: str, lead: str) -> int:
    """Return where a reply begins: blanks before its words that an open reply lacks are the model's to say."""
    blanks = _blanks(text[:start])
    return start - len(blanks) + len(lead) if blanks.startswith(lead) else start


def _blanks(text: str) -> str:
    return text[len(text.rstrip()) :]


def _ended(span: Span, text: str, contents: Sequence[Content], ending: re.Pattern[str], whole: bool) -> Span:
    """Return a stretch with the token that ends the reply, unless that is in it already."""
    start, end = span
    words = max((part.end for part in contents if start <= part.start and part.end <= end), default=start)
    if ending.search(text, words, end):
        return span
    found = ending.match(text, end)
    if not found and whole:
        raise UserError(
            "A chat template ends each reply with a control token, else a model never learns to stop; this one writes "
            f"{text[end : end + 20]!r} after a reply."
        )
    return start, found.end() if found else end
