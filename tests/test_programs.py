"""Programs that check replies: their verdicts are stored once, and gathered as rewards."""

from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.base.jsonl import read_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.generations import Generations, RecordedReply
from sayso.feedback.programs import check_replies, load_programs
from sayso.feedback.store import Generation, Store
from sayso.feedback.traces import Trace

MADE = Generation("tuned", "f" * 12, {}, "stop", 3, 2, 0.1)
OWN = """
def sums(reply):
    if "+" not in reply.asked:
        return None
    return reply.text == f"{eval(reply.asked)}"

def brief(reply):
    return 1 / len(reply.text)
"""


def ask(store: Store, text: str, *replies: str) -> list[int]:
    message = store.say(store.new_conversation().id, text)
    return [store.reply(message.id, reply, store.prompt(message.id), MADE).id for reply in replies]


def verdicts(store: Store) -> list[tuple[int, str, int, str | None]]:
    assert {one.source for one in store.ratings()} <= {"program"}
    return [(one.message_id, one.kind, one.value, one.annotator) for one in store.ratings()]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_each_reply_is_checked_once(store: Store, own: Path) -> None:
    """A program that cannot tell gives no verdict; one whose file has changed looks again."""
    right, wrong = ask(store, "2+2", "4", "5")
    ask(store, "How are you?", "Fine.")
    assert check_replies(store, load_programs([f"{own}:sums"])) == {"sums": 2}
    assert verdicts(store) == [(right, "thumb", 1, "sums"), (wrong, "thumb", -1, "sums")]
    assert check_replies(store, load_programs([f"{own}:sums"])) == {"sums": 0}
    [third] = ask(store, "1+1", "2")
    assert check_replies(store, load_programs([f"{own}:sums"])) == {"sums": 1}
    assert verdicts(store)[2:] == [(third, "thumb", 1, "sums")]
    own.write_text(OWN.replace("1 / len", "2 / len"))
    assert check_replies(store, load_programs([f"{own}:sums"])) == {"sums": 3}


def test_a_reward_is_stored_as_points(store: Store, own: Path) -> None:
    """From 1 for 0 to 10 for 1."""
    replies = ask(store, "Say something", "a", "ab", "a" * 100)
    assert check_replies(store, load_programs([f"{own}:brief"])) == {"brief": 3}
    assert verdicts(store) == [(one, "rating", value, "brief") for one, value in zip(replies, (10, 5, 1), strict=True)]


def test_a_raw_prompt_is_not_checked(store: Store, own: Path) -> None:
    """Gathering would leave it out."""
    trace = Trace(route="page", prompt_ids=[1], completion_ids=[2], logprobs=[-1.0])
    prompt = [{"role": "text", "content": "2+2"}]
    made = RecordedReply(conversation="k", prompt=prompt, content="4", generation=MADE, trace=trace)
    Generations(store).record([made])
    assert check_replies(store, load_programs([f"{own}:brief"])) == {"brief": 0}


def test_gather_checks_before_it_gathers(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Again, it writes the same bytes."""
    life = Life(tmp_path / "life")
    store = Store(life.store)
    ask(store, "2+2", "4", "5")
    store.close()
    words = ["gather", "--program", f"{own}:sums", "--life", str(life.root)]
    assert run(words) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "New verdicts: 2 by sums." in told
    assert "1 pairs from programs; 2 ratings from programs; 2 rewards from programs" in told
    rows = list(read_jsonl(life.data("feedback") / "rewards.jsonl"))
    assert [(row["reply"], row["rating"]) for row in rows] == [("4", 1.0), ("5", 0.0)]
    before = [path.read_bytes() for path in sorted(life.data("feedback").glob("*.jsonl"))]
    assert run(words) == 0
    assert [path.read_bytes() for path in sorted(life.data("feedback").glob("*.jsonl"))] == before


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["own.py"], "--program must be file.py:function or module:function; got 'own.py'"),
        (["{own}:sumz"], "has no function 'sumz'. Did you mean 'sums'"),
        (["{own}:sums", "{other}:sums"], "Programs must have different function names"),
    ],
)
def test_a_bad_program_is_refused(given: list[str], rule: str, own: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(OWN)
    with pytest.raises(UserError, match=rule):
        load_programs([one.format(own=own, other=tmp_path / "other.py") for one in given])


@pytest.mark.parametrize(
    ("returns", "rule"),
    [
        ("2", "must return True, False, a number from 0 to 1, or None; got 2 for the reply 'Fine.'"),
        ("float('nan')", "must return True, False, a number"),
        ("'yes'", "got 'yes' for the reply 'Fine.'"),
        ("1 / 0", "raised ZeroDivisionError for the reply 'Fine.'"),
    ],
)
def test_a_verdict_that_is_none_is_refused(returns: str, rule: str, store: Store, tmp_path: Path) -> None:
    """And nothing is stored."""
    (tmp_path / "own.py").write_text(f"def own(reply):\n    return {returns}\n")
    ask(store, "How are you?", "Fine.")
    with pytest.raises(UserError, match=rule):
        check_replies(store, load_programs([f"{tmp_path}/own.py:own"]))
    assert store.ratings() == []
