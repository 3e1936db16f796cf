"""Flags: scans of a store, triage from the command line, and evaluation cases of confirmed flags; on both databases."""

import json
from pathlib import Path
from typing import Any

import pytest

from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.cases import FORBID, Case, cases_of
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.detectors.detector import Detector, Reply
from sayso.feedback.flags import Flags
from sayso.feedback.prompts import keep_prompt
from sayso.feedback.scans import Scans
from sayso.feedback.store import Generation, Store
from sayso.feedback.tables import conversations, messages, now, scans
from sayso.reply.listed import is_chat, tools_of, with_tool_text
from sayso.run.flags import ListFlags, MarkFlags, ScanFlags, ShowFlag, list_flags, mark_flags, scan_flags, show_flag

MADE = Generation("tuned", "f" * 12, {}, "stop", 3, 2, 0.1)
LOOP = "Well, " + "no more " * 9
Where = dict[str, Any]
OWN = "def says_so(reply):\n    return 'so' in reply.text and 'says so'\n"


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path / "life")


@pytest.fixture
def where(life: Life, store_address: str) -> Where:
    """The options that name the life, and a store of its own in each kind of database."""
    return {"life": life.root, "store": store_address}


def command(where: Where, *words: str) -> int:
    """Run an action of `sayso flags` on that store; return its status."""
    return run(["flags", *words, "--life", str(where["life"]), "--store", where["store"]])


def talk(store: Store, *turns: str) -> list[int]:
    """Store a conversation of questions and replies in turn; return the ids of the replies."""
    number, found = store.new_conversation().id, []
    for asked, reply in zip(turns[::2], turns[1::2], strict=False):
        question = store.say(number, asked)
        found.append(store.reply(question.id, reply, store.prompt(question.id), MADE).id)
    if len(turns) % 2:
        store.say(number, turns[-1])
    return found


def open_flags(where: Where) -> list[tuple[str, str]]:
    return sorted((one["detector"], one["detail"]) for one in list_flags(ListFlags(**where)))


def test_a_scan_flags_each_reply_once(where: Where, store: Store) -> None:
    """And looks only at what is new."""
    talk(store, "Who was it?", "It was the baker.", "Where was he?", "")
    talk(store, "Tell me more, please", LOOP)
    assert scan_flags(ScanFlags(**where)) == {"empty": 1, "loop": 1}
    assert open_flags(where) == [("empty", "no text"), ("loop", "repeats 'no more'")]
    assert scan_flags(ScanFlags(**where)) == {}
    with store.engine.execution_options(writes=True).begin() as connection:
        connection.execute(scans.delete())
    assert scan_flags(ScanFlags(**where)) == {}, "no flag is made twice"
    talk(store, "And now?", "")
    assert scan_flags(ScanFlags(**where)) == {"empty": 1}


def test_what_a_detector_has_seen_it_does_not_look_at_again(store: Store) -> None:
    """A new version sees everything, and the others nothing."""
    seen = list[str]()

    def scan(version: str, name: str = "own") -> None:
        def finds(reply: Reply) -> None:
            seen.append(f"{name} {reply.text}")

        for after, those in Scans(store).due([Detector(name, version, finds)]).items():
            for upto, *_ in Flags(store).scan(those, after):
                Scans(store).done(those, upto)

    talk(store, "a", "A", "b", "B")
    scan("1")
    scan("1")
    assert seen == ["own A", "own B"]
    talk(store, "c", "C")
    scan("1")
    scan("2")
    assert seen[2:] == ["own C", "own A", "own B", "own C"]
    scan("1", "other")
    assert len(seen) == 9
    scan("1")
    assert len(seen) == 9, "nor does an earlier version that comes back"


def test_a_complaint_of_the_next_turn_is_seen_though_the_reply_is_old(where: Where, store: Store) -> None:
    [reply] = talk(store, "Which colour was the fox?", "The fox was red.")
    assert scan_flags(ScanFlags(**where)) == {}
    store.say(store.message(reply).conversation_id, "No, that is wrong.")
    assert scan_flags(ScanFlags(**where)) == {"told-wrong": 1}
    [flag] = list_flags(ListFlags(**where))
    assert show_flag(ShowFlag(flag["id"], **where))["next"] == "No, that is wrong."


def test_a_complaint_in_a_later_request_of_the_api_is_seen(where: Where, store: Store) -> None:
    """There, a reply is no node of a tree, but its words are in the prompt of the next request."""
    turns = [{"role": "user", "content": "Who?"}]
    with store.engine.execution_options(writes=True).begin() as connection:
        row = {"title": "", "created_at": now(), "updated_at": now(), "key": "k"}
        number = connection.execute(conversations.insert().values(row).returning(conversations.c.id)).scalar_one()
        for text in ("The baker.", "The miller."):
            prompt = keep_prompt(connection, number, turns)
            made = {name: getattr(MADE, name) for name in Generation.__dataclass_fields__}
            reply = {"conversation_id": number, "role": "assistant", "content": text, "created_at": now()}
            connection.execute(messages.insert().values({**reply, "prompt_id": prompt, "left_out": 0, **made}))
            turns += [{"role": "assistant", "content": text}, {"role": "user", "content": "That's wrong."}]
    assert scan_flags(ScanFlags(**where)) == {"told-wrong": 1}
    [flag] = list_flags(ListFlags(**where))
    assert show_flag(ShowFlag(flag["id"], **where))["reply"] == "The baker."


def test_a_detector_of_ones_own_scans(
    where: Where, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    talk(store, "Why?", "I think so.")
    assert command(where, "scan", "--detector", f"{tmp_path}/own.py:says_so") == 0
    assert "Looked at 1 new replies and made 1 new flags (1 by says_so)." in capsys.readouterr().out
    assert command(where, "list") == 0
    assert "says so" in capsys.readouterr().out
    assert command(where, "show", "1") == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ("user: Why?", "assistant: I think so.", "Flag 1 by says_so"))


def test_a_real_flag_becomes_a_case_and_a_false_one_does_not(where: Where, store: Store) -> None:
    talk(store, "Tell me more, please", LOOP, "And then?", "")
    scan_flags(ScanFlags(**where))
    empty, loop = sorted(list_flags(ListFlags(**where)), key=lambda one: one["detector"])
    mark_flags(MarkFlags((str(loop["id"]), "real"), **where, reason="awful", annotator="ann"))
    mark_flags(MarkFlags((str(empty["id"]), "false"), **where))
    [case] = cases_of(store)
    assert (case.detector, case.reply, case.state) == ("loop", LOOP, "open")
    assert case.prompt == [{"role": "user", "content": "Tell me more, please"}]
    [real] = list_flags(ListFlags(**where, state="real"))
    assert (real["reason"], real["annotator"]) == ("awful", "ann")
    assert list_flags(ListFlags(**where)) == []
    assert len(list_flags(ListFlags(**where, state="all"))) == 2
    mark_flags(MarkFlags((str(loop["id"]), "real"), **where))
    assert len(cases_of(store)) == 1, "one case, however often it is confirmed"


def test_a_case_follows_its_flag(where: Where, store: Store) -> None:
    """A fixed one is still asked; one whose flag was a mistake is not, until it is real again."""
    talk(store, "Tell me more, please", LOOP)
    scan_flags(ScanFlags(**where))
    found = []
    for state in ("real", "fixed", "false", "real", "open"):
        mark_flags(MarkFlags(("1", state), **where))
        found.append([case.state for case in cases_of(store)])
    assert found == [["open"], ["fixed"], [], ["open"], []]


def test_a_reply_to_a_case_is_checked_by_its_detector() -> None:
    case = Case(1, "loop", [{"role": "user", "content": "More"}], LOOP, "open")
    assert case.is_bad("It is " + "very " * 8, "stop", DETECTORS) is True
    assert case.is_bad("There is nothing more to tell.", "stop", DETECTORS) is False
    assert Case(1, "unknown", case.prompt, LOOP, "open").is_bad("x", "stop", DETECTORS) is None
    forbidden = Case(1, FORBID, case.prompt, "Prices", "open")
    assert [forbidden.is_bad(text, "stop", {}) for text in ("no prices here", "nothing")] == [True, False]
    told = Case(1, "told-wrong", case.prompt, "The fox was red.", "open")
    assert [told.is_bad(text, "stop", DETECTORS) for text in ("the fox was red", "It was grey.")] == [True, False]


def test_the_tools_of_a_recorded_prompt_are_known(store: Store) -> None:
    """They are its first turn; a case asks with them as text, and not for a raw prompt."""
    tool = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
    turns = [{"role": "tools", "content": json.dumps([tool, {"no": "tool"}])}, {"role": "user", "content": "When?"}]
    assert tools_of(turns) == (tool,)
    asked = with_tool_text(turns)
    assert [turn["role"] for turn in asked] == ["system", "user"]
    assert '"name": "time"' in asked[0]["content"]
    call = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
    assert DETECTORS["broken-call"].found(Reply(call, turns, tools=tools_of(turns))) == "there is no tool 'clock'"
    assert with_tool_text(turns[1:]) == turns[1:]
    assert [is_chat(prompt) for prompt in (turns, [{"role": "text", "content": "Once"}], [])] == [True, False, False]


def test_a_text_that_must_not_be_said_again(where: Where, store: Store) -> None:
    talk(store, "Who pays?", "Mr Smith pays. " * 6)
    scan_flags(ScanFlags(**where))
    mark_flags(MarkFlags(("1", "real"), **where, forbid="Mr Smith"))
    [case] = cases_of(store)
    assert (case.detector, case.reply) == (FORBID, "Mr Smith")


def test_several_flags_are_marked_together_or_not_at_all(where: Where, store: Store) -> None:
    talk(store, "a", "", "b", "")
    scan_flags(ScanFlags(**where))
    assert command(where, "mark", "1", "99", "real") == 2
    assert cases_of(store) == []
    assert command(where, "mark", "1", "2", "real") == 0
    assert len(cases_of(store)) == 2


def test_deleting_a_conversation_deletes_its_flags_and_cases(where: Where, store: Store) -> None:
    [reply] = talk(store, "Tell me more, please", LOOP)
    scan_flags(ScanFlags(**where))
    mark_flags(MarkFlags(("1", "real"), **where))
    store.delete(store.message(reply).conversation_id)
    assert (cases_of(store), Flags(store).listed(None)) == ([], [])


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["mark", "1", "reel"], "A flag is open, real, false or fixed; got 'reel'. Did you mean 'real'"),
        (["mark", "real"], "Name the numbers of flags, and last what they are"),
        (["mark", "x", "real"], "Name the numbers of flags, and last what they are"),
        (["mark", "9", "real"], "There is no flag 9; 'sayso flags list' shows those that are open."),
        (["mark", "1", "false", "--forbid", "a"], "A text that replies must not contain is"),
        (["show", "9"], "There is no flag 9"),
        (["show", "99999999999999"], "There is no flag 99999999999999"),
        (
            ["list", "--state", "opne"],
            "--state must be open, real, false, fixed or all; got 'opne'. Did you mean 'open'",
        ),
        (["scan", "--detector", "lop"], "Did you mean 'loop'"),
        (["scan", "--endpoint", "http://127.0.0.1:1/v1"], "--endpoint and --judge are the server and its model"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    words: list[str], rule: str, where: Where, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(store, "a", "")
    scan_flags(ScanFlags(**where))
    assert command(where, *words) == 2
    assert rule in capsys.readouterr().err
    assert len(Flags(store).listed()) == 1


def test_a_store_that_is_not_there_is_not_made(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (["scan"], ["list"], ["show", "1"], ["mark", "1", "real"]):
        assert run(["flags", *action, "--life", str(life.root)]) == 2
        assert "does not exist; run sayso serve" in capsys.readouterr().err
    assert not life.store.exists()


def test_a_scan_continues_after_an_error(where: Where, store: Store, tmp_path: Path) -> None:
    """What was looked at before stays so; nothing is lost."""
    (tmp_path / "own.py").write_text("def bad(reply):\n    return {}[reply.text]\n")
    talk(store, "a", "")
    assert command(where, "scan", "--detector", "empty", f"{tmp_path}/own.py:bad") == 2
    assert Flags(store).listed() == []
    assert scan_flags(ScanFlags(**where)) == {"empty": 1}
    assert [*Scans(store).due([DETECTORS["empty"]])] == [2]
