"""Find the trained characters of a conversation that a third-party template rendered.

These are the spans that the template marks with {% generation %}, else each reply as the model must write it: its
content and calls, from the start of an open reply. Either way they include the token that ends the reply, so that the
model learns to stop. If a template changes its input, a reply is the text between its header and its end; replies that
cannot be located even then are counted, and not trained.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError
from sayso.text.document import Messages
from sayso.token.template import THINK, Content, Rendered, Span, Template
from sayso.token.tools import CALL, CALL_END

EXAMPLE = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Good day."})


@dataclass(frozen=True)
class Around:
    """What a template writes around a reply; all empty if it rejects the simplest conversation."""

    header: str = ""
    """The text that opens a reply."""
    lead: str = ""
    """The white space at its end."""
    after: str = ""
    """The text after a reply's content, without leading white space.

    It begins with the control token that ends a turn, which may differ from `eos_token`: base models end texts with
    one, and their template ends turns with another.
    """


def around_reply(template: Template) -> Around:
    """Return what a template writes around a reply."""
    try:
        before, prompt, text = (
            template.text(EXAMPLE[:1]),
            template.text(EXAMPLE[:1], reply=True),
            template.text(EXAMPLE),
        )
    except UserError:
        return Around()
    words = EXAMPLE[1]["content"]
    header = prompt.removeprefix(before) if prompt.startswith(before) else ""
    return Around(header, _trailing_space(prompt), text[text.rfind(words) + len(words) :].lstrip())


def trained_spans(
    rendered: Rendered,
    messages: Messages,
    contents: Sequence[Content] | None,
    around: Around,
    ending: re.Pattern[str],
) -> tuple[list[Span], int]:
    """Return the spans to train, in order, and the number of replies left out because they were not found.

    Replies of weight 0 and tool results have no span. `ending` matches the end of a reply, with the white space before.
    Raises `UserError` if the template marks other spans than the replies, and some replies have weight 0.
    """
    replies = [number for number, message in enumerate(messages) if message.get("role") == "assistant"]
    learned = {number for number in replies if messages[number].get("weight", 1) != 0}
    if rendered.marked:
        if len(rendered.marked) != len(replies) and len(learned) < len(replies):
            raise UserError("This chat template marks other spans than the replies, so weight 0 is not supported.")
        same = len(rendered.marked) == len(replies)
        spans = [span for number, span in enumerate(rendered.marked) if not same or replies[number] in learned]
        return [_ended(span, _words_end(span, contents or ()), rendered.text, ending) for span in spans], 0
    if contents is None:
        turns = _between(rendered.text, around.header, ending)
        if len(turns) != len(replies):
            return [], len(learned)
        return [turn for number, turn in zip(replies, turns, strict=True) if number in learned], 0
    written = [_written(number, messages, rendered.text, contents) for number in sorted(learned)]
    found = [(_begin(span[0], rendered.text, around.lead), span[1]) for span in written if span]
    return [_ended(span, span[1], rendered.text, ending) for span in found], len(written) - len(found)


def check_ends(spans: Sequence[Span], text: str, ending: re.Pattern[str]) -> None:
    """Raise `UserError` if a span has no token that ends the reply."""
    for start, end in spans:
        if not ending.search(text, start, end):
            raise UserError(
                "A chat template must end each reply with a control token, or the model does not learn to stop; this "
                f"one writes {text[end : end + 20]!r} after a reply."
            )


def _between(text: str, header: str, ending: re.Pattern[str]) -> list[Span]:
    """Return the text between the header of each reply and its end, the end included.

    The user cannot type a header: it contains a control token, and typed ones are hidden before this runs.
    """
    header = header.split(THINK)[0]  # some templates open a reply with it, but omit it from earlier ones
    found = []
    for opening in re.finditer(re.escape(header), text) if header.strip() else ():
        end = ending.search(text, opening.end())
        if end:
            found.append((opening.end(), end.end()))
    return found


def _written(number: int, messages: Messages, text: str, contents: Sequence[Content]) -> Span | None:
    """Return the span of a reply's content and its calls; None if the template changes its calls."""
    place = bisect_left(contents, number, key=lambda part: part.message)
    own = contents[place] if place < len(contents) and contents[place].message == number else None
    if not messages[number].get("tool_calls"):
        assert own, "every message has a content unless it only calls tools"
        return own.start, own.end
    begin = own.end if own else contents[place - 1].end if place else 0
    after = place + 1 if own else place
    stop = contents[after].start if after < len(contents) else len(text)
    first, last = text.find(CALL, begin, stop), text.rfind(CALL_END, begin, stop)
    if not begin <= first < last:
        return None
    return own.start if own else first, last + len(CALL_END)


def _begin(start: int, text: str, lead: str) -> int:
    """Return where a reply begins: the model writes the white space before its text, except that of an open reply."""
    blanks = 0
    while blanks < start and text[start - blanks - 1].isspace():
        blanks += 1
    return start - blanks + len(lead) if text.startswith(lead, start - blanks) and len(lead) <= blanks else start


def _trailing_space(text: str) -> str:
    return text[len(text.rstrip()) :]


def _words_end(span: Span, contents: Sequence[Content]) -> int:
    """Return the end of the last content within a span."""
    place = bisect_right(contents, span[1], key=lambda part: part.end)
    return contents[place - 1].end if place and contents[place - 1].start >= span[0] else span[0]


def _ended(span: Span, words: int, text: str, ending: re.Pattern[str]) -> Span:
    """Extend a span, whose text ends at `words`, by the token that ends the reply."""
    start, end = span
    if ending.search(text, words, end):
        return span
    found = ending.match(text, end)
    return start, found.end() if found else end
