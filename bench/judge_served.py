"""Log-probabilities through our server, by our own client and by lm-evaluation-harness, against the model itself.

    python -m bench.judge_served [DATA]     # a folder with arc_easy.jsonl, lambada_openai.jsonl and others below it

SmolLM2-135M-Instruct, float32. Each continuation is scored by the harness' `hf`, and compared with that by our scorer
in this process, by the harness' `local-completions`, which sends token ids to our server and reads `echo` and
`logprobs`, and by our own client, which sends texts. `ours` is the largest difference over the continuations of all
tasks, and the bar is 0.001; the details count the questions on which both ways choose the same answer.
"""

import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.harness import TINY, parser, result, say, sized
from bench.judge_agree import Groups, invented, public
from bench.judge_speed import harness, instances
from bench.smollm2 import TEXT, random_model, smollm2
from sayso.feedback.store import Store
from sayso.judge.endpoint import Endpoint
from sayso.judge.likelihood.continuations import ContinuationScore, ModelScorer
from sayso.judge.likelihood.endpoint_scorer import EndpointScorer
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.serve.app import make_app
from sayso.serve.listen import listen
from sayso.serve.server import Server
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.token.train import train
from sayso.weights.folder import save_model

ITEMS = sized(200, 3)
TASKS = ("arc_easy", "hellaswag", "lambada_openai")
BAR = 1e-3
NAME = "model"
Scores = list[list[ContinuationScore]]
Score = Callable[[Groups], Scores]


def main() -> None:
    """Score each task all four ways, and print the largest difference."""
    arguments = parser("judge_served", __doc__)
    arguments.add_argument("data", nargs="?", type=Path)
    arguments.add_argument("--items", type=int, default=ITEMS, help=f"questions of each task ({ITEMS})")
    given = arguments.parse_args()
    model, tokenizer = tiny() if TINY else smollm2()
    tasks = public(given.data, given.items, TASKS) if given.data else {"words": invented(given.items)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / NAME
        save_model(model, tokenizer, folder, {"stage": "base"})
        with served(model, tokenizer, Path(name) / "store.sqlite") as address:
            scorer = ModelScorer(model, tokenizer)
            theirs = harness(folder, 1, scorer.begin)
            ways: dict[str, tuple[Score, Score]] = {
                "ours": (scorer.score, theirs),
                "local-completions": (client(folder, address, scorer.begin), theirs),
                "our client": (lambda groups: [*EndpointScorer(Endpoint(address, NAME)).score(groups)], theirs),
            }
            rows = {
                task: {way: compared(*pair, groups) for way, pair in ways.items()} for task, groups in tasks.items()
            }
    largest = max(one["difference"] for row in rows.values() for one in row.values())
    result("judge_served", "largest difference of a log-probability", largest, BAR, items=given.items, tasks=rows)


def tiny() -> tuple[Transformer, Tokenizer]:
    """Return a random model that needs no download."""
    tokenizer = train("bpe", [TEXT] * 50, 400)
    return random_model(ModelConfig(tokenizer.vocab_size, 2, 64, 4, 2, 16, 128, context=256)), tokenizer


@contextmanager
def served(model: Transformer, tokenizer: Tokenizer, store: Path) -> Iterator[str]:
    """Serve a model in this process; yield the address of its API."""
    kept = Store(store)
    app = make_app(Replier(model, tokenizer), kept, NAME, fingerprint="0" * 12)
    listening = listen("127.0.0.1", 0)
    server = Server(app, app.state.models.drain, grace=1, log_level="critical")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        kept.close()


def client(folder: Path, address: str, begin: bool) -> Score:
    """Return a function that scores groups with the harness as a client of a server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.openai_completions import LocalCompletionsAPI

        model = LocalCompletionsAPI(
            model=NAME,
            base_url=f"{address}/completions",
            tokenizer_backend="huggingface",
            tokenizer=str(folder),
        )
    before = BOS * begin  # it adds none by itself

    def score(groups: Groups) -> Scores:
        answers = iter(model.loglikelihood(instances(groups, before), disable_tqdm=True))
        return [[ContinuationScore(*next(answers), 1) for _ in group] for group in groups]

    return score


def compared(ours: Score, other: Score, groups: Groups) -> dict[str, Any]:
    """Return the largest difference of two ways, and the number of questions that both answer alike."""
    found = [[[one.logprob for one in group] for group in score(groups)] for score in (ours, other)]
    pairs = list(zip(*found, strict=True))
    apart = max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))
    alike = sum(max(range(len(a)), key=a.__getitem__) == max(range(len(b)), key=b.__getitem__) for a, b in pairs)
    row = {"difference": apart, "same_choice": alike, "questions": len(groups)}
    say(row)
    return row


if __name__ == "__main__":
    main()
