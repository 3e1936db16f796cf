"""Scores on held-out conversations, their comparison in words, and the report's section on them."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sayso.base.jsonl import write_jsonl
from sayso.batch.conversations import TrainingConversation
from sayso.judge import talks
from sayso.judge.statistics.estimate import estimate, ratio
from sayso.judge.talks import HeldTalks, score_talks, talk_nats, talk_sample, talks_json, written
from sayso.judge.tuning import loss_change, more_data, reply_change, tuning_verdict
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.report.talks import talks as report_talks
from sayso.token.chat import render
from sayso.token.train import train

TOKENIZER = train("bpe", ["the cat sat on the mat. who? yes, no. " * 9], 300)


@pytest.fixture(scope="module")
def replier() -> Replier:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(TOKENIZER.vocab_size, 2, 32, 2, 1, 16, 48, context=120)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return Replier(model, TOKENIZER)


def talk(*texts: str) -> TrainingConversation:
    """Return a conversation whose turns alternate, the user's first."""
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return TrainingConversation(turns, (), "own", "here")


TALKS = [talk("who?", "the cat"), talk("who sat?", "yes, the cat.", "no?", "no"), talk("the mat", "x" * 200)]


def test_the_loss_of_a_conversation_is_that_of_its_replies(replier: Replier) -> None:
    """Of every reply, with the token that ends it, in one batch or alone."""
    nats, tokens = talk_nats(replier, TALKS[:2])
    for one, value, count in zip(TALKS, nats, tokens, strict=False):
        ids, mask = render(TOKENIZER, one.messages)
        with torch.inference_mode():
            logp = replier.model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
        expected = -sum(float(logp[n - 1, ids[n]]) for n in range(1, len(ids)) if mask[n])
        assert value == pytest.approx(expected, rel=1e-4)
        assert count == sum(mask)


def test_a_conversation_longer_than_the_context_loses_its_beginning(replier: Replier) -> None:
    (long,), (count,) = talk_nats(replier, [TALKS[2]])
    assert count == replier.context - 1, "the first id that is left has nothing before it"
    assert math.isfinite(long)


def test_short_replies_are_compared_with_those_written(replier: Replier) -> None:
    """A model whose own reply was written down gets it right; a long reply is not compared."""
    own = replier.replies([TALKS[0].prompt()], talks._REPLY)[0].text.strip()
    own = own[: talks.SHORT]
    asked = [talk("who?", own if len(own) < talks.SHORT else "the cat"), talk("who?", "y" * (talks.SHORT + 1))]
    found = score_talks(replier, [*asked, talk("mat?", "zebra")])
    assert len(found.exact) == len(found.f1) == 2
    assert found.exact[1] == found.f1[1] == 0
    assert [row[0] for row in found.replies] == ["who?", "who?", "mat?"]
    assert found.replies[2][1] == "zebra"
    edge = score_talks(replier, [talk("who?", "y" * talks.SHORT)])
    assert len(edge.exact) == 1


def test_the_sample_does_not_depend_on_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [{"messages": list(talk(f"q{n}", f"a{n}").messages)} for n in range(30)]
    chosen = []
    for name, some in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "test.jsonl", some)
        chosen.append([written(one) for one in talk_sample(tmp_path / name / "test.jsonl", 7)])
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 7
    assert chosen[0] != [f"a{n}" for n in range(7)]
    assert talk_sample(tmp_path / "a" / "none.jsonl", 7) == []


def test_the_data_has_what_a_comparison_needs(replier: Replier) -> None:
    data = talks_json(replier, HeldTalks(tuple(TALKS[:2]), (TALKS[0],)))
    nats, tokens = talk_nats(replier, TALKS[:2])
    assert data["loss"]["mean"] == pytest.approx(sum(nats) / sum(tokens))
    assert data["familiar_loss"]["mean"] == pytest.approx(nats[0] / tokens[0])
    assert data["values"]["tokens"] == tokens


def data(nats: Sequence[float], exact: Sequence[float] = (), familiar: float = 1.0, tokens: int = 10) -> dict[str, Any]:
    """Return data as `talks_json` makes it, of conversations with `tokens` tokens each."""
    counts = [tokens] * len(nats)
    scores = talks.TalkScores(tuple(nats), tuple(counts), tuple(exact), tuple(exact), ())
    known = ratio([familiar * tokens + wobble for wobble in (-1, 0, 1, 0)], [tokens] * 4)
    return {**scores.as_dict(), "familiar_loss": known.as_dict()}


def test_changes_are_paired_by_conversation() -> None:
    """A drop of one nat in each of very different conversations is certain."""
    before, after = data([10.0, 50.0, 90.0], [0, 0, 1]), data([9.0, 49.0, 89.0], [1, 0, 1])
    change = loss_change(before, after)
    assert change is not None
    assert (change.mean, change.low, change.high) == pytest.approx((-0.1, -0.1, -0.1))
    gain = reply_change(before, after, "exact")
    assert gain is not None
    assert gain.mean == pytest.approx(1 / 3)
    assert loss_change(before, data([1.0, 2.0])) is None
    assert reply_change(before, data([1.0] * 3, [1]), "exact") is None


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ([10, 20, 30], [9, 19, 29], "(−0.10, −0.10 to −0.10): tuning helped."),
        ([9, 19, 29], [10, 20, 30], "(+0.10, +0.10 to +0.10): tuning made it worse."),
        ([10, 20, 30], [12, 18, 30], "(+0.00, −0.50 to +0.50): no difference can be seen."),
        ([10], [9], "one conversation is too few"),
        ([10, 20], [10], "not evaluated on the same conversations"),
    ],
)
def test_a_person_is_told_whether_tuning_helped(before: list[float], after: list[float], says: str) -> None:
    assert says in tuning_verdict(data(before), data(after), ("base", "tuned"))


def test_short_replies_are_part_of_the_verdict() -> None:
    told = tuning_verdict(data([9, 9], [0, 0]), data([8, 8], [1, 1]), ("base", "tuned"))
    assert "On 2 held-out conversations the tuned model needs 0.80 nats a token where the base model needs 0.90" in told
    assert "100% of 2 short replies are those written, where it was 0% (+100, +100 to +100 points)." in told


def test_memorized_conversations_ask_for_more_of_them() -> None:
    """A loss clearly lower on what was trained on; otherwise, more steps come first."""
    assert "more conversations would probably help" in more_data(data([30.0, 31.0, 29.0], familiar=1.0))
    assert "more steps may help before" in more_data(data([10.0, 11.0, 9.0], familiar=1.0))
    assert "more steps may help before" in more_data(data([10.4, 10.2, 10.5], familiar=1.0)), "a gap within its error"
    assert more_data({**data([10.0, 11.0]), "familiar_loss": ratio([], []).as_dict()}) == ""


@pytest.mark.parametrize(("short", "asks"), [(0, True), (1, True), (2, False), (4, False)])
def test_the_report_asks_for_a_judge_where_most_replies_are_long(short: int, asks: bool) -> None:
    """Half of them short are enough; a single stage has nothing to be compared with."""
    found = {stage: {"conversations": data([9.0] * 4, [0.0] * short), "bpb": {}} for stage in ("base", "tuned")}
    shown = report_talks(SimpleNamespace(scores=found))
    assert ("sayso judge base tuned --endpoint URL" in shown) == asks
    assert "sayso judge" not in report_talks(SimpleNamespace(scores={"base": found["base"]}))


def test_the_report_tells_what_was_forgotten() -> None:
    """From the first stage to the last, if both were asked which sentence comes next."""
    asked = {**estimate([1.0] * 12).as_dict(), "values": [1.0] * 12}
    lost = {**estimate([0.0] * 12).as_dict(), "values": [0.0] * 12}
    stages = {"base": asked, "tuned": asked, "aligned": lost}
    found = {
        stage: {"conversations": data([9.0, 9.0]), "bpb": {"real": {"mean": 1.0}}, "next_sentence": right}
        for stage, right in stages.items()
    }
    assert "the aligned model answers 0%, the base model 100%" in report_talks(SimpleNamespace(scores=found))
    for scores in found.values():
        scores["next_sentence"] = None
    assert "General ability" not in report_talks(SimpleNamespace(scores=found))
