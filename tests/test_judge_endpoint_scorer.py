"""Continuations scored through our server equal those scored here; servers that cannot are refused in a sentence."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso.base.errors import UserError
from sayso.cli.main import run
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.endpoint import Endpoint
from sayso.judge.likelihood.continuations import Continuation, ModelScorer
from sayso.judge.likelihood.endpoint_scorer import EndpointScorer
from sayso.judge.tasks.answer import answer_items
from sayso.judge.tasks.item import Completion, NumberedItem
from sayso.judge.tasks.task import Task
from sayso.model import ModelConfig, Transformer
from sayso.reply import Replier
from sayso.token.train import train

TOKENIZER = train("bpe", ["the cat sat on the mat and the dog said yes or no. " * 9], 320)
GROUPS = [
    [Continuation("the cat sat on the ", answer) for answer in ("mat", "dog and the cat", "no.")],
    [Continuation("the dog said", " yes"), Continuation("the dog said", " no")],
    [Continuation("", "the mat")],
]


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    found = Transformer(ModelConfig(TOKENIZER.vocab_size, 2, 32, 2, 1, 16, 48, context=64)).eval()
    for weight in found.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return found


@pytest.fixture
def url(
    served: Callable[[Replier, Path], AbstractContextManager[str]], model: Transformer, tmp_path: Path
) -> Iterator[str]:
    """The address of our own server."""
    with served(Replier(model, TOKENIZER), tmp_path / "chats.sqlite") as found:
        yield found


def test_scores_through_our_server_equal_those_here(url: str, model: Transformer) -> None:
    here, there = (one.score(GROUPS) for one in (ModelScorer(model, TOKENIZER), EndpointScorer(Endpoint(url, "tuned"))))
    for group, other in zip(here, there, strict=True):
        for one, two in zip(group, other, strict=True):
            assert two.logprob == pytest.approx(one.logprob, abs=1e-3)
            assert (two.greedy, two.tokens) == (one.greedy, one.tokens)


def test_a_server_is_evaluated_on_a_suite(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run, with the server gone, has all answers already."""
    (tmp_path / "own.toml").write_text('[[task]]\nname = "pets"\nfile = "pets.jsonl"\n')
    rows = [{"query": f"the cat sat {n}", "choices": ["on the mat", "no"], "gold": n % 2} for n in range(4)]
    (tmp_path / "pets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", "tuned", "--suite", str(tmp_path / "own.toml"), "--life", str(tmp_path / "life")]
    assert run([*words, "--endpoint", url, "--key", "secret-7"]) == 0
    (path,) = (tmp_path / "life").glob("runs/evaluate-tuned-*/own.json")
    assert json.loads(path.read_text())["tasks"]["pets"]["items"] == 4
    kept = [one.read_text() for one in path.parent.iterdir() if one.is_file()]
    assert not any("secret-7" in text for text in kept)
    assert run([*words, "--key", "secret-7"]) == 2
    assert "--key requires --endpoint" in capsys.readouterr().err


def test_a_token_across_the_border_is_counted(model: Transformer) -> None:
    """A "t" makes one token with the "ca" before it; a merged text of no more tokens is scored by those that differ."""
    scorer = ModelScorer(model, TOKENIZER)
    context, whole, longer = (TOKENIZER.encode(text) for text in ("the ca", "the cat", "the cat sat on the mat"))
    assert len(whole) <= len(context) < len(longer)
    assert whole != context[: len(whole)]
    texts = [Continuation("the ca", "t"), Continuation("the ca", "t sat on the mat"), Continuation("the", " cat")]
    ((short, long, apart),) = scorer.score([texts])
    assert (short.merged, long.merged, apart.merged) == (True, True, False)
    assert short.logprob == pytest.approx(apart.logprob, abs=1e-5), "the token that differs is that of the whole word"
    assert long.tokens == len(longer) - len(context)
    with pytest.raises(UserError, match="at least one character"):
        scorer.score([[Continuation("the", "")]])


class Scripted:
    """A server whose replies a test decides."""

    def __init__(self, answer: Callable[[dict[str, Any]], object]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                data = json.dumps(answer(asked)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.scorer = EndpointScorer(Endpoint(f"http://127.0.0.1:{self.server.server_port}/v1", "m"))

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def scored(answer: Callable[[dict[str, Any]], object], group: list[Continuation]) -> list[Any]:
    """Return the scores of a group by a scripted server."""
    server = Scripted(answer)
    try:
        return next(server.scorer.score([group]))
    finally:
        server.close()


def choice(values: list[float | None], offsets: list[int], best: list[float], index: int = 0) -> dict[str, Any]:
    """Return a choice as OpenAI's API has it: the first token has no log-probability."""
    tops = [None if value is None else {"x": top} for value, top in zip(values, best, strict=True)]
    return {
        "index": index,
        "text": "",
        "logprobs": {"text_offset": offsets, "token_logprobs": values, "top_logprobs": tops},
    }


def test_the_tokens_of_the_continuation_are_found_by_their_offsets() -> None:
    """The blank belongs to the continuation; the generated token beyond the text does not count."""
    values, offsets = [None, -1.0, -2.0, -4.0, -8.0], [0, 2, 3, 6, 9]
    reply = choice(values, offsets, [0, -1.0, -2.0, -4.0, -8.0])
    (found,) = scored(lambda _: {"choices": [reply]}, [Continuation("ab c ", "1234")])
    assert (found.logprob, found.tokens, found.greedy, found.merged) == (-6.0, 2, True, True)
    (found,) = scored(lambda _: {"choices": [reply]}, [Continuation("ab ", "c12345")])
    assert (found.logprob, found.tokens, found.merged) == (-7.0, 3, False)
    reply = choice(values, offsets, [0, -1.0, -1.5, -4.0, -8.0])
    (found,) = scored(lambda _: {"choices": [reply]}, [Continuation("ab ", "c12345")])
    assert not found.greedy


def test_choices_are_ordered_by_their_index() -> None:
    replies = [choice([None, -2.0], [0, 1], [0, -2.0], index=1), choice([None, -1.0], [0, 1], [0, -1.0], index=0)]
    found = scored(lambda _: {"choices": replies}, [Continuation("a", "b"), Continuation("a", "c")])
    assert [one.logprob for one in found] == [-1.0, -2.0]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"choices": [{"index": 0, "text": "x", "logprobs": None}]}, "returned no log-probabilities of the prompt"),
        ({"choices": [choice([-1.0], [5], [-1.0])]}, "returned no log-probabilities of the prompt"),
        ({"choices": [choice([None], [0], [0])]}, "returned no log-probabilities of the prompt"),
        ({"choices": []}, "returned 0 of 1 choices"),
        ({}, "returned 0 of 1 choices"),
    ],
)
def test_a_server_without_an_echo_is_refused(reply: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"{said}; a suite needs /completions with echo and logprobs"):
        scored(lambda _: reply, [Continuation("a", "bcd")])


def test_a_server_that_fails_half_way_loses_no_answer(tmp_path: Path) -> None:
    """The items before the failure are not asked again."""
    asked: list[str] = []

    def answer(body: dict[str, Any]) -> object:
        asked.append(body["prompt"][0])
        return {} if len(asked) == 4 else {"choices": [choice([None, -1.0], [0, 1], [0, -1.0])]}

    items = [NumberedItem(Completion(letter, "z"), letter) for letter in "abcdef"]
    task, store, server = Task("t", "f", metric="exact"), Store(tmp_path / "store.sqlite"), Scripted(answer)
    scorer = EndpointScorer(server.scorer.endpoint, at_once=1)
    try:
        with pytest.raises(UserError, match="returned 0 of 1 choices"):
            answer_items(scorer, task, items, range(6), KeptAnswers(store, "m", "t"))
        assert asked[:4] == ["a z", "b z", "c z", "d z"]
        del asked[:]
        asked += ["", "", "", "", ""]  # it has recovered
        answers = answer_items(scorer, task, items, range(6), KeptAnswers(store, "m", "t"))
    finally:
        server.close()
        store.close()
    assert [one.logprobs for one in answers] == [(-1.0,)] * 6
    assert not {"a z", "b z", "c z"} & {*asked}
