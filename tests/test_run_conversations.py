"""Conversations on their way to fine-tuning: held out by what is said, split by turns, each wrong one named."""

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from sayso.base.errors import UserError
from sayso.base.files import read_json
from sayso.base.hold_out import HoldOut
from sayso.base.jsonl import BadRows, write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.conversations import TrainingConversation, hold_out, lay_out, read_conversations
from sayso.cli.main import run
from sayso.model import ModelConfig, Transformer
from sayso.text.conversations import exchanges
from sayso.text.document import Place
from sayso.text.sources import file_source
from sayso.token.chat import render
from sayso.token.train import train
from sayso.weights.folder import save_model

TOKENIZER = train("bpe", ["Hello there, how are you? I'm fine, thank you, and you?"] * 9, 300)


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    """One message."""
    return {"role": role, "content": content, **more}


def talk(*messages: dict[str, Any], number: int = 1) -> TrainingConversation:
    """A conversation of a file's row."""
    return TrainingConversation(messages, (), "mine", Place("mine.jsonl", number))


def chat(count: int, words: str = "fine thank you") -> list[dict[str, Any]]:
    """A system's turn and so many questions, each with its answer."""
    both = ((turn("user", f"How {n}?"), turn("assistant", f"{n} {words}")) for n in range(count))
    return [turn("system", "Be kind."), *(one for pair in both for one in pair)]


def length(messages: list[dict[str, Any]]) -> int:
    """Tokens of a conversation."""
    return len(render(TOKENIZER, messages)[0])


def test_every_reply_of_a_split_conversation_is_trained_once() -> None:
    """Windows keep the system's turn, begin with the user, end with a reply, fit, and miss no reply that fits."""
    messages = chat(9)
    longest = length(messages[:5])
    found = lay_out(TOKENIZER, [talk(*messages)], longest, BadRows(), split=True)
    assert (found.long, found.windows, found.replies_left_out) == (1, 5, 0)
    assert found.conversations == [render(TOKENIZER, [messages[0], *messages[n : n + 4]]) for n in (1, 5, 9, 13, 17)]
    trained = sum(sum(mask) for _, mask in found.conversations)
    assert trained == sum(render(TOKENIZER, messages)[1])


def test_what_fits_no_window_is_counted() -> None:
    """A reply longer than a row is left out alone; with drop the whole conversation is."""
    messages = [*chat(3), turn("user", "Tell all."), turn("assistant", "thank you " * 50), *chat(2)[1:]]
    longest = length(messages[:7])
    found = lay_out(TOKENIZER, [talk(*messages), talk(*chat(1))], longest, BadRows(), split=True)
    assert (found.long, found.windows, found.replies_left_out, len(found.conversations)) == (1, 2, 1, 3)
    assert found.summary(9).endswith("than 9 tokens: split into 2 shorter ones, 1 of their replies left out.")
    dropped = lay_out(TOKENIZER, [talk(*messages), talk(*chat(1))], longest, BadRows(), split=False)
    assert (dropped.long, dropped.windows, dropped.replies_left_out, len(dropped.conversations)) == (1, 0, 6, 1)
    assert dropped.summary(9) == "1 conversations are longer than 9 tokens: left out."


def test_a_call_stays_with_its_result_and_the_reply_to_it() -> None:
    """Calls and results are no places to cut at; replies of weight 0 make no window of their own."""
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    used = [
        turn("user", "Add!"),
        turn("assistant", "", tool_calls=[call]),
        turn("tool", "2", tool_call_id="1"),
        turn("assistant", "2."),
    ]
    plain = [turn("user", "So?"), turn("assistant", "So.", weight=0)]
    assert exchanges([turn("assistant", "Hi!"), *plain, *used, turn("user", "And?")]) == [plain, used]
    found = lay_out(TOKENIZER, [talk(*plain, *used, *plain, *plain)], length(used), BadRows(), split=True)
    assert found.conversations == [render(TOKENIZER, used)]
    assert found.replies_left_out == 0


def test_held_out_conversations_are_not_trained_on() -> None:
    """A number or a share, the same each time, and a conversation that stands there twice is on one side."""
    talks = [talk(*chat(1, words), number=n) for n, words in enumerate(["a", "b", "c", "d", "e"] * 2)]
    for wanted, count in ((2, 2), (0.6, 3), (0, 0)):
        kept, held = hold_out(talks, [], HoldOut(wanted))
        assert len(held) == count
        assert {one.key for one in held}.isdisjoint(one.key for one in kept)
        assert len(kept) == 10 - 2 * count
        again = hold_out(list(reversed(talks)), [], HoldOut(wanted))[1]
        assert [one.key for one in again] == [one.key for one in held]
    apart = [talk(*chat(1, "f"))]
    assert hold_out([*talks, *apart], apart, HoldOut(1)) == (talks, apart)
    assert hold_out([*talks, *apart], apart, HoldOut(9)) == (talks, apart)
    with pytest.raises(UserError, match="must leave something for training; got 5, and there are 5 different"):
        hold_out(talks, [], HoldOut(5))


def test_the_held_out_share_is_one_of_different_conversations() -> None:
    """Ten conversations, each thirty times, have nothing to spare at 2 %; a fifth of them are two, on one side only."""
    talks = [talk(*chat(1, f"{number}")) for number in range(10)] * 30
    assert hold_out(talks, [], HoldOut(0.02)) == (talks, [])
    kept, held = hold_out(talks, [], HoldOut(0.2))
    assert (len(kept), len(held)) == (240, 2)
    assert {one.key for one in kept}.isdisjoint(one.key for one in held)


def test_something_is_always_left_to_train_on() -> None:
    """One conversation is trained on, whatever share is asked, and though it was set apart too."""
    (only,) = one = [talk(*chat(1))]
    for share in (0.02, 0.5, 0.99):
        assert hold_out(one * 3, [], HoldOut(share)) == (one * 3, [])
    assert hold_out(one, [only, only], HoldOut(0.5)) == (one, [])
    assert hold_out(one, one, HoldOut(1)) == (one, [])
    assert hold_out([], [], HoldOut(0.02)) == ([], [])


def test_weights_do_not_make_another_conversation() -> None:
    """What people liked has earlier replies of weight 0, and is still the conversation that is held out."""
    liked = [{**message, "weight": 0} if message["role"] == "assistant" else message for message in chat(1)]
    assert talk(*liked).key == talk(*chat(1)).key


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([turn("user", "Hello?")], "there is no assistant turn"),
        ([turn("user", "Hello?"), turn("assistant", "Hi!", weight=0)], "every reply has weight 0"),
        ([turn("user", "Hello?"), turn("assistant", " ")], "must not be empty; this one is"),
        ([turn("user", "Hello?"), turn("usher", "Hi!"), turn("assistant", "Hi!")], "Did you mean 'user'"),
    ],
)
def test_a_conversation_that_trains_nothing_is_named(messages: list[dict[str, Any]], rule: str, tmp_path: Path) -> None:
    """The row's number and the rule, never silence."""
    write_jsonl(tmp_path / "mine.jsonl", [{"messages": one} for one in (chat(1), messages, chat(1))])
    bad = BadRows()
    assert len(list(read_conversations([file_source(str(tmp_path / "mine.jsonl"), 0)], bad))) == 2
    with pytest.raises(UserError, match=rf"^1 of 3 rows cannot be used: .*mine.jsonl:2: .*{rule}"):
        bad.check()


def test_a_text_is_no_conversation(tmp_path: Path) -> None:
    """A file of documents is told from one of conversations."""
    (tmp_path / "rows.jsonl").write_text('{"text": "Once there was a fox."}')
    bad = BadRows()
    assert list(read_conversations([file_source(str(tmp_path / "rows.jsonl"), 0)], bad)) == []
    with pytest.raises(UserError, match=r"rows.jsonl:1: .* has no turns. To train a base model on plain text"):
        bad.check()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with a base model and nothing else."""
    life = Life(tmp_path_factory.mktemp("new") / "life")
    config = ModelConfig(TOKENIZER.vocab_size, 1, 32, 2, 2, 16, 48, context=64)
    save_model(
        Transformer(config).initialize(torch.Generator().manual_seed(0)),
        TOKENIZER,
        life.model("base"),
        {"stage": "base"},
    )
    return life


def test_a_file_is_all_that_tuning_needs(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alpaca and ShareGPT rows, a held-out part judged before and after, the best weights kept, replies shown."""
    alpaca = [{"instruction": f"How {n}?", "input": "", "output": f"{n} fine"} for n in range(30)]
    (tmp_path / "alpaca.json").write_text(json.dumps(alpaca))
    long = [dict(zip(("from", "value"), one, strict=True)) for one in [("human", "How?"), ("gpt", "fine thank")] * 9]
    write_jsonl(tmp_path / "share.jsonl", [{"conversations": long}])
    data = ["--data", str(tmp_path / "alpaca.json"), "--data", str(tmp_path / "share.jsonl")]
    words = ["finetune", "--life", str(life.root), *data, "--steps", "12", "--rows", "2", "--row-tokens", "64"]
    words += ["--held-out", "4", "--device", "cpu", "--processes", "1", "--rate", "2"]
    assert run(words) == 0
    told = capsys.readouterr().out
    assert "1 conversations are longer than 64 tokens: split into" in told
    assert "evaluated on 4 of 4 held-out" in told
    ran = life.run("finetune-tuned")
    derived = read_json(ran / "plan.json")["derived"]
    assert (derived["held_out"], derived["judged"], derived["long"]) == (4, 4, 1)
    log = read_log(ran / "run.jsonl")
    judged = [line["held_out_loss"] for line in log if line["event"] == "val"]
    assert len(judged) == 7
    assert min(judged) < judged[0]
    assert read_json(ran / "best" / "best.json")["value"] == min(judged)
    assert [line["step"] for line in log if line["event"] == "samples"] == [0, 6, 12]
    assert {mark.split()[0] for mark in read_json(life.model("tuned") / "sayso.json")["data"]} == {"base", *data[1::2]}
    assert run(words) == 0
    assert "already been trained" in capsys.readouterr().out


def test_a_file_may_be_held_out(life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All conversations of the file evaluate the run; copies of them in the training data are not trained on."""
    rows = [{"messages": chat(1, word)} for word in ("red", "blue", "green", "white")]
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "held.jsonl", [*rows[2:], {"messages": chat(1, "black")}])
    words = ["finetune", "--life", str(life.root), "--data", str(tmp_path / "train.jsonl"), "--steps", "1"]
    words += ["--row-tokens", "64", "--device", "cpu", "--processes", "1"]
    assert run([*words, "--held-out", str(tmp_path / "held.jsonl")]) == 0
    plan = read_json(life.run("finetune-tuned") / "plan.json")
    derived = plan["derived"]
    assert (derived["conversations"], derived["held_out"], derived["judged"]) == (2, 3, 3)
    assert "held_out" in plan["inputs"]
    assert run([*words, "--held-out", str(tmp_path / "none.jsonl")]) == 2
    capsys.readouterr()
    assert run([*words, "--held-out", str(tmp_path / "train.jsonl")]) == 2
    assert "none are left to train on" in capsys.readouterr().err


def test_a_share_of_a_source_is_asked_of_what_was_held_out_too(life: Life, tmp_path: Path) -> None:
    """A source of which nothing was set apart is no mistake; a file of a store is told apart by what it says of it."""
    chats = tmp_path / "life" / "data" / "chat"
    rows = [{"messages": chat(1, f"{n} {source} fine"), "source": source} for source in ("a", "b") for n in range(20)]
    write_jsonl(chats / "train.jsonl", rows)
    write_jsonl(chats / "val.jsonl", [{"messages": chat(2), "source": "a"}])
    flags = ["--life", str(tmp_path / "life"), "--parent", str(life.model("base")), "--steps", "1", "--rows", "1"]
    flags += ["--row-tokens", "64", "--device", "cpu", "--processes", "1"]
    assert run(["finetune", *flags, "--mix", "b=0.5"]) == 0
    derived = read_json(tmp_path / "life" / "runs" / "finetune-tuned" / "plan.json")["derived"]
    assert 20 < derived["conversations"] < 40
    assert derived["held_out"] == 1
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/mine.jsonl", (chats / "train.jsonl").read_bytes())
    assert run(["finetune", *flags, "--data", "memory://bucket/mine.jsonl", "--name", "far"]) == 0
    inputs = read_json(tmp_path / "life" / "runs" / "finetune-far" / "plan.json")["inputs"]
    assert any("bucket/mine.jsonl" in name for name in inputs)
    store.store.clear()


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ([], [], "is empty"),
        ([{"messages": [turn("user", "Hi")]}], ["--held-out", "0"], "mine.jsonl:1: "),
        ([{"messages": chat(1, "thank you " * 40)}], ["--held-out", "0"], "raise --row-tokens"),
        ([{"messages": chat(1)}], ["--mix", "min=0.5"], "--mix has no source 'min'"),
        ([{"messages": chat(1)}], ["--held-out", "1"], "must leave something for training"),
    ],
)
def test_data_that_cannot_be_tuned_on_is_one_sentence(
    rows: list[dict[str, Any]], flags: list[str], said: str, life: Life, tmp_path: Path, capsys: Any
) -> None:
    """Before anything is trained, with nothing left behind."""
    write_jsonl(tmp_path / "mine.jsonl", rows)
    words = ["finetune", "--life", str(life.root), "--data", str(tmp_path / "mine.jsonl"), "--name", "none", *flags]
    assert run([*words, "--device", "cpu"]) == 2
    assert said in capsys.readouterr().err
    assert not life.run("finetune-none").exists()
