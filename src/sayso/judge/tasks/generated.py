"""Generate the answers of a task and score them: exact match, F1, final number, IFEval's instructions, or tests.

Takes anything that replies to prompts, a local model or a server; like `answer_items`, keeps answers a few at a time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from sayso.base.errors import UserError
from sayso.judge.answers.ifeval import judge_row
from sayso.judge.answers.number import gsm8k
from sayso.judge.answers.sandbox import run_program
from sayso.judge.answers.text import squad1
from sayso.judge.endpoint import Endpoint
from sayso.judge.tasks.item import Instructed, Item, NumberedItem, Programming, Question, right_of
from sayso.judge.tasks.kept import Answer, Asked, Memory, answer_new
from sayso.judge.tasks.task import Task, prompt_hash, prompt_of
from sayso.reply.conversation import Replier
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages

_AT_ONCE = 32  # items answered between two writes
_LINE = ("\n",)  # where an answer as plain text ends
_FUNCTION = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a function ends, as on HumanEval (Chen et al. 2021): at the next unindented line of these kinds."""
_MOST_STOPS = 4  # that OpenAI's API takes


@dataclass(frozen=True)
class Said:
    """A reply in a conversation."""

    text: str
    ended: bool
    """Whether the model ended it, rather than the length limit."""


class Responder(Protocol):
    """Something that answers prompts greedily, as messages or as plain text."""

    def respond(self, prompts: Sequence[str], task: Task) -> list[str | None]:
        """Return the answer to each prompt; None if the prompt is too long."""
        ...

    def converse(self, conversations: Sequence[Messages], max_tokens: int) -> list[Said | None]:
        """Return the reply to each conversation; None if it is too long."""
        ...


class ModelResponder:
    """A model on this machine."""

    def __init__(self, replier: Replier) -> None:
        self.replier = replier

    def respond(self, prompts: Sequence[str], task: Task) -> list[str | None]:
        """Return the answer to each prompt; None if it leaves no room. Without a chat template, all is plain text."""
        replier, chat = self.replier, task.chat and self.replier.converses
        talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        room = replier.context - task.max_tokens
        sizes = [len(replier.prompt_ids(talk) if chat else replier.text_ids(talk[0]["content"])) for talk in talks]
        fits = [number for number, size in enumerate(sizes) if size <= room]
        sampling = Sampling(temperature=0, max_tokens=task.max_tokens, stop=() if task.chat else stops(task))
        if not fits:
            found = []
        elif chat:
            found = replier.replies([talks[number] for number in fits], sampling)
        else:
            found = replier.complete([prompts[number] for number in fits], sampling)
        texts = {number: reply.text for number, reply in zip(fits, found, strict=True)}
        return [texts.get(number) for number in range(len(prompts))]

    def converse(self, conversations: Sequence[Messages], max_tokens: int) -> list[Said | None]:
        """Return the reply to each conversation; None if it leaves no room. The model must have a chat template."""
        room = self.replier.context - max_tokens
        fits = [one for one, talk in enumerate(conversations) if len(self.replier.prompt_ids(talk)) <= room]
        sampling = Sampling(temperature=0, max_tokens=max_tokens)
        found = self.replier.replies([conversations[one] for one in fits], sampling) if fits else []
        said = {one: Said(reply.text, reply.finish == "stop") for one, reply in zip(fits, found, strict=True)}
        return [said.get(one) for one in range(len(conversations))]


class EndpointResponder:
    """A model behind a server with OpenAI's API."""

    def __init__(self, endpoint: Endpoint, *, at_once: int = 8) -> None:
        self.endpoint, self.at_once = endpoint, at_once

    def respond(self, prompts: Sequence[str], task: Task) -> list[str | None]:
        """Return the answer to each prompt. Raises `UserError` if the server fails, as for a prompt too long for it."""
        settings = {"temperature": 0, "max_tokens": task.max_tokens}

        def one(prompt: str) -> str:
            if task.chat:
                return self.endpoint.chat([{"role": "user", "content": prompt}], **settings)
            ends = stops(task)
            return cut_at(self.endpoint.complete(prompt, stop=list(ends[:_MOST_STOPS]), **settings), ends)

        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(one, prompts))

    def converse(self, conversations: Sequence[Messages], max_tokens: int) -> list[Said | None]:
        """Return the reply to each conversation. Raises `UserError` if the server fails."""

        def one(messages: Messages) -> Said:
            return Said(*self.endpoint.reply(messages, temperature=0, max_tokens=max_tokens))

        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(one, conversations))


def stops(task: Task) -> tuple[str, ...]:
    """Return the texts before which an answer as plain text ends."""
    return _FUNCTION if task.metric == "pass_at_1" else _LINE


def cut_at(text: str, ends: Sequence[str]) -> str:
    """Return the text before the first of the ends."""
    return text[: min([text.find(end) for end in ends if end in text], default=len(text))]


def generate_answers(
    responder: Responder,
    task: Task,
    items: Sequence[NumberedItem],
    asked: Sequence[int],
    memory: Memory | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    execute: bool = False,
) -> list[Answer]:
    """Return the answers to the items numbered `asked`; arguments as in `answer_items`.

    `execute` allows programs that a model wrote to be run, in the sandbox; without it, they raise `UserError`.
    """
    prompts = [prompt_of(task, items, number) for number in asked]
    wanted = [items[number].item for number in asked]
    marks = [prompt_hash([prompt, right_of(item)], task) for prompt, item in zip(prompts, wanted, strict=True)]

    def answer(places: list[int]) -> list[Answer]:
        if not execute and any(isinstance(wanted[place], Programming) for place in places):
            raise UserError(
                f"Scoring '{task.name}' runs what a model wrote, in a sandbox; pass execute=True to allow it."
            )
        texts = responder.respond([prompts[place] for place in places], task)
        return [
            generated_answer(task, items[asked[place]], marks[place], text)
            for place, text in zip(places, texts, strict=True)
        ]

    named = [Asked(items[number].name, mark) for number, mark in zip(asked, marks, strict=True)]
    return answer_new(named, answer, _AT_ONCE, memory, progress)


def generated_answer(task: Task, item: NumberedItem, mark: str, text: str | None) -> Answer:
    """Return the answer that a generated text amounts to; None, for a prompt that was too long, is a wrong one.

    A program is run, in the sandbox.
    """
    scores = text_scores(task, item.item, text or "")
    right = scores[task.metric]
    return Answer(
        item.name, item.cluster, mark, right, scores, (), 0 if right == 1 else -1, int(text is None), False, text or ""
    )


def text_scores(task: Task, item: Item, text: str) -> dict[str, float]:
    """Return the scores of a generated text by name, those that its item and the task's metric have.

    Raises `UserError` if a metric of numbers meets a reference without one.
    """
    if isinstance(item, Instructed):
        followed = judge_row(item.row, text)
        return {"ifeval": float(all(followed.strict)), "ifeval_loose": float(all(followed.loose))}
    if isinstance(item, Programming):
        return {"pass_at_1": float(run_program(item.problem.program(text)).passed)}
    assert isinstance(item, Question), "prompts are made of questions, instructions and programs only"
    if task.metric in ("number", "number_strict"):
        number = gsm8k(text, item.answers[0])
        return {"number": float(number.flexible), "number_strict": float(number.strict)}
    score = squad1(text, item.answers)
    return {"exact_match": score.exact_match, "f1": score.f1}
