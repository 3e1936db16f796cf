"""What the charts are made of: measures of replies, sums by hour, the replies behind them, models on trial."""

import math
import statistics
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sql

from sayso.feedback.aliases import Aliases
from sayso.feedback.canary import CANDIDATE, CURRENT, FAILED, GOOD, CanaryLog
from sayso.feedback.candidates import Candidate, Candidates
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.flags import Flags
from sayso.feedback.measures import catch_up, hour_of
from sayso.feedback.ratings import Rater
from sayso.feedback.said import sample_words
from sayso.feedback.selected import Selection, select_replies
from sayso.feedback.store import Store
from sayso.feedback.tables import measures, messages, now
from sayso.feedback.tenure import Tenure, tenures
from sayso.feedback.traffic import MinuteCounts, keep_minutes
from sayso.feedback.trends import HourSum, estimates, hour_sums, merged
from sayso.feedback.trials import canary_trials, shadow_trials
from sayso.judge.statistics.estimate import estimate, wilson

Replied = Callable[..., int]
REFUSES = "I'm sorry, but I cannot help with that."
LOOP = "so it goes " * 20


def measured(store: Store) -> dict[int, sql.RowMapping]:
    """The measures by reply."""
    with store.engine.begin() as connection:
        return {row["message_id"]: row for row in connection.execute(measures.select()).mappings()}


def hours(store: Store) -> tuple[int, int]:
    """A span that has everything until now."""
    return hour_of(now()) - 10_000, hour_of(now()) + 1


def test_each_reply_is_measured_once(store: Store, replied: Replied) -> None:
    """Its speed, length, refusal and repetition; a shadow's is not shown; the user's messages have none."""
    plain = replied(store, "Hi", "Hello there", seconds=1.1, first=0.1, tokens=11)
    refuses = replied(store, "Hi", f"<think>\n{LOOP}\n</think>\n\n{REFUSES}", first=None)
    loops = replied(store, "Hi", LOOP, 30, tokens=1)
    hidden = replied(store, "Hi", "Hello", route="shadow")
    assert catch_up(store, 60) == 0
    found = measured(store)
    assert set(found) == {plain, refuses, loops, hidden}
    assert found[plain]["token_seconds"] == pytest.approx(0.1)
    assert (found[plain]["first_seconds"], found[plain]["tokens"]) == (0.1, 11)
    assert [found[one]["refused"] for one in (plain, refuses, loops)] == [0, 1, 0]
    assert [found[one]["token_seconds"] for one in (refuses, loops)] == [None, None]
    assert found[plain]["repeated"] == found[refuses]["repeated"] == 0
    assert found[loops]["repeated"] > 0.9
    assert [found[one]["shown"] for one in (plain, refuses, loops, hidden)] == [1, 1, 1, 0]
    assert found[plain]["hour"] - found[loops]["hour"] == 29
    later = replied(store, "Hi", "Hello again")
    catch_up(store, 60)
    assert measured(store) == found | {later: measured(store)[later]}


def test_measuring_goes_on_where_it_stopped(store: Store, replied: Replied) -> None:
    """It stops when its time is over, and says how much is left; a reply whose number came late is measured, too."""
    numbers = [replied(store, "Hi", "Hello") for _ in range(120)]
    left = catch_up(store, 0)
    assert len(measured(store)) == 100
    assert left == numbers[-1] - numbers[99]
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(measures.delete().where(measures.c.message_id == numbers[40]))
    assert catch_up(store, 60) == 0
    assert set(measured(store)) == set(numbers)


def test_measures_go_with_their_reply(store: Store, replied: Replied) -> None:
    number = replied(store, "Hi", "Hello")
    catch_up(store, 60)
    store.delete(store.message(number).conversation_id)
    assert measured(store) == {}
    assert catch_up(store, 60) == 0


def test_a_time_that_is_none_is_1970(store: Store, replied: Replied) -> None:
    """A store can be imported from anywhere."""
    replied(store, "Hi", "Hello")
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(messages.update().values(created_at="then"))
    catch_up(store, 60)
    assert [row["hour"] for row in measured(store).values()] == [0]


def values(store: Store, size: int = 10_000) -> dict[str, tuple[float, float, float]]:
    """Each value of all replies together, with its interval."""
    sums = hour_sums(store, *hours(store))
    found = estimates(merged(sums, lambda _: ["all"], lambda hour: hour // size))
    return {name: (one.mean, one.low, one.high) for (name, _, _), one in found.items()}


def test_values_are_those_of_the_replies(store: Store, replied: Replied) -> None:
    """Means and shares with their intervals, as from the replies one by one; a shadow's do not count."""
    firsts, said = [0.1, 0.4, 0.2, 0.3, 0.9], ["Hi", REFUSES, LOOP, "Yes", "No"]
    for place, (first, text) in enumerate(zip(firsts, said, strict=True)):
        replied(store, "Hi", text, 5 * place, first=first, seconds=2.0, tokens=10 + place)
    replied(store, "Hi", REFUSES, route="shadow", first=9.0)
    catch_up(store, 60)
    found = values(store)
    wanted = estimate(firsts, 0.0)
    assert found["first_seconds"] == pytest.approx((statistics.mean(firsts), wanted.low, wanted.high))
    tokens = estimate([10.0, 11, 12, 13, 14])
    assert found["tokens"] == pytest.approx((12, tokens.low, tokens.high))
    assert found["refused"] == pytest.approx((0.2, *wilson(0.2, 5)))
    assert found["replies"][0] == 5
    repeats = [row["repeated"] for row in measured(store).values() if row["shown"]]
    assert found["repeated"][0] == pytest.approx(statistics.mean(repeats))


def test_the_latest_thumb_of_each_person_counts(store: Store, replied: Replied) -> None:
    """A removed one does not; two people's do both."""
    one, two, three = (replied(store, "Hi", "Hello") for _ in range(3))
    for value in (1, -1):
        store.thumb(one, value)
    store.thumb(one, 1, by=Rater("ann"))
    store.thumb(two, 1)
    store.thumb(three, -1)
    store.thumb(three, 0)
    catch_up(store, 60)
    assert values(store)["liked"] == pytest.approx((2 / 3, *wilson(2 / 3, 3)))


def test_signals_and_flags_are_shares_of_the_replies(store: Store, replied: Replied) -> None:
    """A reply counts once per kind; flags found to be false do not; a time without any has a share of 0."""
    loops = [replied(store, "Hi", LOOP, 5) for _ in range(3)]
    other = replied(store, "Hi", "Hello.", 500)
    store.note(loops[0], "copied")
    store.note(loops[0], "copied")
    list(Flags(store).scan([DETECTORS["loop"]]))
    [first, *_] = Flags(store).listed()
    Flags(store).mark([first.id], "false")
    Flags(store).mark([first.id - 1], "real")
    catch_up(store, 60)
    found = values(store)
    assert found["signal:copied"] == pytest.approx((1 / 4, *wilson(1 / 4, 4)))
    assert found["flag:loop"] == pytest.approx((2 / 4, *wilson(2 / 4, 4)))
    cells = estimates(merged(hour_sums(store, *hours(store)), lambda _: ["all"], lambda hour: hour))
    by_hour = {hour: one.mean for (name, _, hour), one in cells.items() if name == "flag:loop"}
    assert by_hour == {measured(store)[loops[0]]["hour"]: pytest.approx(2 / 3), measured(store)[other]["hour"]: 0}


def test_minutes_add_up_and_the_most_waiting_counts(store: Store) -> None:
    """Those of two servers in the same minute, too; without any that began there is no mean wait."""
    at = hour_of(now()) * 60
    keep_minutes(store, [MinuteCounts(at, "a", requests=3, failed=1, begun=2, waited=3.0, waiting=1)])
    keep_minutes(
        store, [MinuteCounts(at, "a", requests=1, rejected=1, waiting=4), MinuteCounts(at + 1, "a", requests=4)]
    )
    keep_minutes(store, [MinuteCounts(at - 20_000 * 60, "a", requests=9), MinuteCounts(at, "", requests=2, invalid=2)])
    keep_minutes(store, [MinuteCounts(at - 60, "a", waiting=3)])
    keep_minutes(store, [])
    sums = hour_sums(store, *hours(store))
    found = estimates(merged(sums, lambda one: [one.model], lambda _: 0))
    assert found["requests", "a", 0].mean == 8
    assert found["failed", "a", 0].mean == 1 / 8
    assert (found["failed", "a", 0].low, found["failed", "a", 0].high) == pytest.approx(wilson(1 / 8, 8))
    assert found["waited", "a", 0].mean == 1.5
    assert found["waiting", "a", 0].mean == 4
    assert found["invalid", "", 0].mean == 1
    assert math.isnan(found["waited", "", 0].mean)


def test_an_alias_has_the_model_that_it_named(store: Store) -> None:
    """From its promotion to the next one."""
    aliases = Aliases(store)
    first = aliases.assign("stable", "one", "1" * 12, after=None)
    aliases.assign("candidate", "two", "2" * 12, after=None)
    aliases.assign("stable", "two", "2" * 12, after=first)
    hour = hour_of(now())
    found = tenures(aliases.history())
    assert [(one.alias, one.model, one.start, one.end == hour) for one in found] == [
        ("stable", "one", hour, True),
        ("candidate", "two", hour, False),
        ("stable", "two", hour, False),
    ]
    one = Tenure("stable", "one", 5, 7)
    assert [one.has("one", 4), one.has("one", 5), one.has("one", 7), one.has("one", 8)] == [False, True, True, False]
    assert not one.has("two", 6)


def selected(store: Store, kind: str, **more: object) -> list[int]:
    start, end = hours(store)
    which = Selection(**{"start": start, "end": end, "kind": kind, **more})  # type: ignore[arg-type]
    return [one.id for one in select_replies(store, which, 0, 50)]


def test_the_replies_behind_each_kind_of_number(store: Store, replied: Replied) -> None:
    """The newest first, or the highest of a measure; of a model, of an alias, of some hours."""
    fast = replied(store, "Why?", "Because.", 30, first=0.1, tokens=30)
    slow = replied(store, "Hi", REFUSES, 20, first=0.9, tokens=20, model="other")
    loop = replied(store, "Hi", LOOP, 10, first=None, tokens=40)
    hidden = replied(store, "Hi", "Hello", route="shadow")
    store.thumb(fast, 1)
    store.thumb(slow, -1)
    store.thumb(loop, 1)
    store.thumb(loop, 0)
    store.note(fast, "copied")
    list(Flags(store).scan([DETECTORS["loop"]]))
    catch_up(store, 60)
    assert selected(store, "all") == [loop, slow, fast]
    assert selected(store, "first_seconds") == [slow, fast]
    assert selected(store, "tokens") == [loop, fast, slow]
    assert selected(store, "refused") == [slow]
    assert (selected(store, "liked"), selected(store, "disliked")) == ([fast], [slow])
    assert selected(store, "signal") == selected(store, "signal:copied") == [fast]
    assert selected(store, "signal:regenerated") == []
    assert selected(store, "flag") == selected(store, "flag:loop") == [loop]
    assert selected(store, "shadow") == [hidden]
    assert selected(store, "all", model="other") == [slow]
    hour = measured(store)[slow]["hour"]
    assert selected(store, "all", start=hour, end=hour + 1) == [slow]
    assert selected(store, "all", tenures=[Tenure("stable", "tuned", hour, hour + 999)]) == [loop]
    assert selected(store, "all", tenures=[]) == []
    Flags(store).mark([Flags(store).listed()[0].id], "false")
    assert selected(store, "flag") == []
    start, end = hours(store)
    [one] = select_replies(store, Selection(start=start, end=end), 2, 1)
    assert (one.id, one.asked, one.said, one.on_page, one.model) == (fast, "Why?", "Because.", True, "tuned")


def test_words_are_sampled_by_conversation(store: Store, replied: Replied) -> None:
    """What the user said right before, and what was answered; with more than enough replies, every n-th."""
    for place in range(10):
        replied(store, f"Tell me, word{place}", f"Well, well {place}")
    replied(store, "Hidden", "Hidden", route="shadow")
    catch_up(store, 60)
    asked = sample_words(store, *hours(store), "asked")
    assert sorted(next(iter({*one.words} - {"tell", "me"})) for one in asked) == [f"word{place}" for place in range(10)]
    answered = sample_words(store, *hours(store), "answered")
    assert [(one.words["well"], one.texts) for one in answered] == [(2, 1)] * 10
    assert 1 <= len(sample_words(store, *hours(store), "asked", most=4)) <= 4
    assert sample_words(store, 0, 5, "asked") == []


def test_a_shadow_is_compared_prompt_by_prompt(store: Store, replied: Replied) -> None:
    """With the reply that was shown; sets without a measured reply, and other sets, do not count."""
    pairs = [(11, 21, "Yes", REFUSES), (12, 20, "No", "No"), (13, 29, REFUSES, "Hm")]
    for shown, hidden, text, other in pairs:
        ids = (
            replied(store, "Hi", text, tokens=shown),
            replied(store, "Hi", other, tokens=hidden, route="shadow", model="new"),
        )
        Candidates(store).add("shadow", [*map(Candidate, ("tuned", "new"), ids)])
    Candidates(store).add(
        "shown", [Candidate("tuned", replied(store, "Hi", "A")), Candidate("new", replied(store, "Hi", "B"))]
    )
    catch_up(store, 60)
    [trial] = shadow_trials(store, *hours(store))
    assert (trial.model, trial.shown, trial.n) == ("new", "tuned", 3)
    wanted = estimate([10.0, 8.0, 16.0])
    found = trial.differences["tokens"]
    assert (found.mean, found.low, found.high) == pytest.approx((wanted.mean, wanted.low, wanted.high))
    refused = trial.differences["refused"]
    assert refused.mean == 0
    assert refused.low < 0 < refused.high


def test_canaries_are_told_newest_first(store: Store) -> None:
    """With what they have seen, and whether their alias still names them."""
    aliases = Aliases(store)
    stable = aliases.assign("stable", "one", "1" * 12, after=None)
    first = aliases.assign("candidate", "two", "2" * 12, after=None)
    second = aliases.assign("candidate", "three", "3" * 12, after=first)
    for entry in (first, second):
        CanaryLog(store, entry).begin(stable, 0.2)
    log = CanaryLog(store, second)
    log.add(CANDIDATE, "a", GOOD)
    log.add(CURRENT, "b", FAILED)
    found = canary_trials(store, 5)
    assert [(one.candidate.model, one.runs, one.record.share) for one in found] == [
        ("three", True, 0.2),
        ("two", False, 0.2),
    ]
    assert found[0].record.outcomes.liked == ([], [True])
    assert found[0].record.outcomes.failed == ([True], [])
    assert [one.candidate.model for one in canary_trials(store, 1)] == ["three"]


def test_a_store_without_measures_gets_them(store: Store, store_address: str, replied: Replied) -> None:
    """When it is opened, its tables come; when somebody looks, its replies are measured."""
    number = replied(store, "Hi", "Hello")
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("DROP TABLE measures")
        connection.exec_driver_sql("DROP TABLE minutes")
        connection.exec_driver_sql("DELETE FROM migrations WHERE name = 'measures, minutes'")
    with closing(Store(store_address)) as new:
        keep_minutes(new, [MinuteCounts(1, "a", requests=1)])
        assert catch_up(new, 60) == 0
        assert set(measured(new)) == {number}


def test_a_hostile_time_in_the_far_future_is_kept(store: Store, replied: Replied) -> None:
    """The greatest year has an hour, too; no time overflows the column."""
    replied(store, "Hi", "Hello")
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(messages.update().values(created_at="9999-12-31T23:59:59+00:00"))
    catch_up(store, 60)
    [row] = measured(store).values()
    assert row["hour"] == hour_of("9999-12-31T23:59:59+00:00") > 60_000_000


def test_sums_of_one_hour_are_one_period() -> None:
    """Groups overlap if a model has two aliases."""
    sums = [HourSum(5, "a", "tokens", 2, 10.0, 52.0), HourSum(6, "a", "tokens", 1, 3.0, 9.0)]
    cells = merged(sums, lambda _: ["stable", "candidate"], lambda hour: hour // 2)
    assert dict(cells) == {
        ("tokens", group, period): [n, total, squares]
        for group in ("stable", "candidate")
        for period, n, total, squares in ((2, 2, 10.0, 52.0), (3, 1, 3.0, 9.0))
    }
