"""What becomes training data: reliable annotators' ratings, nothing of held-out cases, and no copies; ties apart."""

import random
from pathlib import Path
from typing import Any

import pytest

from sayso.align.pairs.comparisons import read_ratings
from sayso.align.pairs.sources import _repeated
from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows, read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.feedback.barred import barred
from sayso.feedback.cases import Case
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.gather import Gathered, Rules, gather, gather_store
from sayso.feedback.ratings import Rater
from sayso.feedback.reliability import annotator_weights, standing
from sayso.feedback.store import Generation, Store
from sayso.run.gather import Gather
from sayso.run.gather import gather as gather_act

MINE, OTHERS = "a" * 12, "b" * 12
LOOP = "Well, " + "no more " * 9
HELD_OUT, TRAINED = "00000000", "00000001"  # digests of cases


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def ask(store: Store, text: str, *replies: str, fingerprint: str = MINE) -> list[int]:
    message = store.say(store.new_conversation().id, text)
    made = Generation("tuned", fingerprint, {}, "stop", 5, 3, 0.1)
    return [store.reply(message.id, reply, store.prompt(message.id), made).id for reply in replies]


def by(name: str) -> Rater:
    return Rater(name)


def case(asked: str, reply: str, digest: str) -> Case:
    return Case(1, "loop", [{"role": "user", "content": asked}], reply, "open", digest)


def replies(found: Gathered) -> list[str]:
    return [row["messages"][-1]["content"] for row in found.conversations]


def crowd(store: Store, raters: dict[str, float], items: int = 40, seed: int = 0) -> None:
    """Let raters, each right with a probability, rate replies of which half are good."""
    drawn = random.Random(seed)
    for number in range(items):
        [reply] = ask(store, f"Question {number}?", f"Answer {number}.")
        for name, right in raters.items():
            good = number % 2 == 0
            store.thumb(reply, 1 if good == (drawn.random() < right) else -1, by=by(name))


def test_the_weight_of_an_annotator_is_the_smoothed_agreement_with_the_others(store: Store) -> None:
    """By hand: ann and bob agree on three of four, and each of them is compared four times."""
    for number, (one, two) in enumerate([(1, 1), (-1, -1), (1, 1), (1, -1)]):
        [reply] = ask(store, f"{number}?", "So.")
        store.thumb(reply, one, by=by("ann"))
        store.thumb(reply, two, by=by("bob"))
    store.thumb(ask(store, "alone", "yes")[0], 1, by=by("new"))
    expected = ((3 + 4) / (4 + 5) - 0.5) / 0.3
    weights = annotator_weights(store.ratings())
    assert weights == {"ann": pytest.approx(expected, abs=1e-4), "bob": pytest.approx(expected, abs=1e-4), "new": 1.0}


def test_a_contrary_annotator_does_not_count(store: Store) -> None:
    crowd(store, {"ann": 0.95, "bob": 0.9, "cat": 0.95, "troll": 0.05, "coin": 0.5})
    weights = annotator_weights(store.ratings())
    assert weights["troll"] == 0
    assert weights["coin"] < 0.6
    assert min(weights[name] for name in ("ann", "bob", "cat")) > 0.6
    found = gather(store.ratings())
    assert found.left_out["rating of an annotator who disagrees with the others"] == 40
    good = {f"Answer {number}." for number in range(0, 40, 2)}
    kept = {row["reply"] for row in found.ratings if row["good"]}
    assert len(kept & good) >= 18
    assert len(kept - good) <= 2


def test_several_annotators_outvote_one(store: Store) -> None:
    """Whoever was last; a tie of votes counts for nobody; one person's latest thumb still wins."""
    [first], [second], [third] = (ask(store, text, "It is so.") for text in ("1?", "2?", "3?"))
    for name, value in (("ann", 1), ("bob", 1), ("cat", -1)):
        store.thumb(first, value, by=by(name))
    for name, value in (("ann", 1), ("bob", -1)):
        store.thumb(second, value, by=by(name))
    for value in (1, -1):
        store.thumb(third, value, by=by("dan"))
    found = gather(store.ratings())
    assert [(row["prompt"][0]["content"], row["good"]) for row in found.ratings] == [("1?", True), ("3?", False)]
    assert found.left_out["rating that other annotators contradict"] == 3


def test_choices_are_voted_on_whatever_the_order_of_the_replies(store: Store) -> None:
    one, other = ask(store, "A colour?", "Blue.", "Bluh.")
    store.choose(one, other, by=by("ann"))
    store.choose(one, other, by=by("bob"))
    store.choose(other, one, by=by("cat"))
    [pair] = gather(store.ratings()).pairs
    assert (pair["chosen"], pair["rejected"]) == ("Blue.", "Bluh.")


def test_nothing_is_left_out_of_one_persons_ratings(store: Store) -> None:
    """As before there were names."""
    crowd(store, {"": 0.5}, items=6)
    counted = standing(store.ratings())
    assert (len(counted.ratings), dict(counted.left_out)) == (6, {})
    assert {*counted.weights.values()} == {1.0}


def test_a_weight_is_how_often_a_row_is_repeated() -> None:
    rows: list[dict[str, Any]] = [{"prompt": "a"}, {"prompt": "b", "weight": 0.5}, {"prompt": "c", "weight": 0.1}]
    assert [row["prompt"] for row in _repeated(rows, 4)] == ["a"] * 4 + ["b"] * 2
    assert all("weight" not in row for row in _repeated(rows, 4))


def test_ties_are_kept_apart_on_sides_that_do_not_tell_who_was_first(store: Store) -> None:
    for number in range(40):
        one, other = ask(store, f"{number}?", f"Left {number}.", f"Right {number}.")
        store.choose(one, other, better=False)
    found = gather(store.ratings())
    assert found.pairs == []
    assert all(row["tie"] for row in found.ties)
    left = sum(row["chosen"].startswith("Left") for row in found.ties)
    assert 10 <= left <= 30
    assert gather(store.ratings()) == found
    assert found.made_of == {"ties from choices": 40}


def test_a_near_copy_is_left_out(store: Store) -> None:
    for text in ("The fox was red.", "the fox was red", "The fox was grey."):
        store.thumb(ask(store, "Which colour?", text)[0], 1)
    found = gather(store.ratings())
    assert replies(found) == ["The fox was red.", "The fox was grey."]
    assert found.left_out == {"near copy of another row": 2}, "of the conversations, and of the ratings"


def test_nothing_of_a_held_out_case_is_trained_on(store: Store) -> None:
    """Not even its corrected reply; of the other cases, that is trained on."""
    for asked in ("How does the held out story go on?", "How does the other story go on?"):
        store.edit(ask(store, asked, LOOP)[0], "They lived happily.")
        store.thumb(ask(store, asked, "It ends there.")[0], 1)
    cases = [
        case("How does the held out story go on?", LOOP, HELD_OUT),
        case("How does the other story go on?", LOOP, TRAINED),
    ]
    assert [one.held_out for one in cases] == [True, False]
    found = gather(store.ratings(), Rules(barred(cases)))
    asked = {row["messages"][0]["content"] for row in found.conversations}
    asked |= {row["prompt"][0]["content"] for row in (*found.pairs, *found.ratings)}
    assert asked == {"How does the other story go on?"}
    assert found.left_out["held-out evaluation case"] == 4, "two conversations, a pair and a rating"
    assert [(row["chosen"], row["rejected"]) for row in found.pairs] == [("They lived happily.", LOOP)]


def test_confirmed_misbehaviour_is_never_learned(store: Store) -> None:
    """A thumb up does not count against a case; as the worse reply it may be used."""
    bad, good = ask(store, "How does it go on?", LOOP, "It ends.")
    store.thumb(bad, 1)
    assert replies(gather(store.ratings())) == [LOOP]
    rules = Rules(barred([case("How does it go on?", LOOP, TRAINED)]))
    found = gather(store.ratings(), rules)
    assert (found.conversations, found.ratings) == ([], [])
    assert found.left_out == {"confirmed misbehaviour": 2}
    store.choose(good, bad)
    assert len(gather(store.ratings(), rules).pairs) == 1
    store.choose(bad, good)
    assert gather(store.ratings(), rules).pairs == []


def test_evaluation_texts_are_left_out(store: Store) -> None:
    text = "The old miller of the green valley sold three white horses to the king in winter."
    store.thumb(ask(store, "Tell me about the miller.", f"Once. {text} The end.")[0], 1)
    store.thumb(ask(store, "And the baker?", "He sold bread.")[0], 1)
    found = gather(store.ratings(), Rules(barred([], [text])))
    assert replies(found) == ["He sold bread."]
    assert found.left_out == {"evaluation text": 2}


def test_rows_of_the_model_itself_are_marked(store: Store) -> None:
    """An edit's better side is a person's; the replies of another model make a row off-policy."""
    one, other = ask(store, "1?", "Yes.", "No.")
    store.choose(one, other)
    store.edit(ask(store, "2?", "Five.")[0], "Four.")
    store.thumb(ask(store, "3?", "So.", fingerprint=OTHERS)[0], 1)
    found = gather(store.ratings(), Rules(trained=MINE))
    assert [row["on_policy"] for row in (*found.pairs, *found.ratings)] == [True, True, False]
    assert found.made_of["pairs on policy"] == 2
    assert all("on_policy" not in row for row in gather(store.ratings()).pairs)


def program(name: str | None) -> Rater:
    return Rater(name, "program")


def test_verdicts_of_programs_become_rewards(store: Store) -> None:
    """From 0 to 1, the mean of several programs; also single ratings, and pairs of right and wrong replies."""
    right, wrong, half = ask(store, "What is 2 + 2?", "4.", "5.", "Four, I think.")
    for reply, value in ((right, 1), (wrong, -1)):
        store.thumb(reply, value, by=program("sums"))
    for reply, points in ((right, 10), (wrong, 1), (half, 4)):
        store.points(reply, points, by=program("style"))
    found = gather(store.ratings())
    rows = [(row["reply"], row["rating"], row["good"], row["programs"]) for row in found.rewards]
    assert rows == [
        ("4.", 1.0, True, {"style": 1.0, "sums": 1.0}),
        ("5.", 0.0, False, {"style": 0.0, "sums": 0.0}),
        ("Four, I think.", 0.3333, False, {"style": 0.3333}),
    ]
    assert [(row["reply"], row["good"]) for row in found.ratings] == [
        ("4.", True),
        ("5.", False),
        ("Four, I think.", False),
    ]
    assert [(row["chosen"], row["rejected"]) for row in found.pairs] == [("4.", "5.")]
    assert found.conversations == [], "a right reply is not yet one that people like"
    assert found.made_of == {"pairs from programs": 1, "ratings from programs": 3, "rewards from programs": 3}
    assert found.left_out == {}


def test_the_latest_verdict_counts_and_may_be_removed(store: Store) -> None:
    one, other = ask(store, "2 + 2?", "4.", "5.")
    for value in (-1, 1):
        store.thumb(one, value, by=program("sums"))
    store.points(other, 9, by=program("sums"))
    store.points(other, 0, by=program("sums"))
    assert [(row["reply"], row["rating"]) for row in gather(store.ratings()).rewards] == [("4.", 1.0)]


def test_people_know_better_than_programs(store: Store) -> None:
    """Where they judged, their thumb is the single rating, no pair contradicts it, and their choice is the pair."""
    right, wrong = ask(store, "1?", "So.", "No.")
    store.thumb(right, 1, by=program("sums"))
    store.thumb(wrong, -1, by=program("sums"))
    store.thumb(right, -1, by=by("ann"))
    one, other = ask(store, "2?", "So.", "No.")
    store.thumb(one, 1, by=program("sums"))
    store.thumb(other, -1, by=program("sums"))
    store.choose(other, one, by=by("ann"))
    found = gather(store.ratings())
    assert [(row["reply"], row["good"]) for row in found.ratings if row["prompt"][0]["content"] == "1?"] == [
        ("So.", False),
        ("No.", False),
    ]
    assert [(row["chosen"], row["rejected"]) for row in found.pairs] == [("No.", "So.")]
    assert found.left_out == {"single rating by programs of a reply that people rated": 1}
    assert found.made_of["rewards from programs"] == 4


def test_a_program_that_people_contradict_does_not_count(store: Store) -> None:
    """Nor does it make the people look unreliable; one that nobody contradicts counts fully."""
    for number in range(6):
        [reply] = ask(store, f"{number}?", f"Answer {number}.")
        store.thumb(reply, 1, by=by("ann"))
        store.thumb(reply, -1, by=program("broken"))
        store.thumb(reply, 1, by=program("sound"))
    [alone] = ask(store, "Alone?", "Yes.")
    store.thumb(alone, -1, by=program("broken"))
    found = gather(store.ratings())
    assert found.left_out["verdict of a program that disagrees with people"] == 7
    assert {(row["rating"], *row["programs"]) for row in found.rewards} == {(1.0, "sound")}
    assert all("weight" not in row for row in found.rewards)
    assert len(found.conversations) == 6


def test_a_verdict_needs_a_name_and_a_whole_reply(store: Store) -> None:
    """A wrong reply may be cut short; points of people are counted, not gathered."""
    message = store.say(store.new_conversation().id, "Why?")
    cut, empty, wrong = (
        store.reply(message.id, text, store.prompt(message.id), Generation("tuned", MINE, {}, "length", 5, 3, 0.1)).id
        for text in ("Because the", " ", "So it")
    )
    for reply, value in ((cut, 1), (empty, -1), (wrong, -1)):
        store.thumb(reply, value, by=program("sums"))
    store.thumb(wrong, 1, by=program(None))
    store.points(wrong, 7, by=by("ann"))
    found = gather(store.ratings())
    assert [(row["reply"], row["good"]) for row in found.rewards] == [("So it", False)]
    assert found.left_out == {
        "points that a person or model gave": 1,
        "verdict of a program without a name": 1,
        "verdict on a reply that is empty or was cut short": 2,
    }


def test_rewards_train_what_reads_ratings(store: Store, tmp_path: Path) -> None:
    """The files are those that `sayso reward --ratings` and `sayso align --loss kto` read."""
    one, other = ask(store, "2 + 2 for ann@firm.io?", "4.", "5.")
    store.thumb(one, 1, by=program("sums"))
    store.points(other, 3, by=program("sums"))
    where = str(store.engine.url.database)
    manifest = gather_store(where, tmp_path / "feedback", trained=MINE)
    assert (manifest["rewards"], manifest["single_ratings"], manifest["made_of"]["rewards on policy"]) == (2, 2, 2)
    rewards = read_ratings(tmp_path / "feedback" / "rewards.jsonl", BadRows(), numbers=True)
    assert [row["rating"] for row in rewards] == [1.0, 0.2222]
    assert "[email]" in rewards[0]["prompt"][0]["content"]
    single = read_ratings(tmp_path / "feedback" / "ratings.jsonl", BadRows())
    assert [row["good"] for row in single] == [True, False]


def test_the_act_uses_cases_of_the_store_and_evaluation_files(tmp_path: Path) -> None:
    """From a flag to a case to what is left out, in the manifest."""
    life = Life(tmp_path / "life")
    store = Store(life.store)
    for number in range(12):
        store.edit(ask(store, f"Tell me story {number}, please", LOOP)[0], f"Story {number} is short.")
    flags = Flags(store)
    assert [new for *_, new in flags.scan([DETECTORS["loop"]])] == [{"loop": 12}]
    flags.mark([flag.id for flag in flags.listed()], "real")
    write_jsonl(tmp_path / "eval.jsonl", [{"text": "nothing of this text is in any reply of the store at all"}])
    manifest = gather_act(Gather(life=life.root, eval_texts=(tmp_path / "eval.jsonl",)))
    held_out = manifest["left_out"]["held-out evaluation case"]
    assert 0 < held_out < 24, "of twelve conversations and twelve pairs"
    assert manifest["conversations"] == manifest["pairs"] == 12 - held_out // 2
    rows = list(read_jsonl(life.data("feedback") / "chat.jsonl"))
    assert len(rows) == manifest["conversations"]
    again = gather_store(life.store, life.data("feedback"))
    assert again == {**manifest, "left_out": again["left_out"]}


def test_an_unknown_model_or_file_is_one_sentence(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    Store(life.store).close()
    with pytest.raises(UserError, match="nobody"):
        gather_act(Gather(life=life.root, policy="nobody"))
    with pytest.raises(UserError, match=r"none\.jsonl"):
        gather_act(Gather(life=life.root, eval_texts=(tmp_path / "none.jsonl",)))
