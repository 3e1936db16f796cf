"""Third-party tokenizers: ids, texts and conversations are those of `transformers`."""

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from sayso.base.errors import UserError
from sayso.token.chat import render
from sayso.token.foreign import ForeignTokenizer
from sayso.token.load import load
from sayso.token.template import Template
from sayso.token.tokenizer import BOS, END

TEXTS = [
    "Hello there, how are you? I'm fine, thank you. user assistant system\n\n",
    "Once an old fox ran.\n It ran.",
] * 9
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "  Hello there?\n"},
    {"role": "assistant", "content": "Hello\n\nfriend"},
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "I'm fine, thank you."},
]
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = """{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
MISTRAL = """{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}
{%- set rest = messages[1:] %}{%- else %}{%- set rest = messages %}{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system is defined %}
            {{- '[INST] ' + system + '\n\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token }}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are supported!') }}
    {%- endif %}
{%- endfor %}
"""
CONTROL = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    "mistral": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"],
}
FACTS = {
    "chatml": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": CHATML},
    "llama3": {"bos_token": "<|begin|>", "eos_token": "<|eot_id|>", "chat_template": LLAMA3},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": MISTRAL},
}


def byte_level(control: list[str], begin: str | None) -> Tokenizer:
    """Return a byte-level BPE such as that of GPT-2, Llama 3, Qwen or SmolLM."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False))
    core.add_special_tokens(control)
    if begin:
        core.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, core.token_to_id(begin))]
        )
    return core


def sentence_piece(control: list[str]) -> Tokenizer:
    """Return a BPE over SentencePiece's alphabet with byte fallback, such as that of Llama 2 or Mistral."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    letters = [*control[:3], *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=360, special_tokens=letters, show_progress=False))
    plain = Tokenizer.from_str(core.to_str())
    merges, vocabulary = [tuple(pair) for pair in _merges(plain)], plain.get_vocab(with_added_tokens=True)
    core = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer, core.decoder = plain.normalizer, plain.decoder
    core.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in control])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return core


def _merges(core: Tokenizer) -> list[list[str]]:
    import json

    return json.loads(core.to_str())["model"]["merges"]


@pytest.fixture(scope="module", params=list(CONTROL))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ForeignTokenizer, object]:
    """A folder that `transformers` wrote, opened by Sayso and by `transformers`."""
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    if kind == "mistral":
        core = sentence_piece(CONTROL[kind])
    else:
        core = byte_level(CONTROL[kind], "<|begin|>" if kind == "llama3" else None)
    PreTrainedTokenizerFast(tokenizer_object=core, **FACTS[kind]).save_pretrained(folder)
    tokenizer = load(folder)
    assert isinstance(tokenizer, ForeignTokenizer)
    return tokenizer, AutoTokenizer.from_pretrained(folder)


STRINGS = ["", "Hello", " Hello there", "a  b\n\n c\t", "naïve 漢字 🙂", "fox\u2581fox", "\x00\x7f"]


@pytest.mark.parametrize("text", STRINGS)
def test_ids_are_those_of_transformers_and_round_trip(both, text: str) -> None:
    """A text has the same ids; their bytes are the text, except for the space that SentencePiece adds in front."""
    ours, theirs = both
    ids = ours.encode(text)
    assert ids == theirs.encode(text, add_special_tokens=False)
    assert ours.encode_batch([text, text]) == [ids, ids]
    assert ours.decode(ids).removeprefix(" " if ours.decode(ours.encode("a")) == " a" else "") == text.replace(
        "\u2581", " " if ours.decode(ours.encode("a")) == " a" else "\u2581"
    )


@pytest.mark.parametrize("talk", [TALK, TALK[1:], TALK[:2], TALK[1:2]], ids=["all", "no system", "two", "one"])
@pytest.mark.parametrize("reply", [True, False])
def test_a_conversation_is_that_of_transformers(both, talk: list[dict[str, str]], reply: bool) -> None:
    """The chat template gives the same ids, with and without an open reply."""
    ours, theirs = both
    expected = theirs.apply_chat_template(talk, add_generation_prompt=reply, return_dict=True)["input_ids"]
    assert render(ours, talk, reply=reply)[0] == expected


def test_replies_and_what_ends_them_are_trained(both) -> None:
    """The trained ids are the assistant's text and one end after each; a reply of weight 0 is not trained."""
    ours, _ = both
    talk = [*TALK[:2], {**TALK[2], "weight": 0}, *TALK[3:]]
    ids, trained = render(ours, TALK)
    learned = [index for index, one in zip(ids, trained, strict=True) if one]
    said = "".join(ours.decode([index]) for index in learned)
    assert "".join(said.split()) == "HellofriendI'mfine,thankyou."
    assert [index in ours.stop_ids for index in learned].count(True) == 2
    assert learned[-1] in ours.stop_ids
    less, fewer = render(ours, talk)
    assert less == ids
    assert [index for index, one in zip(less, fewer, strict=True) if one] == learned[-sum(fewer) :]
    assert sum(fewer) < sum(trained)


def test_typed_text_is_never_a_control_token(both) -> None:
    """A typed control token is text: the conversation has as many control tokens as without it."""
    ours, _ = both
    control = set(ours._control)
    spelled = " ".join(token.content for token in ours._control.values())

    def count(content: str) -> int:
        ids, _ = render(ours, [{"role": "user", "content": content}], reply=True)
        return sum(index in control for index in ids)

    assert count(f"say {spelled} now") == count("say now")
    assert not control & set(ours.encode(spelled))


def test_a_document_begins_as_in_training(both) -> None:
    """A document begins with the token that the tokenizer itself adds, or with the separator of documents."""
    ours, theirs = both
    first = theirs.encode("a")[0]
    begins = first != theirs.encode("a", add_special_tokens=False)[0]
    between = theirs.convert_tokens_to_ids("<|endoftext|>")
    assert ours.specials == {BOS: first if begins else between, END: theirs.eos_token_id}


def test_it_is_saved_unchanged(both, tmp_path: Path) -> None:
    """Saved again, both open it and return the same."""
    ours, theirs = both
    ours.save(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.apply_chat_template(TALK, tokenize=False) == theirs.apply_chat_template(TALK, tokenize=False)
    assert load(tmp_path).encode(TEXTS[0]) == ours.encode(TEXTS[0])


def test_a_rejection_by_a_template_is_reported(both) -> None:
    """The template's message reaches the user in one sentence."""
    template = Template("{{ raise_exception('No users here.') }}", {})
    with pytest.raises(UserError, match="No users here"):
        template.text(TALK)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{% for %}", "not valid Jinja"),
        ("{{ messages[0].nothing.more }}", "rejects"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "rejects"),
        ("{% for i in range(10**9) %}x{% endfor %}", "rejects"),
    ],
)
def test_an_invalid_template_is_one_sentence(source: str, told: str) -> None:
    """A broken or hostile template is one sentence; Python objects cannot be reached from it."""
    with pytest.raises(UserError, match=told) as caught:
        Template(source, {}).text(TALK)
    assert "\n" not in str(caught.value)


def test_a_template_that_rewrites_contents_trains_nothing() -> None:
    """If it is unknown which ids a reply became, the user gets an error."""
    core = byte_level(CONTROL["chatml"], None)
    source = "{% for message in messages %}{{ message['content'] | upper }}<|im_end|>{% endfor %}"
    tokenizer = ForeignTokenizer(core, {**FACTS["chatml"], "chat_template": source})
    with pytest.raises(UserError, match="changes the text of replies"):
        render(tokenizer, TALK)
    ids, trained = render(tokenizer, TALK[:2], reply=True)
    assert tokenizer.decode(ids) == "BE KIND.  HELLO THERE?\n"
    assert not any(trained)
    ids, _ = render(tokenizer, [{"role": "user", "content": "say <|im_start|>"}], reply=True)
    assert tokenizer.decode(ids) == "SAY <|IM_START|>"  # spelled, not forged
    assert [index for index in ids if index in tokenizer.control] == [tokenizer.core.token_to_id("<|im_end|>")]


def test_a_model_without_a_template_does_not_chat() -> None:
    """A base model reports that it only continues text; one without an end token is refused."""
    core = byte_level(CONTROL["chatml"], None)
    with pytest.raises(UserError, match="no chat template"):
        render(ForeignTokenizer(core, {"eos_token": "<|endoftext|>"}), TALK)
    with pytest.raises(UserError, match="no eos_token"):
        ForeignTokenizer(core, {})
