"""Tasks whose answers are generated: prompts, scores, what is too long, and what is kept."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.endpoint import Endpoint
from sayso.judge.tasks.generated import (
    EndpointResponder,
    ModelResponder,
    generate_answers,
    generated_answer,
    text_scores,
)
from sayso.judge.tasks.item import Choices, Instructed, Item, NumberedItem, Question, item_of
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import GENERATED as SUITE
from sayso.judge.tasks.task import Task, groups_of, prompt_of
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.token.train import train

DATA = Path(os.environ.get("SAYSO_TEST_DATA", "no such folder")) / "eval"
ASKED = [NumberedItem(Question(f"What is {n} and {n}?", (f"It is {2 * n}.", "no")), str(n)) for n in range(50)]
COMMAS = {"key": 1, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


def named(word: str) -> Item:
    """A row of IFEval that asks for a word."""
    values = {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": [word]}]}
    return item_of({"key": 1, "prompt": "Say yes", **values})


class Echo:
    """A responder that says the last word of a prompt, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def respond(self, prompts: Sequence[str], task: Task) -> list[str | None]:
        """Return the last word of each prompt; a prompt with a 7 is too long."""
        self.asked += prompts
        return [None if "7" in prompt.split("\n")[-1] else prompt.split()[-1] for prompt in prompts]


def test_a_prompt_has_examples_and_the_beginning_of_an_answer() -> None:
    """The blank before the answer is left to the model; a chat message is the prompt alone."""
    task = Task("t", "f", shots=1, delimiter="\nA: ", metric="f1")
    prompt = prompt_of(task, ASKED[:2], 0)
    assert prompt == "What is 1 and 1?\nA: It is 2.\nWhat is 0 and 0?\nA:"
    assert (
        prompt_of(Task("t", "f", metric="ifeval"), [NumberedItem(Instructed("No commas.", COMMAS), "0")], 0)
        == "No commas."
    )


def test_other_rows_than_questions_are_refused() -> None:
    choices = [NumberedItem(Choices("Q", ("a", "b"), 0), "0")]
    with pytest.raises(UserError, match="'f1' needs rows with a prompt and an answer"):
        prompt_of(Task("t", "f", metric="f1"), choices, 0)
    with pytest.raises(UserError, match="must be ifeval or ifeval_loose"):
        groups_of(Task("t", "f"), [NumberedItem(Instructed("No commas.", COMMAS), "0")], 0)
    with pytest.raises(UserError, match="punctuation:no_period"):
        item_of({**COMMAS, "instruction_id_list": ["punctuation:no_period"]})


@pytest.mark.parametrize(
    ("metric", "answers", "text", "scores"),
    [
        ("f1", ("the old cat", "dog"), "An old cat!", {"exact_match": 1.0, "f1": 1.0}),
        ("f1", ("old cat",), "cat", {"exact_match": 0.0, "f1": 2 / 3}),
        ("number", ("3 + 4 = 7\n#### 7",), "So it is 7", {"number": 1.0, "number_strict": 0.0}),
        ("number_strict", ("#### 7",), "#### 7", {"number": 1.0, "number_strict": 1.0}),
    ],
)
def test_texts_are_scored_by_the_metric(
    metric: str, answers: tuple[str, ...], text: str, scores: dict[str, float]
) -> None:
    assert text_scores(Task("t", "f", metric=metric), Question("Q", answers), text) == pytest.approx(scores)  # type: ignore[arg-type]


def test_instructions_are_scored_strictly_and_loosely() -> None:
    """The loose score forgives a first line that breaks the rule."""
    task, item = Task("t", "f", metric="ifeval"), item_of(COMMAS)
    assert text_scores(task, item, "Yes") == {"ifeval": 1.0, "ifeval_loose": 1.0}
    assert text_scores(task, item, "Sure, here:\nYes") == {"ifeval": 0.0, "ifeval_loose": 1.0}
    assert text_scores(task, item, "a, b\nc, d") == {"ifeval": 0.0, "ifeval_loose": 0.0}


def test_answers_are_kept_with_their_text_and_too_long_prompts_are_wrong(tmp_path: Path) -> None:
    store, task, echo = Store(tmp_path / "store.sqlite"), Task("t", "f", metric="exact_match"), Echo()
    first = generate_answers(echo, task, ASKED, [1, 7, 40], KeptAnswers(store, "m", "t"))
    assert [one.text for one in first] == ["1?", "", "40?"]
    assert [one.cut for one in first] == [0, 1, 0]
    assert [(one.right, one.choice) for one in first] == [(0.0, -1)] * 3
    again = generate_answers(echo, task, ASKED, [40, 2], KeptAnswers(store, "m", "t"))
    assert again[0] == first[2]
    assert len(echo.asked) == 4
    generate_answers(
        echo, Task("t", "f", metric="exact_match", max_tokens=9), ASKED, [40], KeptAnswers(store, "m", "t")
    )
    assert len(echo.asked) == 5, "another rule is another question"
    store.close()
    right = generated_answer(task, ASKED[3], "mark", "It is 6.")
    assert (right.right, right.choice, right.item) == (1.0, 0, "3")


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        ("exact_match", Question("Q", ("no",)), Question("Q", ("Q",))),
        ("ifeval", named("no"), named("yes")),
    ],
)
def test_a_text_is_scored_anew_if_another_answer_is_right(
    metric: str, before: Item, after: Item, tmp_path: Path
) -> None:
    store, task, echo = Store(tmp_path / "store.sqlite"), Task("t", "f", metric=metric), Echo()  # type: ignore[arg-type]
    scores = [
        generate_answers(echo, task, [NumberedItem(item, "0")], [0], KeptAnswers(store, "m", "t"))[0].right
        for item in (before, after)
    ]
    assert scores == [0, 1]
    store.close()


@pytest.fixture(scope="module")
def replier() -> Replier:
    torch.manual_seed(0)
    tokenizer = train("bpe", ["what is it? the cat sat on the mat.\n yes or no. " * 9], 300)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 48, context=64)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return Replier(model, tokenizer)


@pytest.mark.parametrize("chat", [True, False])
def test_a_model_and_its_server_answer_alike(
    chat: bool,
    replier: Replier,
    served: Callable[[Replier, Path], AbstractContextManager[str]],
    tmp_path: Path,
) -> None:
    """As a message or as plain text up to the end of the line; a prompt that leaves no room has no answer."""
    task = Task("t", "f", metric="f1", chat=chat, max_tokens=8)
    prompts = ["what is the cat?", "the mat"]
    here = ModelResponder(replier).respond(prompts, task)
    with served(replier, tmp_path / "store.sqlite") as url:
        assert EndpointResponder(Endpoint(url, "tuned")).respond(prompts, task) == here
    assert all(text is not None for text in here)
    if not chat:
        assert not any("\n" in str(text) for text in here)
    whole = replier.prompt_ids([{"role": "user", "content": "the mat"}]) if chat else replier.text_ids("the mat")
    for room, fits in ((replier.context - len(whole), True), (replier.context - len(whole) + 1, False)):
        filling = Task("t", "f", metric="f1", chat=chat, max_tokens=room)
        assert (ModelResponder(replier).respond(["the mat"], filling) != [None]) == fits
    long = "the cat " * 40
    assert ModelResponder(replier).respond([long, "the mat"], task) == [None, here[1]]
    assert ModelResponder(replier).respond([long], task) == [None]


@pytest.mark.skipif(not DATA.exists(), reason="SAYSO_TEST_DATA names no folder with evaluation data")
def test_the_published_files_are_read_for_generated_answers() -> None:
    """IFEval's 541 prompts, and rows with answers in each of the other files."""
    prompts = read_items(DATA / "ifeval.jsonl")
    assert len(prompts) == len(list(read_jsonl(DATA / "ifeval.jsonl"))) == 541
    assert all(isinstance(one.item, Instructed) for one in prompts)
    for task in SUITE[1:]:
        file = next(DATA.parent.rglob(task.file))
        items = read_items(file)
        assert all(isinstance(one.item, Question) for one in items[:50]), task
        prompt = prompt_of(task, items, 0)
        assert prompt.count("\n") >= task.shots
        scored = text_scores(task, items[0].item, items[0].item.answers[0])  # type: ignore[union-attr]
        assert scored[task.metric] == 1, json.dumps(scored)
