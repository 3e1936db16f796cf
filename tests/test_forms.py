"""The forms of the page say what the command line does, and refuse what it refuses."""

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from sayso.base.errors import UserError
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.cli.commands import build_app
from sayso.run.acts import COMMANDS
from sayso.run.forms import ACTS, LEFT_OUT, Forms

COMMAND = {command.name: command for command in COMMANDS}
FILLED: dict[str, dict[str, Any]] = {
    "prepare": {"sources": ["a b.txt", "--life=/etc"], "quality": False, "val": 0.25, "seed": 3},
    "tokenizer train": {"vocab_size": 400},
    "pretrain": {"name": "small", "depth": 2, "rate": 1e-05, "mix": ["a=1", "b=0.5"], "recompute": True},
    "finetune": {"parent": "x y", "held_out": 12, "long": "drop", "lora_rank": 4},
    "align": {"held_out": "held out.jsonl", "loss": "kto", "pairs": "p.jsonl"},
    "evaluate": {"model": "$(touch /tmp/no); `id` | && 'x'", "n": 0, "tasks": ["one", "two"]},
    "judge": {"models": ["one", "two"], "temperature": 1},
    "quantize": {"bits": 4, "inputs": 8, "head": 0, "group": 32},
    "export": {"model": "base", "format": "q8_0"},
    "promote": {"candidate": "tuned", "to": "candidate", "reason": "--store=elsewhere\nline"},
}


@pytest.fixture
def forms(tmp_path: Path) -> Forms:
    return Forms(Life(tmp_path / "life"))


def parsed(words: tuple[str, ...], act: str) -> Any:
    """Return the options that the command line makes of some arguments."""
    kind = get_type_hints(COMMAND[act].load())["options"]
    _, bound, _ = build_app().parse_args(list(words), exit_on_error=False, print_error=False)
    return kind(**bound.arguments)


@pytest.mark.parametrize("act", FILLED)
def test_a_filled_form_is_read_by_the_command_line_as_it_was_meant(forms: Forms, act: str) -> None:
    """Every option is one argument, whatever is in it; all others have their defaults."""
    made = forms.begin(act, FILLED[act])
    options = parsed(made.words, act)
    default = parsed((*act.split(), *(["x"] if act == "promote" else [])), act)
    assert options.life == forms.life.root.absolute()
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in FILLED[act]:
            given = FILLED[act][field.name]
            same = value == (tuple(given) if isinstance(given, list) else given) or str(value) == given
            assert same, (field.name, value)
        elif field.name not in ("life", "to"):
            assert value == getattr(default, field.name)


def test_every_form_has_the_options_of_its_act(forms: Forms) -> None:
    """But for those that the page must not set; a default that is given again changes nothing."""
    described = forms.every()
    assert [one["act"] for one in described] == list(ACTS)
    for one in described:
        kind = get_type_hints(COMMAND[one["act"]].load())["options"]
        names = {field["name"] for field in one["fields"]}
        left = {field.name for field in fields(kind)} - names
        assert left <= LEFT_OUT | {"to"}
        assert names.isdisjoint({"life", "store", "key", "endpoint", "detector", "mirror", "allow_code"})
        defaults = {field["name"]: field["default"] for field in one["fields"] if field["default"] not in (None, [])}
        needed = {field["name"]: "x" for field in one["fields"] if field["required"]}
        words = forms.begin(one["act"], {**defaults, **needed}).words
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {
            "--life",
            "--to",
            *(f"--{name}" for name in needed),
        }
        assert all(field["help"] for field in one["fields"])


@pytest.mark.parametrize(
    ("act", "values", "told"),
    [
        ("serve", {}, "An act must be one of"),
        ("rm -rf /", {}, "An act must be one of"),
        ("pretrain", {"dept": 3}, "'pretrain' has no option 'dept' here. Did you mean 'depth'?"),
        ("pretrain", {"life": "/etc"}, "'pretrain' has no option 'life' here."),
        ("export", {"to": "/etc/passwd"}, "'export' has no option 'to' here."),
        ("pretrain", {"depth": 0}, "--depth must be from 1 to 1024; got 0."),
        ("pretrain", {"depth": 1.5}, "--depth must be an integer"),
        ("pretrain", {"depth": "2"}, "--depth must be"),
        ("pretrain", {"recompute": "yes"}, "recompute must be True or False; got 'yes'."),
        ("pretrain", {"recipe": "fast"}, "recipe must be 'standard' or 'fastest'; got 'fast'. Did you mean 'fastest'?"),
        ("pretrain", {"name": "a\0b"}, "A text must be valid UTF-8 without null characters."),
        ("pretrain", {"name": "a\udc80"}, "A text must be valid UTF-8 without null characters."),
        ("pretrain", {"mix": [{"a": 1}]}, "mix must be a string"),
        ("pretrain", {"minutes": None, "rate": None}, "rate must be a number; got None."),
        ("judge", {"models": []}, "'models' must have at least one value"),
        ("promote", {}, "'promote' needs the option 'candidate'."),
        ("export", {"model": "../../etc"}, "A name must consist of"),
    ],
)
def test_an_invalid_form_is_refused_in_a_sentence(forms: Forms, act: str, values: dict[str, Any], told: str) -> None:
    """Before anything is started."""
    with pytest.raises(UserError) as error:
        forms.begin(act, values)
    assert told in str(error.value)


def test_an_interrupted_run_is_resumed_with_its_own_options(trained_life: Life, tmp_path: Path) -> None:
    """The command line reads the options of its config, whatever the life was called then, and never starts over."""
    life = Life(tmp_path / "life")
    shutil.copytree(trained_life.root, life.root)
    path = life.run("pretrain-base") / "run.jsonl"
    with pytest.raises(UserError, match="'pretrain-base' has ended"):
        Forms(life).resume("pretrain-base")
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:-2]) + b"\n")
    config = path.with_name("config.toml")
    config.write_text(config.read_text().replace("restart = false", "restart = true"))
    made = Forms(life).resume("pretrain-base")
    options, before = parsed(made.words, "pretrain"), read_log(path)[0]["config"]
    assert (made.act, made.run, options.restart) == ("pretrain", "pretrain-base", False)
    assert options.recorded == {key: value for key, value in before.items() if key in options.recorded}
    with pytest.raises(UserError, match="'prepare' cannot be resumed"):
        Forms(life).resume("prepare")
    shutil.copytree(path.parent, path.parent.with_name("pretrain-base-1"))
    with pytest.raises(UserError, match="'pretrain-base-1' is a part of another run"):
        Forms(life).resume("pretrain-base-1")
