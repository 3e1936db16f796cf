"""Find the characters of a conversation that are trained, if a third-party template rendered it.

These are the spans that the template marks by {% generation %}, else each reply as the model must write it: its content
and calls, from the start of an open reply. Either way they include the token that ends the reply, or the model would
not learn to stop. If a template changes its input, a reply is the text between its header and its end; replies that
cannot be located even then are counted, and not trained.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError
from sayso.text.document import Messages
from sayso.token.template import Content, Laid, Span, Template
from sayso.token.tools import CALL, CALL_END

TALK = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."})
THOUGHT = "<think>"  # some templates open a reply with it, and leave it out of earlier ones


@dataclass(frozen=True)
class Around:
    """What a template writes around a reply; all empty where it takes other conversations than the plainest."""

    header: str = ""
    """What opens a reply."""
    lead: str = ""
    """The blanks at the end of that."""
    after: str = ""
    """What follows a reply's content, from its first letter.

    It begins with the control token that ends a turn, which may be another than `eos_token`: base models end texts with
    one, and are brought with a template that ends turns with another.
    """


def around_reply(template: Template) -> Around:
    """Return what a template writes around a reply."""
    try:
        said, prompt, text = template.text(TALK[:1]), template.text(TALK[:1], reply=True), template.text(TALK)
    except UserError:
        return Around()
    words = TALK[1]["content"]
    header = prompt.removeprefix(said) if prompt.startswith(said) else ""
    return Around(header, _blanks(prompt), text[text.rfind(words) + len(words) :].lstrip())


def trained_spans(
    laid: Laid,
    messages: Messages,
    contents: Sequence[Content] | None,
    around: Around,
    ending: re.Pattern[str],
) -> tuple[list[Span], int]:
    """Return the spans to train, in order, and the number of replies left out because they were not found.

    A reply of weight 0 has none, nor has what a tool gave. `ending` matches, with blanks before it, what ends a reply.
    Raises `UserError` if the template marks other spans than the replies, and some replies have weight 0.
    """
    replies = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    learned = {number for number in replies if messages[number].get("weight", 1) != 0}
    if laid.marked:
        if len(laid.marked) != len(replies) and len(learned) < len(replies):
            raise UserError("This chat template marks other spans than the replies, so weight 0 is not supported.")
        same = len(laid.marked) == len(replies)
        spans = [span for number, span in enumerate(laid.marked) if not same or replies[number] in learned]
        return [_ended(span, _words_end(span, contents or ()), laid.text, ending) for span in spans], 0
    if contents is None:
        turns = _between(laid.text, around.header, ending)
        if len(turns) != len(replies):
            return [], len(learned)
        return [turn for number, turn in zip(replies, turns, strict=True) if number in learned], 0
    written = [_written(number, messages, laid.text, contents) for number in sorted(learned)]
    found = [(_begin(span[0], laid.text, around.lead), span[1]) for span in written if span]
    return [_ended(span, span[1], laid.text, ending) for span in found], len(written) - len(found)


def check_ends(spans: Sequence[Span], text: str, ending: re.Pattern[str]) -> None:
    """Raise `UserError` if a span has no token that ends the reply."""
    for start, end in spans:
        if not ending.search(text, start, end):
            raise UserError(
                "A chat template must end each reply with a control token, or the model never learns to stop; this one "
                f"writes {text[end : end + 20]!r} after a reply."
            )


def _between(text: str, header: str, ending: re.Pattern[str]) -> list[Span]:
    """Return the text between the header of each reply and its end, the end included.

    The user cannot type a header: it has a control token, and those typed by the user are hidden before this runs.
    """
    header = header.split(THOUGHT)[0]
    found = []
    for opened in re.finditer(re.escape(header), text) if header.strip() else ():
        ended = ending.search(text, opened.end())
        if ended:
            found.append((opened.end(), ended.end()))
    return found


def _written(number: int, messages: Messages, text: str, contents: Sequence[Content]) -> Span | None:
    """Return the spans of a reply's content and its calls; None if the template changes its calls."""
    place = bisect_left(contents, number, key=lambda part: part.message)
    own = contents[place] if place < len(contents) and contents[place].message == number else None
    if not messages[number].get("tool_calls"):
        assert own, "contents tell of each message that only calls no tools"
        return own.start, own.end
    begin = own.end if own else contents[place - 1].end if place else 0
    after = place + 1 if own else place
    stop = contents[after].start if after < len(contents) else len(text)
    first, last = text.find(CALL, begin, stop), text.rfind(CALL_END, begin, stop)
    if not begin <= first < last:
        return None
    return own.start if own else first, last + len(CALL_END)


def _begin(start: int, text: str, lead: str) -> int:
    """Return where a reply begins: blanks before its words that an open reply lacks are the model's to say."""
    blanks = 0
    while blanks < start and text[start - blanks - 1].isspace():
        blanks += 1
    return start - blanks + len(lead) if text.startswith(lead, start - blanks) and len(lead) <= blanks else start


def _blanks(text: str) -> str:
    return text[len(text.rstrip()) :]


def _words_end(span: Span, contents: Sequence[Content]) -> int:
    """Return the end of the last content within a span."""
    place = bisect_right(contents, span[1], key=lambda part: part.end)
    return contents[place - 1].end if place and contents[place - 1].start >= span[0] else span[0]


def _ended(span: Span, words: int, text: str, ending: re.Pattern[str]) -> Span:
    """Extend a span, whose last words end at `words`, by the token that ends the reply."""
    start, end = span
    if ending.search(text, words, end):
        return span
    found = ending.match(text, end)
    return start, found.end() if found else end
