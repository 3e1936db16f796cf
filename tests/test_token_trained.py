"""The trained mask of a third-party template: what `transformers` marks, the same without marks, with the end."""

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sayso.base.errors import UserError
from sayso.token.chat import render, reply_ids
from sayso.token.foreign import ForeignTokenizer

# After the templates that these models bring; R begins and E ends what a trainer is to mark as the reply.
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "R{{ m['content'] + '<|im_end|>' }}E{{ '\n' }}{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = """{{- bos_token }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}
    {%- if m['role'] == 'assistant' %}R{{- m['content'] | trim + '<|eot_id|>' }}E
    {%- else %}{{- m['content'] | trim + '<|eot_id|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""
MISTRAL = """{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] + '\n\n' %}
{%- set rest = messages[1:] %}{%- else %}{%- set system = '' %}{%- set rest = messages %}{%- endif %}{{- bos_token }}
{%- for m in rest %}
    {%- if m['role'] == 'user' %}{{- '[INST] ' + (system if loop.first else '') + m['content'] + '[/INST]' }}
    {%- else %}R{{- ' ' + m['content'] + eos_token }}E{%- endif %}
{%- endfor %}"""
LLAMA2 = MISTRAL.replace("' ' + m['content'] + eos_token", "' ' + m['content'] | trim + ' ' + eos_token")
ZEPHYR = """{% for m in messages %}
{% if m['role'] == 'assistant' %}
{{ '<|assistant|>\n' }}R{{ m['content'] + eos_token }}E{{ '\n' }}
{% else %}
{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
TEMPLATES = {
    "ChatML": (CHATML, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_start|>", "<|im_end|>"),
    "ChatML on a base": (CHATML, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", "<|endoftext|>"),
    "Llama 3": (LLAMA3, ["<s>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], "<s>", "<|eot_id|>"),
    "Mistral": (MISTRAL, ["<s>", "</s>", "[INST]", "[/INST]"], "<s>", "</s>"),
    "Llama 2": (LLAMA2, ["<s>", "</s>"], "<s>", "</s>"),
    "Zephyr": (ZEPHYR, ["<s>", "</s>"], "<s>", "</s>"),
}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello there?"},
    {"role": "assistant", "content": "Hello\n\nfriend"},
    {"role": "user", "content": "user assistant"},
    {"role": "assistant", "content": "I'm fine, thank you."},
]


def core(control: list[str], pieces: bool) -> Tokenizer:
    """Return a small tokenizer, byte-level like Llama 3's or SentencePiece like Mistral's."""
    texts = [turn["content"] for turn in TALK] * 9 + ["system\nuser\nassistant\n"] * 9
    found = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>") if pieces else models.BPE())
    if pieces:
        found.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        letters = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
        found.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=340, special_tokens=letters, show_progress=False)
        )
    else:
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        found.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=320, initial_alphabet=letters, show_progress=False)
        )
    found.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in control])
    return found


def marked(source: str) -> str:
    """Return a template with its replies marked, as trainers need them."""
    return source.replace("R{{", "{% generation %}{{").replace("}}E", "}}{% endgeneration %}")


def plain(source: str) -> str:
    """Return the same template without marks, as in most folders."""
    return source.replace("R{{", "{{").replace("}}E", "}}")


def opened(name: str, source: str) -> tuple[ForeignTokenizer, PreTrainedTokenizerFast]:
    """Return a tokenizer with a template, from Sayso and from `transformers`; padding is the token that ends a text."""
    _, control, bos, eos = TEMPLATES[name]
    made = core(control, name in ("Mistral", "Llama 2", "Zephyr"))
    facts = {"bos_token": bos, "eos_token": eos, "pad_token": eos, "chat_template": source}
    return ForeignTokenizer(made, facts), PreTrainedTokenizerFast(tokenizer_object=made, **facts)


@pytest.mark.parametrize("talk", [TALK, TALK[1:], TALK[1:3]], ids=["all", "no system", "two"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_mask_is_that_of_transformers(name: str, talk: list[dict[str, str]]) -> None:
    """Marked, it is `return_assistant_tokens_mask`; the same template without marks gives the same mask."""
    ours, theirs = opened(name, marked(TEMPLATES[name][0]))
    unmarked, _ = opened(name, plain(TEMPLATES[name][0]))
    expected = theirs.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = render(ours, talk)
    assert ids == expected["input_ids"]
    assert mask == [bool(one) for one in expected["assistant_masks"]]
    assert render(unmarked, talk) == (ids, mask)
    assert any(mask)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_end_of_a_turn_is_trained_and_stops_a_reply(name: str) -> None:
    """Each reply's last trained token is the one that ends a turn, although padding is the same token."""
    ours, theirs = opened(name, plain(TEMPLATES[name][0]))
    ids, mask = render(ours, TALK)
    lasts = [index for index, one, after in zip(ids, mask, [*mask[1:], False], strict=True) if one and not after]
    end = theirs.convert_tokens_to_ids(TEMPLATES[name][1][2] if "ChatML" in name else TEMPLATES[name][1][1])
    assert lasts == [end, end]
    assert reply_ids(ours, "Hello")[-1] == end == ours.turn_end
    assert end in ours.stop_ids


@pytest.mark.parametrize("mark", [marked, plain])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_reply_of_weight_0_is_read_only(name: str, mark) -> None:
    """The ids are unchanged, and the other reply is trained as before."""
    ours, _ = opened(name, mark(TEMPLATES[name][0]))
    ids, mask = render(ours, TALK)
    less, fewer = render(ours, [*TALK[:2], {**TALK[2], "weight": 0}, *TALK[3:]])
    first = mask.index(True)
    cut = mask.index(False, first)
    assert less == ids
    assert fewer == [False] * cut + mask[cut:]


def test_an_end_that_a_template_forgot_to_mark_is_trained() -> None:
    """If only the content is marked, the mask has one more token per reply: the end."""
    source = marked(CHATML).replace("+ '<|im_end|>' }}{% endgeneration %}", "}}{% endgeneration %}{{ '<|im_end|>' }}")
    ours, theirs = opened("ChatML", source)
    expected = theirs.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)["assistant_masks"]
    ids, mask = render(ours, TALK)
    more = [index for index, one, other in zip(ids, mask, expected, strict=True) if one and not other]
    assert more == [theirs.convert_tokens_to_ids("<|im_end|>")] * 2


def test_a_template_that_changes_contents_but_marks_them_is_accepted() -> None:
    """The marks determine what is trained, and typed control tokens stay text."""
    ours, theirs = opened("ChatML", marked(CHATML).replace("m['content'] +", "m['content'] | upper +"))
    expected = theirs.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)
    assert render(ours, TALK) == (expected["input_ids"], [bool(one) for one in expected["assistant_masks"]])
    ids, mask = render(ours, [{"role": "user", "content": "<|im_end|>"}, TALK[2]])
    assert ids.count(ours.turn_end) == 2
    assert any(mask)


def test_a_template_that_ends_no_reply_is_refused() -> None:
    """A model tuned with it would never stop."""
    ours, _ = opened("Zephyr", plain(ZEPHYR).replace("m['content'] + eos_token }}", "m['content'] }}"))
    with pytest.raises(UserError, match=r"does not learn to stop; this one writes '\\n\\n<\|user"):
        render(ours, TALK)


def test_private_letters_in_a_text_are_text() -> None:
    """The letters that locate the mask are never those of the user."""
    odd = "".join(map(chr, range(0xE002, 0xE008)))
    ours, theirs = opened("ChatML", marked(CHATML))
    talk = [{"role": "user", "content": odd}, {"role": "assistant", "content": f"a{odd}b"}]
    expected = theirs.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
    assert render(ours, talk) == (expected["input_ids"], [bool(one) for one in expected["assistant_masks"]])
