"""Talking in the terminal: typed or piped, undone, retried, saved, stopped; and which model speaks."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.terminal import Terminal
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier
from sayso.reply.speaking import with_breakers
from sayso.reply.terminal_chat import TerminalChat
from sayso.run.chat import Chat, chat
from sayso.run.generate import Generate, generate
from sayso.sample.sampling import Sampling
from sayso.token.foreign import ForeignTokenizer
from sayso.token.tokenizer import Tokenizer
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model
from sayso.weights.models import newest_model, resolve_model

SAYS = "Hi, cat\x1b."  # each character once, and one that could command a terminal
SHOWN = "Hi, cat."


def reciter(tokenizer: Tokenizer, first: int, then: list[int], context: int) -> Transformer:
    """A model that says `then` after the token `first`: its blocks add nothing, its head knows each successor."""
    config = ModelConfig(tokenizer.vocab_size, 1, 64, 2, 1, 32, 64, context=context)
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.unembed.weight.zero_()
        for token, successor in zip([first, *then], then, strict=False):
            model.unembed.weight[successor] = model.embed.weight[token]
    return model


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life whose tuned model always says one thing; its model "endless" goes round, its base model counts up."""
    life = Life(tmp_path_factory.mktemp("life"))
    tokenizer = train("bpe", [SAYS], 261)
    ids, end = tokenizer.encode(SAYS), tokenizer.specials["<|end|>"]
    assistant = tokenizer.specials["<|assistant|>"]
    save_model(reciter(tokenizer, assistant, [*ids, end], 64), tokenizer, life.model("tuned"), {})
    letters = tokenizer.encode("abcdefgh")
    save_model(reciter(tokenizer, assistant, [*letters, letters[0]], 8192), tokenizer, life.model("endless"), {})
    digits = tokenizer.encode("0123456789")
    save_model(reciter(tokenizer, digits[0], [*digits[1:], end], 64), tokenizer, life.model("base"), {})
    return life.root


class Typed(io.StringIO):
    """Lines that a person types at a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def talk(life: Path, *lines: str, typed: bool = True, target: io.StringIO | None = None, **flags) -> str:
    """What the terminal shows of a chat."""
    target = target or io.StringIO()
    kind = Typed if typed else io.StringIO
    options = Chat(**{"life": life, "temperature": 0, "device": "cpu", **flags})
    chat(options, kind("".join(f"{line}\n" for line in lines)), target)
    return target.getvalue()


def saved(path: Path) -> list[tuple[str, str]]:
    """The turns of a saved conversation."""
    return [(message["role"], message["content"]) for message in json.loads(path.read_text())["messages"]]


def test_piped_output_is_the_replies_alone(life: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is one line a reply, no prompt, no colour; what else is to be said is an error line."""
    assert talk(life, "Hello", "", "Again", typed=False) == f"{SHOWN}\n{SHOWN}\n"
    assert capsys.readouterr().err == "There is no 'aligned' model yet; using 'tuned'.\n"


def test_a_person_sees_prompts_and_notes(life: Path) -> None:
    """At a terminal the model is introduced and each question has a prompt before it."""
    shown = talk(life, "Hello", "/help")
    assert "using 'tuned'" in shown
    assert "context 64 tokens" in shown
    assert f"> {SHOWN}\n> " in shown
    for command in ("/undo", "/retry", "/save FILE", "/help", "/exit", "Ctrl-D", "Ctrl-C"):
        assert command in shown


def test_a_reply_cannot_command_the_terminal(life: Path) -> None:
    """Escape codes in a reply are not written to the terminal."""
    assert "\x1b" not in talk(life, "Hello")


THINKING = """{%- for message in messages -%}
<{{ message.role }}>{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif -%}
{{ message.content }}<|end|>
{%- endfor -%}
{%- if add_generation_prompt %}<assistant>{% endif -%}"""


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("control", [True, False], ids=["control tokens", "tokens"])
def test_reasoning_is_dim_and_apart_from_the_reply(
    typed: bool, control: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal shows it before the reply, without markers and escape codes; a pipe gets only the reply."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = tokenizers.Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_tokens([tokenizers.AddedToken(mark, special=control) for mark in ("<think>", "</think>")])
    core.add_special_tokens(["<|end|>", "<assistant>"])
    tokenizer = ForeignTokenizer(core, {"eos_token": "<|end|>", "chat_template": THINKING})
    first, begin, close, end = (core.token_to_id(name) for name in ("<assistant>", "<think>", "</think>", "<|end|>"))
    said = [begin, *tokenizer.encode("Hm\x1b."), close, *tokenizer.encode("So, cat"), end]
    replier = Replier(reciter(tokenizer, first, said, 64).eval(), tokenizer)
    source, target = (Typed if typed else io.StringIO)("hello\n"), io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    talk = TerminalChat(replier, Sampling(temperature=0), Terminal(source, target))
    talk.run()
    before, reply, after = target.getvalue().partition("So, cat\n")
    assert (reply, after) == ("So, cat\n", "> \n" if typed else "")
    thought = before if typed else capsys.readouterr().err
    assert "".join(re.split(r"\x1b\[[\d;]*m", thought)).removeprefix("> ") == "Hm.\n"
    assert typed or not before
    assert not typed or "\x1b[2m" in thought
    assert talk.messages[-1] == {"role": "assistant", "content": "<think>Hm\x1b.</think>So, cat"}


def test_exit_leaves_at_once(life: Path) -> None:
    """What comes after /exit is not read."""
    assert talk(life, "/exit", "Hello", typed=False) == ""


def test_undo_takes_back_question_and_reply(life: Path, tmp_path: Path) -> None:
    """After /undo the last turn is gone, also from what the model sees; with no turn left it says so."""
    shown = talk(life, "One", "Two", "/undo", f"/save {tmp_path}/a", "/undo", "/undo", system="Be kind.")
    assert saved(tmp_path / "a") == [("system", "Be kind."), ("user", "One"), ("assistant", SAYS)]
    assert "Removed: Two" in shown
    assert "nothing to undo" in shown


def test_retry_replies_anew(life: Path, tmp_path: Path) -> None:
    """/retry replaces the last reply; with a seed each try is another and all can be told again."""

    def tries(name: str) -> list[list[tuple[str, str]]]:
        lines = [line for number in range(3) for line in (f"/save {tmp_path}/{name}{number}", "/retry")]
        talk(life, "Hello", *lines, temperature=20, seed=1, max_tokens=12)
        return [saved(tmp_path / f"{name}{number}") for number in range(3)]

    first = tries("a")
    assert all([role for role, _ in turns] == ["user", "assistant"] for turns in first)
    assert len({turns[1] for turns in first}) == 3
    assert first == tries("b")


def test_retry_without_a_choice_says_so(life: Path) -> None:
    """There is nothing to retry at first, and nothing to gain at temperature 0."""
    shown = talk(life, "/retry", "Hello", "/retry")
    assert "no reply yet" in shown
    assert "At temperature 0" in shown


def test_save_never_overwrites_another_file(life: Path, tmp_path: Path) -> None:
    """A file that was there stays; the file that this chat saved is brought up to date."""
    other, own = tmp_path / "other", tmp_path / "own"
    other.write_text("mine")
    shown = talk(life, "One", f"/save {other}", f"/save {own}", "Two", f"/save {own}", "/save")
    assert other.read_text() == "mine"
    assert "already exists" in shown
    assert [content for _, content in saved(own)] == ["One", SAYS, "Two", SAYS]
    assert "needs a file name" in shown


def test_an_unknown_command_offers_the_nearest(life: Path) -> None:
    """A mistyped command is not sent to the model."""
    shown = talk(life, "/unod")
    assert "got '/unod'. Did you mean '/undo'?" in shown
    assert SHOWN not in shown


def test_old_turns_leave_a_full_context_which_is_said_once(life: Path, tmp_path: Path) -> None:
    """A conversation goes on beyond the context, told once; what is saved is the whole conversation."""
    lines = [f"Question {number}" for number in range(8)]
    shown = talk(life, *lines, f"/save {tmp_path}/a", system="Hm")
    assert shown.count("oldest turns are dropped") == 1
    assert shown.count(SHOWN) == 8
    assert len(saved(tmp_path / "a")) == 17


def test_an_over_long_question_is_refused_and_forgotten(life: Path, tmp_path: Path) -> None:
    """A question that cannot fit is told with both numbers; the chat goes on without it."""
    shown = talk(life, "x" * 80, "Hello", f"/save {tmp_path}/a")
    assert "context of 64 tokens" in shown
    assert saved(tmp_path / "a") == [("user", "Hello"), ("assistant", SAYS)]


class Interrupted(io.StringIO):
    """A terminal at which Ctrl-C comes in the middle of a reply."""

    def write(self, text: str) -> int:
        """Write; once the reply has come to "ca", Ctrl-C."""
        written = super().write(text)
        if self.getvalue().endswith("ca") and text == "a":
            raise KeyboardInterrupt
        return written


def test_ctrl_c_stops_the_reply_not_the_program(life: Path, tmp_path: Path) -> None:
    """What was said stays in the conversation and the next line is read."""
    shown = talk(life, "Hello", f"/save {tmp_path}/a", target=Interrupted())
    assert "Hi, ca [stopped]\n" in shown
    assert saved(tmp_path / "a") == [("user", "Hello"), ("assistant", "Hi, ca")]


def test_a_real_terminal(life: Path) -> None:
    """In a pseudo-terminal a reply streams, SIGINT stops it, an editable prompt follows, Ctrl-D leaves with 0."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "sayso", "chat", "--life", str(life), "--model", "endless", "--temperature", "0"]
    environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--max-tokens", "8000"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell starts behind ignores it
    )
    os.close(slave)
    try:
        _until(master, "> ")
        os.write(master, b"Hello\n")
        _until(master, "abcdefghabcdefgh")
        process.send_signal(signal.SIGINT)
        _until(master, "[stopped]\r\n> ")
        os.write(master, b"\x04")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _until(master: int, text: str) -> None:
    shown = ""
    while text not in shown:
        assert select.select([master], [], [], 60)[0], f"no {text!r} after {shown!r}"
        shown += os.read(master, 4096).decode()


def test_generate_writes_the_reply(life: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One text streams to standard output; notes go to standard error; several are divided by a rule."""
    flags = {"life": life, "temperature": 0, "device": "cpu"}
    generate(Generate("Hello", **flags))
    done = capsys.readouterr()
    assert (done.out, done.err) == (f"{SHOWN}\n", "There is no 'aligned' model yet; using 'tuned'.\n")
    target = io.StringIO()
    generate(Generate("Hello", count=2, stop=("at",), **flags), target)
    assert target.getvalue() == "Hi, c\n---\nHi, c\n"


def test_generate_continues_raw_text(life: Path) -> None:
    """With --raw, and always from a base model, the prompt itself is continued, not replied to."""
    for flags in ({"model": "base"}, {"model": str(life / "models" / "base"), "raw": True}):
        target = io.StringIO()
        generate(Generate("0123", life=life, temperature=0, device="cpu", **flags), target)
        assert target.getvalue() == "456789\n"


def test_generate_reads_standard_input(life: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a prompt what is piped in is the prompt; where nothing is piped, one is asked for."""
    monkeypatch.setattr("sys.stdin", io.StringIO("56"))
    target = io.StringIO()
    options = Generate(life=life, model="base", temperature=0, device="cpu")
    generate(options, target)
    assert target.getvalue() == "789\n"
    monkeypatch.setattr("sys.stdin", Typed("56"))
    with pytest.raises(UserError, match="A prompt is required"):
        generate(options, target)


def test_penalties_break_a_loop(life: Path) -> None:
    """A model that goes round eight letters for ever leaves them at the first repeat, with DRY at the third token."""
    always = {"life": life, "model": "endless", "temperature": 0, "max_tokens": 12, "device": "cpu"}

    def text(**flags) -> str:
        target = io.StringIO()
        generate(Generate("Hi", **always, **flags), target)
        return target.getvalue()

    loop = text()
    assert len(set(loop[:8])) == 8
    assert loop[8:12] == loop[:4]
    for flag, length in (("presence_penalty", 8), ("frequency_penalty", 8), ("dry_multiplier", 10)):
        broken = text(**{flag: 1000.0})
        assert broken[:length] == loop[:length]
        assert broken[length] != loop[length]


def test_a_least_length_keeps_the_model_from_ending(life: Path) -> None:
    """A reply that would end of itself goes on until it has `min_tokens`."""
    replier = Replier(*load_model(life / "models" / "tuned"))
    options = Generate("Hi", temperature=0, min_tokens=20, max_tokens=30)
    [reply] = replier.replies([[{"role": "user", "content": "Hi"}]], options.sampling())
    assert reply.text.startswith(SAYS)
    assert reply.completion_tokens >= 20


def test_breakers_of_dry_are_those_of_the_tokenizer(life: Path) -> None:
    """Tokens with a line break, a colon, a quotation mark or a star, and control tokens; none where DRY is off."""
    tokenizer = Replier(*load_model(life / "models" / "tuned")).tokenizer
    dry = with_breakers(Generate("Hi", dry_multiplier=0.8).sampling(), tokenizer)
    assert set(dry.dry_breakers) == {*tokenizer.encode('\n:"*'), *tokenizer.specials.values()}
    assert with_breakers(Generate("Hi").sampling(), tokenizer).dry_breakers == ()


def test_several_texts_differ(life: Path) -> None:
    """Each of `count` texts is another sample, and a seed fixes them all."""

    def texts() -> list[str]:
        target = io.StringIO()
        generate(Generate("Hi", life=life, temperature=20, count=4, seed=3, max_tokens=9, device="cpu"), target)
        return target.getvalue().split("\n---\n")

    assert len(set(texts())) == 4
    assert texts() == texts()
    with pytest.raises(UserError, match="--count must be from 1 to"):
        Generate("Hi", count=0)


def test_a_model_is_found_by_name_or_path(life: Path, tmp_path: Path) -> None:
    """A name is looked up in the life, a path is taken; an unknown name offers the nearest."""
    tuned = life / "models" / "tuned"
    assert resolve_model(Life(life), "tuned") == tuned
    assert resolve_model(Life(tmp_path), str(tuned)) == tuned
    with pytest.raises(UserError, match=r"one of base, tuned, endless in .*; got 'tune'\. Did you mean 'tuned'\?"):
        resolve_model(Life(life), "tune")


def test_without_any_model_the_command_is_named(tmp_path: Path) -> None:
    """A life without models says how to make one."""
    (tmp_path / "data" / "text").mkdir(parents=True)
    with pytest.raises(UserError, match=f"Make one with 'sayso pretrain --life {tmp_path}'"):
        resolve_model(Life(tmp_path), "tuned")
    with pytest.raises(UserError, match="Make one with 'sayso demo'"):
        newest_model(Life(tmp_path / "none"), "aligned")


def test_only_earlier_stages_stand_in(life: Path) -> None:
    """A stage that is not there yet is stood in for by the newest one before it; no other name is."""
    assert newest_model(Life(life), "aligned").name == "tuned"
    assert newest_model(Life(life), "base").name == "base"
    with pytest.raises(UserError, match="got 'better'"):
        newest_model(Life(life), "better")
