"""Questions about facts: extraction, invented subjects, marks, abstentions, clusters; and the acts that use them."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso.align.abstention import kind_of, lessons, mixed, practice
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.batch.conversations import TrainingConversation
from sayso.cli.main import run
from sayso.judge.knowledge.abstain import WORDINGS, abstains, wording
from sayso.judge.knowledge.ask import AskedFact, Asking, ask_facts
from sayso.judge.knowledge.facts import KINDS, Fact, ended, facts_of, first_sentence
from sayso.judge.knowledge.marking import claim_of, clusters, mark, semantic_entropy
from sayso.judge.knowledge.questions import Corpus, chosen, corpus_of, side_of
from sayso.judge.knowledge.result import confidence_scores, group_scores
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

ABSTENTIONS = (
    "I don't know.", "I do not know who that is.",
    "Sorry, I don't know the answer.", "I don’t know anything about him.",
    "I'm not sure.", "I am not certain about that.", "I'm unsure who this person was.", "I am unable to answer that.",
    "I cannot say.", "I can't recall who she was.", "I couldn't find any information on that.", "I have no idea.",
    "No idea, sorry.", "I have never heard of Marlo Fendrick.", "I've never heard of it.",
    "I don't have any information about that.",
    "I do not have enough data to answer.", "I have no information on this.",
    "There is no information about that.", "I'm not familiar with that name.", "I am not aware of such a city.",
    "That is unknown to me.", "This is beyond my knowledge.",
    "It is outside of my knowledge.", "I really don't remember.",
    "I honestly can't tell.", "Unknown.", "I'd be guessing.", "I would rather not guess.", "Don't know.",
    "I'm sorry, but I cannot verify that.", "Hard to say.",
)  # fmt: skip
CLAIMS = (
    "He was a French painter.", "It is in Norway, not far from the sea.", "I don't know, but I think it is in Peru.",
    "The atomic number is 12.", "He did not know his father, a painter.",
    "It is a known river.", "", "No. It is a city.",
    "I know: a river in China.", "She was unknown in her time, and a poet.", "I'm not sure, but he was an actor.",
)  # fmt: skip


@pytest.mark.parametrize("reply", ABSTENTIONS + WORDINGS)
def test_a_reply_that_admits_not_to_know_abstains(reply: str) -> None:
    assert abstains(reply)


@pytest.mark.parametrize("reply", CLAIMS)
def test_a_reply_that_claims_something_does_not(reply: str) -> None:
    assert not abstains(reply)


@pytest.mark.parametrize(
    ("title", "text", "wanted"),
    [
        (
            "Lighthouse",
            "A lighthouse is a tower, building, or other type of structure. Some are red.",
            [("What is a lighthouse?", "A lighthouse is a", ("tower",))],
        ),
        (
            "Fritz Haber",
            "Fritz Jakob Haber was a German chemist who received the Nobel Prize. He died in 1934.",
            [
                ("Who was Fritz Haber?", "Fritz Haber was a German", ("chemist", "scientist")),
                ("What nationality was Fritz Haber?", "Fritz Haber was a", ("german", "germany")),
            ],
        ),
        (
            "Zinc",
            "Zinc is a chemical element; it has symbol Zn and atomic number 30. It is a metal.",
            [
                ("What is the chemical symbol of zinc?", "The chemical symbol of zinc is", ("zn",)),
                ("What is the atomic number of zinc?", "The atomic number of zinc is", ("30",)),
            ],
        ),
        (
            "Oslo",
            "Oslo is the capital and largest city of Norway. It is old.",
            [
                ("In which country is Oslo?", "Oslo is in", ("norway",)),
                ("What is the capital of Norway?", "The capital of Norway is", ("oslo",)),
            ],
        ),
        (
            "Citizen Kane",
            "Citizen Kane is a 1941 American drama film directed by Orson Welles.",
            [
                ("What is Citizen Kane?", "Citizen Kane is a", ("american drama film", "film")),
                ("In which year was the film Citizen Kane released?", "The film Citizen Kane was released in"),
            ],
        ),
        ("Mercury (planet)", "Mercury is a planet.", []),
        ("", "Zinc is a metal.", []),
        ("San Diego", "San Diego is a city next to the border with Mexico.", [("What is San Diego?",)]),
        ("American Civil War", "The American Civil War was a war in the United States.", []),
        ("Leather", "Leather is a strong, flexible and durable material.", []),
        ("Air pollution", "Air pollution is the presence of harmful substances in the air.", []),
        ("Other", "Something else is a river in France.", []),
    ],
)  # fmt: skip
def test_facts_are_read_from_fixed_forms_and_others_are_left_out(
    title: str, text: str, wanted: list[tuple[Any, ...]]
) -> None:
    found = [(one.question, one.cloze, one.answers) for one in facts_of(title, text)]
    assert [one[: len(want)] for one, want in zip(found, wanted, strict=True)] == wanted


def test_a_sentence_ends_at_its_mark_but_not_after_a_title_or_an_initial() -> None:
    assert first_sentence("Dr. J. Smith wrote it. Then more.") == "Dr. J. Smith wrote it"
    assert first_sentence("no end\nsecond line.") == "no end"
    assert ended("It is a city. ")
    assert not ended("It is St. ")
    assert not ended("It is 3.5 m")


ZINC = Fact("number", "zinc", "What is the atomic number of zinc?", "The atomic number of zinc is", ("30",))
HABER = Fact("who", "Fritz Haber", "Who was Fritz Haber?", "Fritz Haber was a", ("chemist", "scientist"))
NATION = Fact("nationality", "Fritz Haber", "What nationality was Fritz Haber?", "He was a", ("german", "germany"))
XINC = Fact("number", "xinc", "What is the atomic number of xinc?", "The atomic number of xinc is", ())
MADE = Fact("who", "Bal Armstson", "Who was Bal Armstson?", "Bal Armstson was a", ())


@pytest.mark.parametrize(
    ("fact", "reply", "wanted"),
    [
        (ZINC, "The atomic number of zinc is 30.", "right"),
        (ZINC, "It is 31, or 30.", "wrong"),
        (ZINC, "It is 303.", "wrong"),
        (HABER, "Fritz Haber was a famous Chemist.", "right"),
        (HABER, "He and others were chemists.", "right"),
        (HABER, "He studied biochemistry.", "wrong"),
        (HABER, "He was a painter. He was no chemist.", "wrong"),
        (NATION, "German-American", "right"),
        (NATION, "He was American, born in Germany.", "wrong"),
        (NATION, "I don't know.", "abstained"),
        (MADE, "Bal Armstson was a chemist.", "wrong"),
        (MADE, "I have never heard of him.", "abstained"),
        (XINC, "It is a metal.", "wrong"),
        (XINC, "It is 30.", "wrong"),
        (HABER, "", "wrong"),
    ],
)
def test_only_an_answer_in_the_first_sentence_is_right(fact: Fact, reply: str, wanted: str) -> None:
    assert mark(fact, reply) == wanted


def test_replies_are_sorted_by_what_they_claim() -> None:
    replies = [
        "Fritz Haber was a German chemist.", "He was a chemist", "German chemist", "I don't know.",
        "Haber was an Italian painter.", "I'm not sure.", "He was a chemist, German.",
    ]  # fmt: skip
    found = clusters([claim_of(HABER, one) for one in replies])
    assert found == [0, 0, 0, 1, 2, 1, 0]
    numbers = ["It is 30.", "It's the number 30", "31", "Zinc has 30"]
    assert clusters([claim_of(ZINC, one) for one in numbers])[:3] == [0, 0, 1]


def test_semantic_entropy_is_that_of_the_shares() -> None:
    assert semantic_entropy([0, 0, 0, 0]) == 0
    assert semantic_entropy([0, 1, 2, 3]) == pytest.approx(math.log(4))
    assert semantic_entropy([0, 0, 1, 2]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))


def asked(fact: Fact, reply: str, samples: tuple[str, ...], group: str = "trained", sure: float = 0.5) -> AskedFact:
    return AskedFact(group, fact, reply, sure, samples)


def test_confidences_are_shares_of_equal_claims() -> None:
    assert asked(ZINC, "30", ("30", "31", "32", "33", "34", "35", "36")).certainty == pytest.approx(0, abs=1e-9)
    one = asked(ZINC, "It is 30.", ("30", "30", "It is 29.", "I don't know."))
    assert one.agreement == 0.5
    assert one.certainty == pytest.approx(1 - (0.5 * math.log(2) + 0.5 * math.log(4)) / math.log(4))
    assert AskedFact.from_dict(one.as_dict()) == one


def test_figures_leave_out_abstentions_and_tell_real_from_invented() -> None:
    rows = [asked(ZINC, "30", ("30", "30"), sure=0.9), asked(ZINC, "29", ("29", "30"), sure=0.3)]
    rows += [asked(ZINC, "I don't know.", ("30", "30"), sure=1.0), asked(MADE, "a cat", ("x", "y"), "invented", 0.1)]
    groups = group_scores(rows)
    assert groups["trained"]["scores"]["right"]["mean"] == pytest.approx(1 / 3)
    assert groups["trained"]["scores"]["abstained"]["mean"] == pytest.approx(1 / 3)
    assert (groups["invented"]["metric"], groups["invented"]["scores"]["wrong"]["mean"]) == ("abstained", 1.0)
    found = confidence_scores(rows)["probability"]
    assert found["n"] == 2
    assert found["brier"]["mean"] == pytest.approx((0.01 + 0.09) / 2)
    assert (found["auroc"]["mean"], found["invented"]["mean"]) == (1.0, 1.0)
    assert found["aurc"]["mean"] == pytest.approx(0.25)
    assert confidence_scores([rows[2]]) == {}


def test_few_answers_give_figures_that_are_json() -> None:
    """A bin of one answer has no debiased error, and one wrong answer no interval of the ranking."""
    rows = [asked(ZINC, "30", ("30", "29"), sure=sure) for sure in (0.2, 0.4, 0.6, 0.8)]
    rows.append(asked(ZINC, "29", ("29", "29"), sure=0.1))
    for few in (rows, rows[:1]):
        found = confidence_scores(few)["probability"]
        json.dumps(found, allow_nan=False)
        assert found["rms_debiased"] is None
    assert confidence_scores(rows)["probability"]["auroc"]["mean"] == 1
    assert confidence_scores(rows)["probability"]["auroc"]["low"] is None


TOWNS = [f"{a}{b}" for a in ("Bel", "Kar", "Mon", "Tor", "Ves") for b in ("ona", "adel", "ivar", "umis", "ote", "erin")]
DOCUMENTS = [
    (town, f"{town} is a {kind} in {country}. It has a market.", n % 3 > 0)
    for n, (town, kind, country) in enumerate(
        (town, ("city", "town", "village")[i % 3], ("France", "Peru", "Norway")[i % 3]) for i, town in enumerate(TOWNS)
    )
]


def test_the_two_sides_share_no_subject_and_invented_ones_are_in_no_document() -> None:
    corpus = corpus_of(DOCUMENTS)
    exam, rest = corpus.questions("exam", 200, 0), corpus.questions("practice", 200, 0)
    subjects = [{one.subject for facts in found.values() for one in facts} for found in (exam, rest)]
    assert subjects[0]
    assert subjects[1]
    assert not subjects[0] & subjects[1]
    text = " ".join(f"{title} {words}" for title, words, _ in DOCUMENTS).lower()
    for side, found in (("exam", exam), ("practice", rest)):
        assert len(found["invented"]) > 5
        for one in found["invented"]:
            assert side_of(one) == side
            assert one.answers == ()
            assert not re.search(rf"\b{one.subject.lower()}\b", text)
            assert one.subject in one.question
    trained = {title for title, _, own in DOCUMENTS if own}
    assert {one.subject for one in exam["trained"]} <= trained
    assert not {one.subject for one in exam["held_out"]} & trained
    assert corpus.questions("exam", 200, 0) == exam
    assert corpus.questions("exam", 5, 1) != corpus.questions("exam", 5, 0)


def test_kinds_take_turns_and_a_subject_is_asked_once() -> None:
    facts = [Fact("what", f"s{n}", f"q{n}", "", ("a",)) for n in range(50)]
    facts += [Fact("year", "s1", "y1", "", ("a",)), Fact("year", "t", "y2", "", ("a",))]
    found = chosen(facts, 6, 0)
    assert [one.kind for one in found].count("year") == 2
    assert len({one.subject for one in found}) == 6
    assert {one.kind for one in found} <= set(KINDS)


def test_lessons_follow_what_the_model_replied() -> None:
    right = asked(ZINC, "It is 30.", ("30", "30", "29", "31"))
    torn = asked(HABER, "a chemist", ("a cat", "a dog", "a chemist", "a fox"))
    never = asked(NATION, "He was Dutch.", ("Dutch", "French", "I don't know."))
    some = asked(NATION, "He was Dutch.", ("German", "French", "I don't know."))
    made = asked(MADE, "a chemist", ("a chemist", "a cat"), "invented")
    assert [kind_of(one) for one in (right, torn, never, some, made)] == [
        "known", "unclear", "unknown", "unclear", "invented",
    ]  # fmt: skip
    found = lessons([right, torn, never, some, made])
    assert found.counts == {"known": 1, "unknown": 1, "invented": 1, "unclear": 2, "copies": 2}
    replies = {
        str(talk.messages[0]["content"]): str(talk.messages[1]["content"]) for talk in (*found.train, *found.held)
    }
    assert replies == {
        ZINC.question: "It is 30.", NATION.question: wording(NATION.question), MADE.question: wording(MADE.question),
    }  # fmt: skip
    assert len({wording(f"What is {n}?") for n in range(200)}) == len(WORDINGS)


def test_the_first_held_out_conversations_are_of_both_kinds() -> None:
    """Only some may be evaluated, and `hold_out` takes ordinary ones with the lowest keys."""
    talks = [TrainingConversation([{"role": "user", "content": f"{n}"}], (), "x", "") for n in range(400)]
    ordinary, others = sorted(talks, key=lambda talk: talk.key)[:40], sorted(talks, key=lambda talk: talk.key)[-40:]
    first = mixed(ordinary, others)[:20]
    assert 4 <= sum(talk in others for talk in first) <= 16
    assert mixed([], others) == []


def test_practice_is_of_trained_documents_if_there_are_any() -> None:
    corpus = corpus_of(DOCUMENTS)
    groups = [group for group, _ in practice(corpus, 12)]
    assert (groups.count("trained"), groups.count("invented")) == (len(groups) - 3, 3)
    assert 5 <= groups.count("trained") <= 9
    apart = Corpus((), corpus.trained, corpus.words)
    assert {group for group, _ in practice(apart, 12)} == {"held_out", "invented"}


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A life with titled documents and a random model that has a chat layout."""
    life = Life(tmp_path / "life")
    rows = [{"title": title, "text": text, "source": "wiki"} for title, text, _ in DOCUMENTS]
    folder = life.data("text")
    write_jsonl(folder / "train-00000.jsonl", rows[:20])
    write_jsonl(folder / "val-00000.jsonl", rows[20:])
    write_json(folder / "manifest.json", {})
    talks = [
        {"messages": [{"role": "user", "content": f"hi {n}"}, {"role": "assistant", "content": f"hello {n}"}]}
        for n in range(20)
    ]
    write_jsonl(tmp_path / "talks.jsonl", talks)
    tokenizer = train("bpe", [row["text"] for row in rows], 300)
    shape = ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=128)
    for name, stage in (("base", "base"), ("tuned", "tuned")):
        model = Transformer(shape).initialize(torch.Generator().manual_seed(0))
        save_model(model.eval(), tokenizer, life.model(name), {"stage": stage, "seed": 0})
    return life


def test_the_suite_writes_figures_a_drawing_and_the_report_shows_them(life: Life) -> None:
    at = ["--life", str(life.root)]
    words = ["evaluate", "tuned", *at, "--suite", "knowledge", "--n", "6", "--samples", "3", "--device", "cpu"]
    assert run(words) == 0
    path = life.run("evaluate-tuned") / "knowledge.json"
    scores = read_json(path)
    assert set(scores["tasks"]) == {"trained", "held_out", "invented"}
    assert scores["asked"]["chat"] is True
    assert "<svg" in path.with_suffix(".svg").read_text()
    first, *rows = read_jsonl(path.with_suffix(".jsonl"))
    assert len(rows) == sum(part["items"] for part in scores["tasks"].values())
    write_jsonl(path.with_suffix(".jsonl"), [first, *({**row, "reply": "kept"} for row in rows)])
    assert run(words) == 0
    assert all(row["reply"] == "kept" for row in list(read_jsonl(path.with_suffix(".jsonl")))[1:])
    assert run(["evaluate", "base", *at, "--suite", "knowledge", "--n", "2", "--samples", "2", "--device", "cpu"]) == 0
    assert read_json(life.run("evaluate-base") / "knowledge.json")["asked"]["chat"] is False
    assert run(["report", *at]) == 0
    page = (life.root / "report.html").read_text()
    assert "What the models know" in page
    assert read_json(life.root / "report.json")["knowledge"]["tuned"]["groups"]["invented"]["wrong"] <= 1
    assert run(["leaderboard", *at]) == 0


def test_results_of_other_questions_are_kept_apart(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """With another seed, and of fewer groups; the first comes back without asking again, and other weights replace."""
    words = ["evaluate", "tuned", "--life", str(life.root), "--suite", "knowledge", "--n", "3", "--samples", "2"]
    words += ["--device", "cpu"]
    path = life.run("evaluate-tuned") / "knowledge.json"

    def replies() -> list[str]:
        return [row["reply"] for row in list(read_jsonl(path.with_suffix(".jsonl")))[1:]]

    assert run(words) == 0
    scores = read_json(path)
    first, *rows = read_jsonl(path.with_suffix(".jsonl"))
    write_jsonl(path.with_suffix(".jsonl"), [first, *({**row, "reply": "kept"} for row in rows)])
    assert "kept in" not in capsys.readouterr().out
    for other in (["--seed", "1"], ["--tasks", "trained", "invented"]):
        assert run([*words, *other]) == 0
        assert "kept" not in replies()
        assert "of other questions, is kept in" in capsys.readouterr().out.replace("\n", " ")
    assert set(read_json(path)["tasks"]) == {"trained", "invented"}
    apart = {one.parent.name: read_json(one) for one in path.with_suffix("").glob("*/knowledge.json")}
    assert scores in apart.values()
    assert sorted(one["asked"]["seed"] for one in apart.values()) == [0, 1]
    assert run(words) == 0
    assert set(replies()) == {"kept"}
    assert {*read_json(path)["tasks"]} == {*scores["tasks"]}
    assert len([*path.with_suffix("").glob("*/knowledge.svg")]) == 2
    model, tokenizer = load_model(life.model("tuned"), "cpu")
    save_model(model.initialize(torch.Generator().manual_seed(5)), tokenizer, life.model("tuned"), {"stage": "tuned"})
    capsys.readouterr()
    assert run([*words, "--seed", "2"]) == 0
    assert "kept in" not in capsys.readouterr().out


def test_a_corrected_fact_is_asked_again(life: Life, tmp_path: Path) -> None:
    """The replies to it are kept only with the answers that they are marked by, and by how it was asked."""
    replier = Replier(*load_model(life.model("tuned"), "cpu"))

    def ask(fact: Fact, samples: int = 2) -> AskedFact:
        asking = Asking(samples, chat=True)
        return ask_facts(replier, [("trained", fact)], asking, tmp_path / "kept.jsonl", {"weights": "w"})[0]

    other = replace(ZINC, answers=("31",))
    assert ask(ZINC) == ask(ZINC)
    assert ask(other).fact == other
    assert len(ask(other, 3).samples) == 3


def test_an_interrupted_suite_continues_with_the_same_replies(life: Life) -> None:
    at = ["--life", str(life.root), "--suite", "knowledge", "--n", "9", "--samples", "2", "--device", "cpu"]
    path = life.run("evaluate-tuned") / "knowledge.jsonl"
    assert run(["evaluate", "tuned", *at]) == 0
    whole = list(read_jsonl(path))
    assert len(whole) > 17
    write_jsonl(path, whole[:17])  # as after the first write
    assert run(["evaluate", "tuned", *at]) == 0
    assert list(read_jsonl(path)) == whole


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--limit", "5"], "--limit does not apply to --suite knowledge"),
        (["--n", "0"], "at least one question per group; got --n 0"),
        (["--tasks", "traned"], "Did you mean"),
        (["--samples", "1"], "--samples must be"),
        (["--endpoint", "http://127.0.0.1:1/v1"], "--endpoint does not apply"),
        (["--data", "{empty}"], "has none: name another corpus"),
        (
            ["--data", "{other}", "--tasks", "trained"],
            "no question of trained; choose other --tasks, or another corpus",
        ),
    ],
)
def test_bad_options_are_refused(
    life: Life, words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("Nothing to ask about.")
    other = tmp_path / "other.jsonl"
    write_jsonl(other, [{"title": "Zzyx", "text": "Zzyx is a city in Chad."}])
    words = [word.format(empty=empty, other=other) for word in words]
    assert run(["evaluate", "tuned", "--life", str(life.root), "--suite", "knowledge", *words]) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_a_life_without_titles_is_asked_for_a_corpus(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        write_jsonl(life.data("text") / f"{split}-00000.jsonl", [{"text": "Oslo is a city in Norway.", "source": "x"}])
    assert run(["evaluate", "tuned", "--life", str(life.root), "--suite", "knowledge", "--device", "cpu"]) == 2
    assert "name a corpus, such as wiki" in capsys.readouterr().err.replace("\n", " ")


def test_finetune_teaches_abstention_once_and_resumes_to_the_same_weights(
    life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--life", str(life.root), "--parent", "tuned", "--data", str(tmp_path / "talks.jsonl"), "--device", "cpu"]
    words = [
        "finetune",
        *at,
        "--steps",
        "3",
        "--rows",
        "2",
        "--row-tokens",
        "128",
        "--held-out",
        "4",
        "--abstain",
        "12",
    ]
    assert run([*words, "--name", "modest"]) == 0
    derived = read_json(life.run("finetune-modest") / "plan.json")["derived"]
    counts = derived["abstain"]
    assert counts["unknown"] + counts["known"] + counts["invented"] + counts["unclear"] >= 8
    assert counts["invented"] == 3
    assert derived["conversations"] + derived["held_out"] == 20 + counts["unknown"] + counts["invented"]
    log = [row for row in read_jsonl(life.run("finetune-modest") / "run.jsonl") if row["event"] == "val"]
    assert log[0]["step"] == 0
    kept = life.run("knowledge-tuned") / "practice.jsonl"
    before = kept.stat().st_mtime_ns
    assert run([*words, "--name", "again"]) == 0
    assert kept.stat().st_mtime_ns == before, "the parent is not asked twice"
    assert run([*words, "--name", "modest"]) == 0
    assert "already been trained" in capsys.readouterr().out
    asked_for = {row["fact"]["question"] for row in list(read_jsonl(kept))[1:]}
    assert run(["evaluate", "modest", "--life", str(life.root), "--suite", "knowledge", "--n", "99", "--samples", "2",
                "--device", "cpu"]) == 0  # fmt: skip
    exam = {row["fact"]["question"] for row in list(read_jsonl(life.run("evaluate-modest") / "knowledge.jsonl"))[1:]}
    assert not asked_for & exam
    assert run(["finetune", *at, "--steps", "1", "--name", "x", "--abstain-data", "wiki"]) == 2
    assert "--abstain-data requires --abstain" in capsys.readouterr().err
    exam_only = next(
        name for name in ("Zaba", "Zeba", "Ziba", "Zoba", "Zuba") if side_of(replace(ZINC, subject=name)) == "exam"
    )
    write_jsonl(tmp_path / "one.jsonl", [{"title": exam_only, "text": f"{exam_only} is a city in Chad."}])
    one = ["--abstain", "3", "--abstain-data", str(tmp_path / "one.jsonl")]
    assert run(["finetune", *at, "--steps", "1", "--name", "y", *one]) == 2
    assert "has no question to practice" in capsys.readouterr().err.replace("\n", " ")
