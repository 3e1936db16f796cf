"""Act: evaluate a model on held-out text and tasks, or on others that `--suite` or `--text` names.

Writes `runs/evaluate-NAME/scores.json`: bits per byte on real text and on the small world, next to baselines; accuracy
of each family of small-world tasks with its standard error; and replies to a few fixed prompts. A base model is
prompted in the chat layout too, so that the effect of fine-tuning is visible.
"""

import json
from dataclasses import KW_ONLY, asdict, dataclass, replace
from hashlib import sha256 as hash_of
from pathlib import Path
from typing import Annotated

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import Progress, act_log, say
from sayso.base.made import work_in
from sayso.base.ranges import Count, Options, Positive, Questions, Range, Seed, Tokens
from sayso.judge.baselines.measure import Scores, baselines
from sayso.judge.held_out import held_out
from sayso.judge.knowledge.ask import Asking
from sayso.judge.likelihood.continuations import ModelScorer
from sayso.judge.scorecard import judge_tasks, judge_text, sample_replies, show_scores, tasks_json
from sayso.judge.statistics.estimate import estimate
from sayso.judge.talks import held_talks, talks_json
from sayso.judge.tasks.asked import asked_suite
from sayso.judge.tasks.contamination import training_text
from sayso.judge.tasks.next_sentence import next_sentence_items, next_sentence_scores
from sayso.judge.tasks.suites import BEHAVIOUR
from sayso.reply.conversation import Replier
from sayso.run.behaviour import asked_behaviour, evaluate_behaviour
from sayso.run.earlier import say_replaced
from sayso.run.knowledge import NAME as KNOWLEDGE
from sayso.run.knowledge import asked_in_messages, check_groups, evaluate_knowledge
from sayso.run.suite import Judged, evaluate_suite, local_model, served_model
from sayso.run.texts import ReadAs, evaluate_texts
from sayso.token.load import load as load_tokenizer
from sayso.token.load import tokenizer_fingerprint
from sayso.weights.folder import load_model, name_apart
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file

BYTES_PER_QUESTION = 2_000  # of held-out text that is searched for documents with enough sentences
ASKED = ("n", "seed", "split", "text_bytes", "conversations", "next_sentences")
"""Options that an evaluation depends on, besides the model and the text."""
Samples = Annotated[int, Range(2, 1000)]
SAMPLES = 6


@dataclass(frozen=True)
class Evaluate(Options):
    """Options of `sayso evaluate`."""

    model: str = "aligned"
    """Model to evaluate: the name of a model of the life, or the path of a model folder."""
    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    text: tuple[str, ...] = ()
    """Files, folders or URLs to measure bits per byte and perplexity on, instead of the life's own evaluation."""
    window: Tokens | None = None
    """Number of tokens of --text that are read together. Default: the model's context."""
    stride: Positive | None = None
    """Tokens from one window of --text to the next; smaller is slower, with more context. Default: half a window."""
    suite: str | None = None
    """Tasks instead of the life's own: core, blimp, small, generated, code, behaviour, knowledge, or a .toml file."""
    tasks: tuple[str, ...] = ()
    """Tasks, or parts or groups, of the suite; NAME@REVISION = a revision of the task's data set. Default: all."""
    data: Path | None = None
    """Folder of a suite's files; of knowledge, a file, folder or wiki. Default: that of the .toml file, or the hub."""
    limit: Count = 0
    """Maximum number of items per task, a random sample that is the same for every model; 0 = all."""
    store: str | None = None
    """Database of the answers to a suite, a path or an address. Default: that of the life."""
    contamination: bool = False
    """Search the life's training text for the items of a suite, and report the scores without those found."""
    allow_code: bool = False
    """Run the programs that the model writes for the suite code, in a sandbox."""
    endpoint: str | None = None
    """Address of a server with OpenAI's API, such as http://127.0.0.1:8000/v1, to score its MODEL on a suite."""
    key: str | None = None
    """Key of the server. Default: the environment variable SAYSO_ENDPOINT_KEY."""
    n: Questions = 60
    """Questions per small-world task family (0 = none), or per group of the suite knowledge."""
    samples: Samples | None = None
    """Number of sampled replies to each question of the suite knowledge. Default: 6."""
    text_bytes: Positive = 100_000
    """Approximate amount of held-out text of each kind, in bytes."""
    baseline_bytes: Count = 64_000_000
    """Approximate maximum of training text for the baselines, in bytes; 0 = all."""
    conversations: Count = 100
    """Maximum number of held-out conversations to score; 0 = none."""
    next_sentences: Count = 0
    """Number of held-out documents to ask which sentence comes next, as a check of general ability; 0 = none."""
    split: str = "val"
    """Split of the held-out documents, val or test; tasks and conversations always come from the test split."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""
    seed: Seed = 0
    """Random seed of the questions."""


def evaluate(options: Evaluate) -> Scores:
    """Evaluate a model on held-out text and tasks."""
    _check_apart(options)
    if options.suite == KNOWLEDGE:
        return _evaluate_knowledge(options)
    if options.suite is not None:
        return _evaluate_behaviour(options) if options.suite == BEHAVIOUR else _evaluate_suite(options, options.suite)
    if options.text:
        return _evaluate_texts(options)
    if options.split not in ("val", "test"):
        raise UserError(f"--split must be val or test; got '{options.split}'.")
    life = Life(options.life)
    folder = resolve_model(life, options.model)
    held = held_out(life.data("text"), options.split, options.text_bytes)
    if not held:
        raise UserError(
            f"Evaluation needs held-out text, but '{life.data('text')}' has no {options.split} documents; run sayso "
            f"prepare with --{options.split} above 0."
        )
    name = name_apart(life, folder)
    path = life.run(f"evaluate-{name}") / "scores.json"
    work_in(path.parent)
    against = baselines(life, held, load_tokenizer(folder), tokenizer_fingerprint(folder), options.baseline_bytes)
    asked_for = {name: getattr(options, name) for name in ASKED}
    talks = held_talks(life.data("chat"), options.conversations)
    key = {"weights": sha256(weights_file(folder)), "baselines": against["key"], "asked": asked_for}
    key["conversations"] = talks.digest()
    stored = read_object(path, "key") if path.exists() else {"key": None}
    if stored["key"] == key:
        say(f"The model '{folder.name}' has already been evaluated with these options.")
        return stored
    if stored["key"] and stored["key"].get("weights") == key["weights"]:
        say_replaced(path, stored["key"].get("asked", {}), asked_for)
    with act_log(life, "evaluate", name, options):
        replier = Replier(*load_model(folder, pick_device(options.device).kind))
        scores: Scores = {"key": key, "model": folder.name, "bpb": judge_text(replier, held, against)}
        asked = judge_tasks(replier, options.n, options.seed)
        scores |= tasks_json(asked)
        scores["next_sentence"] = _next_sentence(replier, life, options)
        scores["samples"] = sample_replies(replier)
        scores["conversations"] = talks_json(replier, talks) if replier.converses and talks.held else None
        write_jsonl(path.with_name("answers.jsonl"), (asdict(answer) for answer in asked.answers))
        write_json(path, scores, sealed=True)
    show_scores(scores, against)
    if asked_next := scores["next_sentence"]:
        say(
            f"Of {asked_next['n']:,} questions which sentence comes next, {asked_next['mean']:.0%} are right "
            f"({asked_next['low']:.0%} to {asked_next['high']:.0%}; a guess: 25%)."
        )
    return scores


def _next_sentence(replier: Replier, life: Life, options: Evaluate) -> Scores | None:
    """Ask which sentence of each held-out document comes next; None without documents that are long enough."""
    most = options.next_sentences
    held = held_out(life.data("text"), options.split, BYTES_PER_QUESTION * most) if most else {}
    items = next_sentence_items(held["real"].texts, most) if "real" in held else []
    if not items:
        return None
    right = next_sentence_scores(ModelScorer(replier.model, replier.tokenizer), items)
    asked = json.dumps([asdict(one.item) for one in items]).encode()
    return {**estimate(right).as_dict(), "values": right, "items": hash_of(asked).hexdigest()}


def _check_apart(options: Evaluate) -> None:
    """Raise `UserError` for options of another kind of evaluation than the one that was asked for."""
    of_suite = ("tasks", "data", "limit", "store", "contamination", "allow_code", "endpoint", "key")
    for names, needed, example in (
        (of_suite, "suite", "--suite small"),
        (("window", "stride"), "text", "--text book.txt"),
    ):
        given = [name for name in names if getattr(options, name)]
        if given and not getattr(options, needed):
            raise UserError(f"--{given[0].replace('_', '-')} requires --{needed}, such as {example}.")
    if options.samples and options.suite != KNOWLEDGE:
        raise UserError(f"--samples requires --suite {KNOWLEDGE}.")
    if options.allow_code and options.suite in (KNOWLEDGE, BEHAVIOUR):
        raise UserError(f"--allow-code does not apply to --suite {options.suite}, which runs no programs; omit it.")
    if options.device and options.endpoint:
        raise UserError("--device does not apply to a model behind --endpoint; omit one of them.")
    if options.text and options.suite is not None:
        raise UserError("--text and --suite are two evaluations; run sayso evaluate once with each.")


def _evaluate_texts(options: Evaluate) -> Scores:
    """Measure the loss of a model on texts."""
    life = Life(options.life)
    folder = resolve_model(life, options.model)
    name = name_apart(life, folder)
    how = ReadAs(options.window, options.stride, options.device)
    return evaluate_texts(life, folder, name, options.text, how, options)


def _evaluate_suite(options: Evaluate, suite: str) -> Scores:
    """Score a model on a suite of tasks."""
    life = Life(options.life)
    with Progress(None, "hub: data set") as line:
        asked = asked_suite(
            suite, options.tasks, options.data, options.limit, execute=options.allow_code, progress=line.update
        )
    if options.contamination and next(training_text(life.data("text"), life.data("chat")), None) is None:
        raise UserError(
            f"--contamination searches the text that the life trains on; '{life.root}' has none. Omit it, or prepare "
            "some with sayso prepare."
        )
    judged = _judged(options, life)
    with act_log(life, "evaluate", judged.name, replace(options, key=None)):
        return evaluate_suite(life, judged, asked, options.store, contamination=options.contamination)


def _evaluate_behaviour(options: Evaluate) -> Scores:
    """Measure how a model behaves in conversations."""
    life = Life(options.life)
    asked = asked_behaviour(options.tasks, options.data, options.limit)
    if options.contamination:
        raise UserError(
            "--contamination does not apply to --suite behaviour, whose prompts are not task items; omit it."
        )
    judged = _judged(options, life)
    if not judged.converses:
        raise UserError(f"--suite behaviour needs a model with a chat template; '{options.model}' has none.")
    with act_log(life, "evaluate", judged.name, replace(options, key=None)):
        return evaluate_behaviour(life, judged, asked, options.store)


def _judged(options: Evaluate, life: Life) -> Judged:
    """Open the model of the life, or behind the server, that a suite is given to."""
    if options.endpoint is not None:
        return served_model(options.endpoint, options.model, options.key)
    if options.key is not None:
        raise UserError("--key requires --endpoint, the address of the server that it is for.")
    folder = resolve_model(life, options.model)
    return local_model(folder, name_apart(life, folder), options.device)


def _evaluate_knowledge(options: Evaluate) -> Scores:
    """Ask a model about facts, and measure whether it knows what it knows."""
    given = [name for name in ("limit", "store", "contamination", "endpoint", "key") if getattr(options, name)]
    if given:
        raise UserError(
            f"--{given[0]} does not apply to --suite {KNOWLEDGE}, which asks a model on this machine for samples and "
            "probabilities; omit it (--n sets the number of questions)."
        )
    if not options.n:
        raise UserError(f"--suite {KNOWLEDGE} needs at least one question per group; got --n 0.")
    check_groups(options.tasks)
    life = Life(options.life)
    folder = resolve_model(life, options.model)
    name = name_apart(life, folder)
    chat = asked_in_messages(folder, load_tokenizer(folder).chat_template is not None)
    corpus = None if options.data is None else str(options.data)
    with act_log(life, "evaluate", name, options):
        asking = Asking(options.samples or SAMPLES, chat, options.seed)
        return evaluate_knowledge(life, folder, name, asking, options.n, corpus, options.tasks, options.device)
