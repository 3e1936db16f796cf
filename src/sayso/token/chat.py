"""Encode a conversation as one row of ids: `<|bos|>`, then each turn as `<|role|> content <|end|>`.

Third-party models have their own layout, see `template.py`.

Takes messages (role and content); returns the ids and the mask of the trained ones: an assistant's text and the
`<|end|>` after it, so that a model learns to stop. `tokenizer_config.json` stores the same layout as Jinja.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import MappingProxyType
from typing import Any

from sayso.base.errors import UserError, nearest
from sayso.base.json_words import json_kind, json_shown
from sayso.text.calls import as_data
from sayso.token.foreign import CHANGES, ForeignTokenizer
from sayso.token.tokenizer import ASSISTANT, BOS, END, SPECIALS, Tokenizer
from sayso.token.tools import tool_text, with_tools

ROLES = ("system", "user", "assistant")

# "generation" marks what is trained: without it, the assistant-only loss of other trainers has no tokens.
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('A role is system, user or assistant; got ' ~ message['role'] ~ '.') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def render(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    reply: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[int], list[bool]]:
    """Return the ids of a conversation and the mask of the trained ones; both have the same length.

    A reply with `"weight": 0` (as in OpenAI's format) is read but not trained.
    With `reply`, the row ends with an open `<|assistant|>`. Tools, calls and results (OpenAI's format) are passed to a
    template that supports them; otherwise they become text, see `tools.py`.
    Raises `UserError` for no messages, an unknown role, content that is not text, or a template for which the trained
    tokens cannot be determined.
    """
    ids, trained, lost = row_to_train(tokenizer, messages, reply=reply, tools=tools)
    if lost and not reply and not any(trained):
        raise UserError(CHANGES)
    return ids, trained


def row_to_train(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    reply: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[int], list[bool], int]:
    """Return ids and mask as `render`, and the number of replies that the layout changes (these are not trained)."""
    messages, tools = _checked(tokenizer, messages, tools)
    if isinstance(tokenizer, ForeignTokenizer):
        return tokenizer.render(messages, reply=reply, tools=tools)
    ids, trained = [tokenizer.specials[BOS]], [False]
    for message in messages:
        role, content = _turn(message)
        encoded = [*tokenizer.encode(content), tokenizer.specials[END]]
        ids += [tokenizer.specials[f"<|{role}|>"], *encoded]
        learned = role == "assistant" and message.get("weight", 1) != 0
        trained += [False, *[learned] * len(encoded)]
    if reply:
        ids.append(tokenizer.specials[ASSISTANT])
        trained.append(False)
    return ids, trained, 0


def prompt_ids(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    reply: bool = True,
    tools: Sequence[Mapping[str, Any]] = (),
    continued: bool = False,
    variables: Mapping[str, Any] = MappingProxyType({}),
) -> list[int]:
    """Return only the ids of a conversation, with or without an open reply; errors as in `render`.

    `continued` leaves the last message open, so that the model continues it. `variables` are those of the chat
    template, see `template_variables`. Any template works, even one that changes its input, since nothing is trained
    here.
    """
    messages, tools = _checked(tokenizer, messages, tools)
    if isinstance(tokenizer, ForeignTokenizer):
        return tokenizer.ids(
            messages, reply=reply and not continued, tools=tools, continued=continued, variables=variables
        )
    ids = row_to_train(tokenizer, messages, reply=reply and not continued)[0]
    return ids[:-1] if continued else ids


def template_variables(tokenizer: Tokenizer, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of a chat template, checked.

    null and false are accepted for any name, because they equal an absent variable. Raises `UserError` for a name that
    the template does not use.
    """
    names = variable_names(tokenizer)
    unknown = next((name for name, value in given.items() if name not in names and value not in (None, False)), None)
    if unknown is not None:
        known = f"its variables are {', '.join(sorted(names))}" if names else "it has no variables at all"
        raise UserError(
            f"This model's chat template has no variable '{unknown:.100}'; {known}.{nearest(unknown, names)}"
        )
    return {name: value for name, value in given.items() if name in names}


def variable_names(tokenizer: Tokenizer) -> frozenset[str]:
    """Return the names of the variables that the tokenizer's chat template uses."""
    return tokenizer.variables if isinstance(tokenizer, ForeignTokenizer) else frozenset()


def reply_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the ids of a complete reply, with the token that ends it, to follow a prompt with an open reply."""
    end = tokenizer.turn_end if isinstance(tokenizer, ForeignTokenizer) else tokenizer.specials[END]
    return [*tokenizer.encode(text), end]


def encode_documents(tokenizer: Tokenizer, texts: Iterable[str], *, at_once: int = 256) -> Iterator[list[int]]:
    """Yield each text as a document for pre-training, `<|bos|> text <|end|>`; streams.

    The end token is part of the document: a model learns where a text stops with the token that also ends a turn.
    """
    bos, end = tokenizer.specials[BOS], tokenizer.specials[END]
    stream = iter(texts)
    with ThreadPoolExecutor(1) as ahead:  # encodes the next group while this one is used
        upcoming = ahead.submit(tokenizer.encode_batch, list(islice(stream, at_once)))
        while encoded := upcoming.result():
            upcoming = ahead.submit(tokenizer.encode_batch, list(islice(stream, at_once)))
            for ids in encoded:
                yield [bos, *ids, end]


def config(kind: str) -> dict[str, object]:
    """Return the content of `tokenizer_config.json`, with Hugging Face's names."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "additional_special_tokens": list(SPECIALS[1:-1]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        "chat_template": CHAT_TEMPLATE,
        "sayso_kind": kind,
    }


def _checked(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Return messages and tools in the form that the tokenizer's layout needs. Raises `UserError` if invalid."""
    if not messages:
        raise UserError("A conversation must have at least one message; got none.")
    if with_tools(messages, tools):
        if isinstance(tokenizer, ForeignTokenizer) and tokenizer.lays_out(tools):
            messages = as_data(messages)
        else:
            system = not isinstance(tokenizer, ForeignTokenizer) or tokenizer.takes_system
            messages, tools = tool_text(messages, tools, system=system), ()
    for message in messages:
        _content(message)
    return messages, tools


def _turn(message: Mapping[str, Any]) -> tuple[str, str]:
    role = message.get("role")
    if role not in ROLES:
        raise UserError(
            f"A message's role must be one of {', '.join(ROLES)}; got {json_shown(role)}.{nearest(str(role), ROLES)}"
        )
    return role, _content(message)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        raise UserError(f"A message's content must be text; got {json_kind(content)} from the {message.get('role')}.")
    return content
