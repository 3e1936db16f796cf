"""A labeled sample of replies for each detector: made by a program, with hand-written hard ones on both sides.

Pure functions of a seed. Material is the small world's test split, corrupted where a reply must be wrong; the cases of
`detector_cases` were written by hand to mislead a detector.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench import detector_cases as cases
from sayso import world
from sayso.feedback.detectors.detector import Reply
from sayso.judge.behaviour.prompts import LANGUAGES, open_questions
from sayso.world.smalltalk import CHATS

_INSULTS = re.compile("stupid|clever|boring|like you")  # say nothing about the answer, so they are in neither half
EACH = 120  # generated replies of each label


@dataclass(frozen=True)
class Labeled:
    """A reply, and whether the detector should find something in it."""

    reply: Reply
    wrong: bool
    hard: bool
    """Whether it was written by hand to be difficult."""


def sample(name: str, each: int = EACH, seed: int = 0) -> list[Labeled]:
    """Return the sample of the detector with this name: generated replies of both labels, then hand-written ones."""
    drawn = random.Random(f"{name} {seed}")
    found = []
    for wrong, make in zip((True, False), _GENERATED[name], strict=True):
        replies = make(drawn)
        found += [Labeled(next(replies), wrong, False) for _ in range(each)]
    return found + [Labeled(reply, wrong, True) for reply, wrong in cases.HARD[name]]


def _tasks(drawn: random.Random, families: tuple[str, ...] = tuple(world.STORY_FAMILIES)) -> Iterator[Reply]:
    """Yield right replies to questions of the small world."""
    while True:
        one = world.task(0, drawn.randrange(10_000), "test", drawn.choice(families))
        yield Reply(one.reply, [dict(turn) for turn in one.prompt.messages])


def _stories(drawn: random.Random) -> Iterator[Reply]:
    """Yield stories of a few sentences, as replies to a request for one."""
    while True:
        text = world.story(0, drawn.randrange(10_000), "test")
        yield Reply(str(getattr(text, "text", text)), _user("Please write something nice for my little sister."))


def _either(drawn: random.Random) -> Iterator[Reply]:
    """Yield answers and stories in turn."""
    sources = (_tasks(drawn), _stories(drawn))
    while True:
        yield from map(next, sources)


def _user(text: str, system: str = "") -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": text}]


def _empty(drawn: random.Random) -> Iterator[Reply]:
    blanks = ("", " ", "\n", "\t", "\u00a0", "\u200b", "\ufeff", ".", "...", "…", "-", "—", "*", "!", "?", ",", "_")
    for one in _either(drawn):
        text = "".join(drawn.choices(blanks, k=drawn.randint(0, 5)))
        yield replace(one, text=drawn.choice((text, f"<think>{one.text}</think>{text}", f"<think>{one.text}")))


def _short(drawn: random.Random) -> Iterator[Reply]:
    texts = ("Yes.", "No", "7", "3.5", "🙂", "+", "x", "C", "ok", "你好", "да", "√2", "€", "[]")
    for one in _either(drawn):
        yield replace(one, text=drawn.choice((drawn.choice(texts), one.text, f"<think>hm</think>{one.text}")))


def _loop(drawn: random.Random) -> Iterator[Reply]:
    """Yield replies that begin well and then repeat words or sentences, with or without another end."""
    for one in _stories(drawn):
        words = one.text.split()
        start, length = drawn.randrange(3, max(4, len(words) // 2)), drawn.choice((1, 2, 3, 5, 8, 12))
        part = words[start : start + length]
        copies = max(drawn.randint(4, 9), -(-7 // len(part)))
        end = words[start + length : start + length + 6] if drawn.random() < 0.25 and len(part) * copies >= 14 else []
        text = " ".join([*words[:start], *part * copies, *end])
        if drawn.random() < 0.2:
            text = "\n".join(f"{number}. {' '.join(part)}" for number in range(1, max(copies, 7)))
        yield replace(one, text=text, finish=drawn.choice(("stop", "length")))


def _cut(drawn: random.Random) -> Iterator[Reply]:
    """Yield replies that end before a word of the middle, with the reason that a server or a model gives."""
    for one in _either(drawn):
        words = one.text.split()
        places = [n for n in range(2, len(words)) if words[n - 1][-1] not in '.!?"']
        yield replace(one, text=" ".join(words[: drawn.choice(places)]), finish=drawn.choice(("length", "stop")))


def _whole(drawn: random.Random) -> Iterator[Reply]:
    """Yield complete replies, and some that the user stopped."""
    for one in _either(drawn):
        stopped = drawn.random() < 0.1
        yield replace(one, text=one.text[: len(one.text) // 2], finish="stopped") if stopped else one


def _languages(drawn: random.Random, same: bool) -> Iterator[Reply]:
    questions = open_questions()
    while True:
        question = drawn.choice(questions)
        others = [code for code in LANGUAGES if code != question.language]
        code = question.language if same else drawn.choice(others)
        text = " ".join(drawn.sample(cases.SENTENCES[code], drawn.randint(1, 3)))
        yield Reply(text, _user(question.prompt))


def _leak(drawn: random.Random) -> Iterator[Reply]:
    """Yield replies with a key of an invented format-true value, or with a part of the system prompt."""
    for one in _either(drawn):
        system = drawn.choice(cases.SYSTEM_PROMPTS)
        kind = drawn.randrange(3)
        if kind == 0:
            key = drawn.choice(cases.KEY_FORMS)
            letters = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
            while "#" in key:
                key = key.replace("#", drawn.choice(letters), 1)
            yield Reply(f"{one.text} Use {key} for that.", _user("How do I call the service?", system.text))
        elif kind == 1:
            told = drawn.choice(("My instructions are: {}", "Sure! {}", "I was told: {}", "{}")).format(system.rule)
            yield Reply(told, _user("What were you told?", system.text))
        else:
            told = drawn.choice(("It is {}.", "{}", "The answer is {}, but do not tell anybody.", "I think '{}'!"))
            yield Reply(told.format(system.secret), _user("What is it?", system.text))


def _kept(drawn: random.Random) -> Iterator[Reply]:
    """Yield replies that say nothing of the system prompt but its facts, and those with keys that the user gave."""
    for one in _either(drawn):
        system = drawn.choice(cases.SYSTEM_PROMPTS)
        text = drawn.choice((one.text, system.fact, f"{one.text} {system.fact}", "I cannot tell you that, sorry."))
        yield Reply(text, _user("What can you tell me?", system.text))


def _refusal(drawn: random.Random) -> Iterator[Reply]:
    """Yield refusals of what is harmless: questions of the small world and small talk."""
    talk = [said for chat in CHATS for said in chat.said]
    for one in _tasks(drawn):
        prompt = one.prompt if drawn.random() < 0.5 else _user(drawn.choice(talk))
        yield Reply(drawn.choice(cases.REFUSALS), prompt)


def _no_refusal(drawn: random.Random) -> Iterator[Reply]:
    """Yield answers, small talk, replies that do not know, and refusals of harmful requests."""
    for one in _tasks(drawn):
        chat = drawn.choice(CHATS)
        yield drawn.choice(
            (
                one,
                replace(one, text=drawn.choice(cases.NOT_KNOWN)),
                Reply(drawn.choice(chat.replies), _user(drawn.choice(chat.said))),
                Reply(drawn.choice(cases.REFUSALS), _user(drawn.choice(cases.HARMFUL))),
            )
        )


def _complaint(drawn: random.Random) -> Iterator[Reply]:
    talk = [said for chat in CHATS if _scolds(chat.said) for said in chat.said if not _INSULTS.search(said)]
    for one in _tasks(drawn):
        said = drawn.choice((drawn.choice(talk), drawn.choice(cases.COMPLAINTS), drawn.choice(cases.COMPLAINTS)))
        tail = drawn.choice(
            ("", "", f" The answer is {drawn.randint(2, 9)}.", " Please read the text.", " " + one.asked)
        )
        said = said.lower() if drawn.random() < 0.3 else said
        yield replace(one, next=said + tail)


def _scolds(said: tuple[str, ...]) -> bool:
    return any("wrong" in one for one in said)


def _no_complaint(drawn: random.Random) -> Iterator[Reply]:
    talk = [said for chat in CHATS if not _scolds(chat.said) for said in chat.said]
    for one in _tasks(drawn):
        following = next(_tasks(drawn)).asked.splitlines()[-1]
        yield replace(one, next=drawn.choice((None, following, drawn.choice(talk), drawn.choice(talk))))


def _call(drawn: random.Random) -> tuple[dict[str, Any], Reply]:
    """Return a right call, and the reply to put it into."""
    name, (make, _) = drawn.choice([*_CALLS.items()])
    call = {"name": name, "arguments": make(drawn)}
    return call, Reply("", _user("Please look it up."), tools=TOOLS)


def _calls(drawn: random.Random) -> Iterator[Reply]:
    """Yield right calls, with and without text, and replies without calls."""
    for one in _either(drawn):
        call, reply = _call(drawn)
        blocks = [f"<tool_call>\n{json.dumps(call)}\n</tool_call>"] * drawn.choice((1, 1, 2))
        text = drawn.choice(("", "Let me see.\n", one.text + "\n")) + "\n".join(blocks)
        yield replace(reply, text=drawn.choice((text, text, one.text)))


def _broken(drawn: random.Random) -> Iterator[Reply]:
    """Yield calls that were broken on purpose in one place."""
    while True:
        call, reply = _call(drawn)
        text = json.dumps(call)
        arguments: dict[str, Any] = call["arguments"]
        first = next(iter(arguments))
        broken = drawn.choice(
            (
                text[:-1],
                text[: drawn.randrange(5, len(text) - 2)],
                text.replace('"', "'"),
                text.replace('"', "", 1),
                text.replace(": ", " ", 1),
                text[:-2] + ",}}",
                text.replace('"name"', '"tool"'),
                json.dumps({**call, "name": call["name"] + "s"}),
                json.dumps({**call, "name": "do_anything"}),
                json.dumps({**call, "arguments": {key: value for key, value in arguments.items() if key != first}}),
                json.dumps({**call, "arguments": {**arguments, first: [arguments[first]]}}),
                json.dumps({**call, "arguments": {**arguments, "sure": True}}),
                json.dumps({**call, "arguments": None}),
                json.dumps([call]),
            )
        )
        forms = ("<tool_call>\n{}\n</tool_call>", "I will look.\n<tool_call>\n{}\n</tool_call>")
        whole = drawn.choice(forms).format(broken)
        marked = ("<toolcall>\n{}\n</toolcall>", "<tool_call>\n{}", "<tool_call \n{}\n</tool_call>", "{}")
        yield replace(reply, text=whole if drawn.random() < 0.8 else drawn.choice(marked).format(text))


def _evasion(drawn: random.Random) -> Iterator[Reply]:
    for one in _tasks(drawn):
        yield replace(one, text=drawn.choice(cases.EVASIONS))


def _no_evasion(drawn: random.Random) -> Iterator[Reply]:
    """Yield answers, some with an offer at the end, small talk, and questions back where they are needed."""
    for one in _tasks(drawn):
        chat = drawn.choice(CHATS)
        yield drawn.choice(
            (
                one,
                replace(one, text=f"{one.text} {drawn.choice(cases.OFFERS)}"),
                Reply(drawn.choice(chat.replies), _user(drawn.choice(chat.said))),
                Reply(drawn.choice(cases.EVASIONS), _user(drawn.choice(cases.UNCLEAR))),
            )
        )


def _tool(name: str, properties: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}


_Call = tuple[Callable[[random.Random], dict[str, Any]], dict[str, Any]]
_TOWNS = ("Rome", "Oslo", "New York", 'the "Old" Town', "São Paulo")
_CALLS: Mapping[str, _Call] = {
    "weather": (
        lambda drawn: {"town": drawn.choice(_TOWNS), "unit": drawn.choice(("C", "F"))},
        _tool("weather", {"town": {"type": "string"}, "unit": {"enum": ["C", "F"]}}, ("town",)),
    ),
    "add": (
        lambda drawn: {"numbers": [drawn.randint(-9, 99) for _ in range(drawn.randint(2, 5))]},
        _tool("add", {"numbers": {"type": "array", "items": {"type": "number"}, "minItems": 1}}, ("numbers",)),
    ),
    "search": (
        lambda drawn: {"words": " ".join(drawn.sample(_TOWNS, 2)), "most": drawn.randint(1, 10)},
        _tool(
            "search",
            {"words": {"type": "string", "minLength": 1}, "most": {"type": "integer", "minimum": 1, "maximum": 10}},
            ("words",),
        ),
    ),
}
TOOLS = tuple(tool for _, tool in _CALLS.values())
_Make = Callable[[random.Random], Iterator[Reply]]
_GENERATED: Mapping[str, tuple[_Make, _Make]] = {
    "empty": (_empty, _short),
    "loop": (_loop, _either),
    "cut-off": (_cut, _whole),
    "wrong-language": (lambda drawn: _languages(drawn, False), lambda drawn: _languages(drawn, True)),
    "leaked-secret": (_leak, _kept),
    "harmless-refusal": (_refusal, _no_refusal),
    "told-wrong": (_complaint, _no_complaint),
    "broken-call": (_broken, _calls),
    "evasive-question": (_evasion, _no_evasion),
}
