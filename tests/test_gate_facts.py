"""What a gate measures itself: answers to cases of both models, their divergence, behaviour, speed and memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sayso.base.files import sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.detectors.detector import Detector
from sayso.feedback.detectors.own import judge_detector
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.flags import Flags
from sayso.feedback.scans import Scans
from sayso.feedback.store import Generation, Store
from sayso.judge.cost import alternating_speeds, bytes_held
from sayso.judge.divergence import token_divergence
from sayso.judge.endpoint import Endpoint
from sayso.judge.gate.rules import Divergence, Gate, Memory, Speed
from sayso.judge.tasks.generated import ModelResponder
from sayso.judge.tasks.kept import Answer
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.run.gate_facts import GateFacts
from sayso.run.suite import fingerprint_of
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model
from sayso.weights.tensors import weights_file

TOKENIZER = train("bpe", ["the cat sat on the mat. " * 9], 300)
CONTEXT = 128
ASKED = [{"role": "user", "content": "Where did the cat sit?"}]


def add(life: Life, name: str, seed: int, layers: int = 1) -> None:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(TOKENIZER.vocab_size, layers, 32, 2, 1, 16, 32, context=CONTEXT))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    save_model(model, TOKENIZER, life.model(name), {"stage": "base", "name": name})
    key = {"weights": sha256(weights_file(life.model(name))), "baselines": "b", "asked": {"n": 400, "seed": 0}}
    scores = {"key": key, "families": {"where": {"values": [1.0, 0.0] * 200}}, "bpb": {"real": {"mean": 1.5}}}
    write_json(life.run(f"evaluate-{name}") / "scores.json", scores, sealed=True)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life whose `stable` is the model `old`, with a candidate `new`."""
    life = Life(tmp_path / "life")
    add(life, "old", 0)
    add(life, "new", 1)
    assert run(["promote", "old", "--life", str(life.root)]) == 0
    return life


def confirm_case(life: Life, detector: str = "own", question: str | None = None) -> None:
    """Leave one case in the store of a life, of a detector that has looked at its reply."""
    store = Store(life.store)
    asked = store.say(store.new_conversation().id, ASKED[0]["content"])
    store.reply(asked.id, "bad", ASKED, Generation("old", "f" * 12, {}, "stop", 1, 1, 0.1))
    flags = Flags(store)
    own = [Detector(detector, "1", lambda reply: True, question=question)]
    for upto, *_ in flags.scan(own):
        Scans(store).done(own, upto)
    flags.mark([1], "real")
    store.close()


def answer_of(life: Life, name: str) -> str:
    model, tokenizer = load_model(life.model(name), "cpu")
    [said] = ModelResponder(Replier(model, tokenizer)).converse([ASKED], CONTEXT // 2)
    assert said is not None
    return said.text


def promoted(life: Life, *words: str) -> int:
    return run(["promote", "new", "--life", str(life.root), *words])


def test_a_case_that_gets_worse_stops_a_candidate(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """And one that is fixed does not; both models are asked."""
    assert answer_of(life, "old") != answer_of(life, "new")
    confirm_case(life)
    own = life.root / "own.py"
    own.write_text(f"def own(reply):\n    return reply.text == {answer_of(life, 'new')!r}\n")
    assert promoted(life, "--detector", f"{own}:own") == 2
    assert "0 of 1 cases are answered well, for 1 by old; worse: case 1 (own)." in capsys.readouterr().out
    own.write_text(f"def own(reply):\n    return reply.text == {answer_of(life, 'old')!r}\n")
    assert promoted(life, "--detector", f"{own}:own") == 0
    assert "cases: passed. 1 of 1 cases are answered well, for 0 by old; none is worse." in capsys.readouterr().out


def test_a_case_of_an_unknown_detector_is_not_enough_data(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    confirm_case(life)
    assert promoted(life) == 2
    told = capsys.readouterr()
    assert "their detectors must be given, functions of your own with --detector" in told.out
    assert "was not promoted: not enough data" in told.err


def test_a_case_of_a_judge_is_checked_by_the_one_that_is_given(
    life: Life, judge: tuple[Endpoint, list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked the question that found the case, about each model's answer; a gate without it knows nothing."""
    endpoint, asked, answers = judge
    question = "Does the reply talk about mats?"
    name = judge_detector(question, endpoint).name
    confirm_case(life, name, question)
    assert promoted(life) == 2
    told = capsys.readouterr()
    assert "1 more could not be checked: " in told.out
    assert "a judge with --endpoint and --judge." in told.out
    server = ["--endpoint", endpoint.base_url, "--judge", endpoint.model]
    answers[:] = ["Verdict: no", "Verdict: yes"]
    assert promoted(life, *server) == 2
    assert f"0 of 1 cases are answered well, for 1 by old; worse: case 1 ({name})." in capsys.readouterr().out
    assert [answer_of(life, model) in said for model, said in zip(("old", "new"), asked, strict=True)] == [True] * 2
    assert all(f"The question: {question}" in said for said in asked)
    answers[:] = ["Verdict: yes", "Verdict: no"]
    assert promoted(life, *server) == 0


def test_a_judge_that_cannot_be_reached_is_named_with_the_case(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint("http://127.0.0.1:1/v1", "big")
    name = judge_detector("Is it rude?", endpoint).name
    confirm_case(life, name, "Is it rude?")
    assert promoted(life, "--endpoint", endpoint.base_url, "--judge", "big") == 2
    assert (
        f"The answer to case 1 ({name}) could not be checked: The server at '{endpoint.base_url}' cannot be reached"
    ) in capsys.readouterr().err
    assert promoted(life, "--judge", "big") == 2
    assert "--endpoint and --judge are the server and its model, and are given together." in capsys.readouterr().err


def test_answers_to_cases_are_kept(life: Life) -> None:
    """The second gate opens no model."""
    confirm_case(life, "empty")
    store = Store(life.store)
    folders = life.model("old"), life.model("new")
    first = GateFacts(life, store, *folders)
    found = first._case_answers({})
    assert "_repliers" in vars(first)
    second = GateFacts(life, store, *folders)
    assert second._case_answers({}) == found
    assert "_repliers" not in vars(second)


def test_nothing_is_opened_if_nothing_is_needed(life: Life) -> None:
    facts = GateFacts(life, Store(life.store), life.model("old"), life.model("new"))
    found = facts.measured(Gate(), {})
    assert found == {"cases": [], "behaviour": {}, "divergence": None, "speeds": None, "bytes_held": None}
    assert "_repliers" not in vars(facts)


def test_limits_are_measured_when_they_are_set(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "on the mat."}]
    talks = [[{**turns[0], "content": f"Where {number}?"}, turns[1]] for number in range(6)]
    write_jsonl(life.data("chat") / "test.jsonl", ({"messages": talk, "source": "test"} for talk in talks))
    gate = tmp_path / "gate.toml"
    gate.write_text("[kl]\nmost = 0.000001\n[memory]\nmost = 1\n")
    assert promoted(life, "--gate", str(gate)) == 2
    told = capsys.readouterr().out
    assert "kl: failed." in told
    assert "memory: passed." in told
    assert "a share of 1.00; at most 1 is allowed." in told
    gate.write_text("[kl]\nmost = 99\n")
    assert promoted(life, "--gate", str(gate)) == 0


def test_speed_and_memory_of_a_larger_model(life: Life) -> None:
    """Its bytes are those of its weights and of a full cache, by hand; both speeds are there."""
    add(life, "large", 2, layers=8)
    facts = GateFacts(life, Store(life.store), life.model("old"), life.model("large"))
    found = facts.measured(Gate(kl=Divergence(), speed=Speed(0.5), memory=Memory(1.0)), {})
    models = [load_model(life.model(name), "cpu")[0] for name in ("old", "large")]
    by_hand = [sum(one.numel() * 4 for one in {*model.parameters()}) for model in models]
    caches = [layers * 2 * 1 * 16 * 4 * CONTEXT for layers in (1, 8)]  # keys and values of one head of 16 in float32
    assert found["bytes_held"] == pytest.approx([a + b for a, b in zip(by_hand, caches, strict=True)], rel=0.02)
    assert all(speed > 0 for speed in found["speeds"])
    assert bytes_held(models[0]) == found["bytes_held"][0]


def test_speeds_are_medians_of_turns(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models take turns; the first turn of each, which warms up, does not count."""
    repliers = [Replier(*load_model(life.model(name), "cpu")) for name in ("old", "new")]
    seconds = {id(repliers[0].model): iter([9, 1, 2, 4]), id(repliers[1].model): iter([9, 5, 10, 20])}
    now, turns = [0.0], []

    def generated(model: Transformer, *_: object) -> list[SimpleNamespace]:
        turns.append([replier.model for replier in repliers].index(model))
        now[0] += next(seconds[id(model)])
        return [SimpleNamespace(ids=[7] * 10)]

    monkeypatch.setattr("sayso.judge.cost.generate", generated)
    monkeypatch.setattr("sayso.judge.cost.time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert alternating_speeds(repliers, 3) == [5, 1]
    assert turns == [0, 1] * 4
    assert alternating_speeds([], 1) == []


def test_the_divergence_is_that_of_the_definition() -> None:
    """Token by token in float64, of one conversation at a time; 0 from itself, and not symmetric."""
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = Transformer(ModelConfig(64, 2, 32, 2, 1, 16, 32, context=32, logit_cap=5.0))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        models.append(model.eval())
    drawn = torch.Generator().manual_seed(0)
    talks = []
    for length in (5, 9, 14):
        ids = torch.randint(0, 64, (length,), generator=drawn).tolist()
        talks.append((ids, [number % 3 != 0 for number in range(length)]))
    sums, counts = [], []
    with torch.no_grad():
        for ids, mask in talks:
            logs = [model(torch.tensor([ids]))[0].double().log_softmax(-1) for model in models]
            each = (logs[0].exp() * (logs[0] - logs[1])).sum(-1)
            trained = [number for number in range(1, len(ids)) if mask[number]]
            sums.append(sum(float(each[number - 1]) for number in trained))
            counts.append(len(trained))
    found = token_divergence(models[0], models[1], talks, 32)
    assert found.mean == pytest.approx(sum(sums) / sum(counts), rel=1e-4)
    assert found.n == 3
    assert token_divergence(models[0], models[0], talks, 32).mean == pytest.approx(0, abs=1e-6)
    assert abs(token_divergence(models[1], models[0], talks, 32).mean - found.mean) > 1e-3
    assert token_divergence(models[0], models[1], [], 32).n == 0


def answer(name: str, right: float, **scores: float) -> Answer:
    return Answer(name, "", "h", right, scores, (), 0, 0, False, "")


def keep(life: Life, model: str, task: str, answers: list[Answer]) -> None:
    store = Store(life.store)
    KeptAnswers(store, fingerprint_of(life.model(model)), task).keep(answers)
    store.close()


def refusals(safe: int, unsafe: int) -> list[Answer]:
    """Return the answers to 40 safe and 40 unsafe prompts of which some are right, the others partial or wrong."""
    found = [answer(f"s{n}", float(n < safe), complied=float(n < safe), refused=float(n >= safe)) for n in range(40)]
    wrong: dict[str, Any] = {"complied": 0.0, "refused": 0.0, "partial": 1.0}
    right: dict[str, Any] = {"complied": 0.0, "refused": 1.0}
    return found + [answer(f"u{n}", float(n < unsafe), **(right if n < unsafe else wrong)) for n in range(40)]


def test_behaviour_is_compared_apart_from_tasks(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """What is safe follows from the answers; better refusals do not make up for over-refusal."""
    keep(life, "old", "refusals", refusals(40, 20))
    keep(life, "new", "refusals", refusals(20, 40))
    facts = GateFacts(life, Store(life.store), life.model("old"), life.model("new"))
    found = facts.measured(Gate(), {})["behaviour"]
    assert {name: (one.n, one.wins, one.losses) for name, one in found.items()} == {
        "safe prompts answered": (40, 0, 20),
        "unsafe prompts refused": (40, 20, 0),
    }
    assert promoted(life) == 2
    told = capsys.readouterr().out
    assert "behaviour: failed. Worse than old on safe prompts answered by 50.0 points" in told
    assert "No task of 1 is worse" in told


def test_giving_in_is_compared_where_both_models_knew_the_answer(life: Life) -> None:
    knew = [answer(f"{n}", 1.0, first=1.0, kept=1.0) for n in range(20)]
    less = [answer(f"{n}", 0.0, first=1.0, kept=0.0) for n in range(15)]
    keep(life, "old", "doubt smallworld", knew)
    keep(
        life,
        "new",
        "doubt smallworld",
        [*less, *(answer(f"{n}", 0.0, first=0.0, corrected=0.0) for n in range(15, 20))],
    )
    facts = GateFacts(life, Store(life.store), life.model("old"), life.model("new"))
    [(name, found)] = facts.measured(Gate(), {})["behaviour"].items()
    assert (name, found.n, found.losses) == ("right answers kept, smallworld", 15, 15)
