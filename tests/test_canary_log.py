"""The log of a canary: what counts, and from when; on both databases."""

from contextlib import closing

from sayso.feedback.aliases import Aliases, Assignment
from sayso.feedback.canary import BAD, CANDIDATE, CURRENT, FAILED, GOOD, PREFERRED, CanaryLog, key_of_user
from sayso.feedback.forget import forget_conversation, forget_user
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.store import Generation, Store
from sayso.feedback.traces import Trace


def recorded(name: str) -> RecordedReply:
    """A reply of the API, of a conversation that has this name in the log."""
    made = Generation("tuned", "0123456789ab", {}, "stop", 5, 3, 0.1)
    trace = Trace(route="/v1/chat/completions", prompt_ids=[1], completion_ids=[2], logprobs=[-1.0], canary=name)
    prompt = [{"role": "user", "content": "Hello"}]
    return RecordedReply(conversation=f"key of {name[:9]}", prompt=prompt, content="Hi", generation=made, trace=trace)


def named(store: Store, alias: str, model: str) -> Assignment:
    aliases = Aliases(store)
    return aliases.assign(alias, model, f"{model}-weights", after=aliases.current(alias))


def test_a_conversation_counts_once_with_its_first_outcome(store: Store) -> None:
    """Whichever server saw it, and as often as it is rated."""
    current, log = named(store, "stable", "old"), CanaryLog(store, named(store, "candidate", "new"))
    assert (log.read(), log.latest()) == (None, 0)
    log.begin(current, 0.25)
    for arm, conversation, outcome in [
        (CANDIDATE, "a", None),
        (CANDIDATE, "a", None),  # seen again after a restart
        (CURRENT, "b", None),
        (CURRENT, "c", FAILED),
        (CURRENT, "c", None),
        (CANDIDATE, "a", BAD),
        (CANDIDATE, "a", GOOD),
        (CURRENT, "b", GOOD),
        (CANDIDATE, "d", PREFERRED),
        (CURRENT, "d", PREFERRED),
    ]:
        CanaryLog(store, log.candidate).add(arm, conversation, outcome)
    record = log.read()
    assert record is not None
    assert record.share == 0.25
    assert record.outcomes.failed == ([False, True], [False])
    assert record.outcomes.liked == ([True], [False])
    assert record.outcomes.preferred == (0, 1)


def test_only_outcomes_are_looked_at_again(store: Store) -> None:
    """Conversations that were only assigned do not change the evidence much, and there are many."""
    current, log = named(store, "stable", "old"), CanaryLog(store, named(store, "candidate", "new"))
    log.begin(current, 0.5)
    latest = log.latest()
    log.add(CURRENT, "a")
    assert log.latest() == latest
    log.add(CURRENT, "a", GOOD)
    assert log.latest() > latest


def test_a_comparison_begins_anew_with_another_share_or_model(store: Store) -> None:
    """And goes on when a server starts again."""
    current, candidate = named(store, "stable", "old"), named(store, "candidate", "new")
    log = CanaryLog(store, candidate)
    log.begin(current, 0.5)
    log.add(CURRENT, "a", GOOD)

    def rated() -> int:
        record = CanaryLog(store, candidate).read()
        assert record is not None
        return len(record.outcomes.liked[0])

    log.begin(current, 0.5)
    assert rated() == 1
    log.begin(current, 0.4)
    assert rated() == 0
    log.add(CURRENT, "a", GOOD)
    while (later := named(store, "stable", "newer")).created_at == current.created_at:
        pass
    log.begin(later, 0.4)
    assert rated() == 0
    log.add(CURRENT, "a", GOOD)
    other = CanaryLog(store, named(store, "candidate", "newest"))
    assert other.read() is None
    assert rated() == 1


def test_an_alias_is_withdrawn_unless_it_has_moved(store: Store) -> None:
    current, candidate, aliases = named(store, "stable", "old"), named(store, "candidate", "new"), Aliases(store)
    back = aliases.withdraw(candidate, current, "worse", {"state": "worse"})
    assert back is not None
    assert (back.alias, back.model, back.fingerprint, back.kind) == ("candidate", "old", "old-weights", "rolled back")
    assert (back.reason, back.evidence) == ("worse", {"state": "worse"})
    assert aliases.withdraw(candidate, current, "worse", {}) is None
    named(store, "candidate", "newest")
    assert aliases.withdraw(back, current, "worse", {}) is None
    assert [entry.model for entry in aliases.history("candidate")] == ["new", "old", "newest"]


def test_other_aliases_of_a_model_are_those_that_name_it_now(store: Store) -> None:
    entry, aliases = named(store, "stable", "old"), Aliases(store)
    for alias, model in (("production", "old"), ("beta", "old"), ("beta", "new"), ("candidate", "new")):
        named(store, alias, model)
    assert aliases.others(entry) == ["production"]
    assert aliases.others(aliases.assign("retrained", "old", "other-weights", after=None)) == []


def test_a_store_of_the_version_before_learns_which_replies_took_part(store: Store, store_address: str) -> None:
    """Those that it has did not, as far as is known."""
    first = Generations(store).record([recorded("a" * 64)])[0]
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE generations DROP COLUMN canary")
        connection.exec_driver_sql("DELETE FROM migrations WHERE name = 'the canary of a reply'")
    with closing(Store(store_address)) as new:
        kept = Generations(new)
        second = kept.record([recorded("b" * 64)])[0]
        assert [kept.canary(one) for one in (first, second)] == [None, "b" * 64]


def test_a_forgotten_conversation_of_the_api_leaves_the_log(store: Store) -> None:
    current, log = named(store, "stable", "old"), CanaryLog(store, named(store, "candidate", "new"))
    log.begin(current, 0.5)
    replies = Generations(store).record([recorded("a" * 64), recorded("b" * 64)])
    for name in ("a" * 64, "b" * 64):
        log.add(CURRENT, name)
    assert forget_conversation(store, store.message(replies[0]).conversation_id).counts["canary"] == 1
    record = log.read()
    assert record is not None
    assert record.outcomes.failed == ([False], [])


def test_a_forgotten_user_leaves_the_log(store: Store) -> None:
    current, log = named(store, "stable", "old"), CanaryLog(store, named(store, "candidate", "new"))
    log.begin(current, 0.5)
    for user in ("anna", "bob"):
        log.add(CURRENT, key_of_user(user))
    assert forget_user(store, "anna").counts["canary"] == 1
    record = log.read()
    assert record is not None
    assert record.outcomes.failed == ([False], [])
