"""Published third-party tokenizers: for every text and conversation, the ids of `transformers` or an error.

SAYSO_TEST_TOKENIZERS names a folder with one folder per family; `tools/published_tokenizers.sh` downloads some.
"""

import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from sayso.base.errors import UserError
from sayso.token.chat import prompt_ids, row_to_train
from sayso.token.foreign import ForeignTokenizer
from sayso.token.load import load

FOLDER = Path(os.environ.get("SAYSO_TEST_TOKENIZERS", "no such folder"))
FAMILIES = sorted(path.parent.name for path in FOLDER.glob("*/tokenizer.json"))
if not FAMILIES:
    pytest.skip("SAYSO_TEST_TOKENIZERS names no folder with published tokenizers", allow_module_level=True)

TEXTS = [
    *("", " ", "Hello world", " a", "  two  blanks ", "a\n\n\nb\n\n", "\t\tx\r\n", "don't I'M we'LL 'tis", "naïve ﬁ Å"),
    *(
        "<b>HTML</b> <a href='x'>&lt;</a>",
        "🙂👩‍👩‍👧 漢字かな 한국어 हिन्दी",
        "1234567 12.5 0x1F",
        "if (x != y) { return; }",
    ),
    *(
        "\u2581a \u2581",
        "<think>\nhm\n</think>\n\nyes",
        "x\u00a0y\u3000z\u2028",
        "\x00\x7f",
        "https://a.b/c?d=e#f",
        "—…“”",
    ),
]
SYSTEM = {"role": "system", "content": "Be kind.\n\n\nAlways."}
ASKED = ["Hi <b>there</b>\n\n\n\nyou 🙂", "<p>2nd</p>\n\n", "  third  ", "漢字 &amp; 12345", "\nfive\n"]
SAID = ["<think>\nhm\n</think>\n\nHello\n\n\n\nfriend", "plain <i>x</i>", "<think>a</think>b", " 4 ", "🙂\n"]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Adds <b>two</b> numbers, é.",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        },
    }
]
CALL = {"id": "abcdef123", "type": "function", "function": {"name": "add", "arguments": {"a": "é\n<x>"}}}
CALLED = [
    {"role": "user", "content": "Add!"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "abcdef123", "name": "add", "content": '{"sum": 4}'},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "Thanks"},
]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def opened(family: str) -> tuple[ForeignTokenizer, Any]:
    """A family's tokenizer, ours and theirs, from its file."""
    ours = load(FOLDER / family)
    assert isinstance(ours, ForeignTokenizer)
    return ours, PreTrainedTokenizerFast.from_pretrained(FOLDER / family)


def talks() -> list[list[dict[str, str]]]:
    """Return conversations of one to five user turns, with or without a system message, answered or not."""
    found = []
    for system, turns in product(([], [SYSTEM]), range(1, 6)):
        whole = [turn for pair in zip(ASKED, SAID, strict=True) for turn in pair][: 2 * turns]
        talk = [{"role": ("user", "assistant")[place % 2], "content": content} for place, content in enumerate(whole)]
        found += [[*system, *talk], [*system, *talk[:-1]]]
    return found


def test_texts_have_the_ids_of_transformers(family: str, opened) -> None:
    """A text's ids, and the text of its ids; differences of `AutoTokenizer` are known."""
    ours, theirs = opened
    auto = AutoTokenizer.from_pretrained(FOLDER / family)
    alike = True
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        alike &= ids == auto.encode(text, add_special_tokens=False, split_special_tokens=True)
        if "\u2581" not in text and theirs.unk_token_id not in ids:
            said = theirs.backend_tokenizer.normalizer
            normal = said.normalize_str(text).replace("\u2581", " ") if said else text
            assert ours.decode(ids) in (text, normal, f" {text}")
    assert alike != bool(ours.differing_class)


def test_conversations_have_the_ids_of_transformers(opened) -> None:
    """A template's rejection is reported, as is a system message that it drops; everything else is the same."""
    ours, theirs = opened
    if ours.chat_template is None:
        with pytest.raises(UserError, match="no chat template"):
            prompt_ids(ours, talks()[0])
        return
    same = 0
    for talk in talks():
        reply = talk[-1]["role"] == "user"
        try:
            text = theirs.apply_chat_template(talk, add_generation_prompt=reply, tokenize=False)
        except jinja2.TemplateError as error:
            with pytest.raises(UserError, match=re.escape(f"rejects this conversation: {error}")):
                prompt_ids(ours, talk, reply=reply)
            continue
        if talk[0] is SYSTEM and "Be kind." not in text:
            with pytest.raises(UserError, match="does not support system messages"):
                prompt_ids(ours, talk, reply=reply)
            continue
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert prompt_ids(ours, talk, reply=reply) == expected
        if not reply:
            ids, trained, lost = row_to_train(ours, talk)
            assert (ids, lost) == (expected, 0)
            ends = [index for index, one, after in zip(ids, trained, [*trained[1:], False], strict=True) if one > after]
            assert ends == [ours.turn_end] * (len(talk) // 2)
        same += 1
    assert same >= 10


def test_tools_are_rendered_as_by_transformers_or_as_text(opened) -> None:
    """As data for templates that support the format, as text for all others."""
    ours, theirs = opened
    if not ours.takes_tools:
        assert ours.tools_are_text or ours.chat_template is None or "tools" not in ours.chat_template
        return
    for talk, tools in product((CALLED, CALLED[:3], CALLED[:1], [SYSTEM, *CALLED]), (TOOLS, [])):
        expected = theirs.apply_chat_template(talk, tools=tools or None, add_generation_prompt=True, return_dict=True)
        assert prompt_ids(ours, talk, tools=tools) == expected["input_ids"]


def test_nobody_types_a_control_token(opened) -> None:
    """If `transformers` would take typed text for control tokens, it stays text here."""
    ours, _ = opened
    if ours.chat_template is None:
        return
    spelled = " ".join([name for name in ours.control.values() if len(name) > 1][:40])
    plain = prompt_ids(ours, [{"role": "user", "content": "say it"}])
    ids = prompt_ids(ours, [{"role": "user", "content": f"say {spelled} it"}])
    assert [index for index in ids if index in ours.control] == [index for index in plain if index in ours.control]
    assert spelled in ours.decode(ids)
