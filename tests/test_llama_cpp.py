"""Exported models in llama.cpp: the same log-probabilities and ids."""

import json
import random
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
import xllamacpp

from sayso.model import ModelConfig, Transformer
from sayso.run.export import Export, export
from sayso.token.train import train
from sayso.weights.folder import model_of, save_model
from sayso.weights.gguf.file import GGUF
from sayso.weights.gguf.read import read_gguf
from sayso.weights.gguf.tokenizer import CUTS, DIGITS, GPT2_SPLIT, gguf_tokenizer
from sayso.weights.gguf.write import write_gguf

TEXTS = ["Once upon a time there was an old fox, and it said: don't run! 42 times."] * 5
VOCABULARY = 320


def served(path: Path) -> Any:
    """Open a file in llama.cpp's server, without its log output."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.warmup = 128, 1, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.verbosity = -1
    return xllamacpp.Server(settings)


def next_logprobs(server: Any, ids: list[int]) -> torch.Tensor:
    """Return llama.cpp's log-probabilities [V] of the token after `ids`."""
    asked = {"prompt": ids, "max_tokens": 1, "logprobs": VOCABULARY, "temperature": 0.0}
    (choice,) = server.handle_completions(asked)["choices"]
    found = torch.full((VOCABULARY,), -torch.inf)
    for one in choice["logprobs"]["content"][0]["top_logprobs"]:
        found[one["id"]] = one["logprob"]
    return found


def some_model(size: int = VOCABULARY, mlp: str = "swiglu") -> Transformer:
    """Return a small model with only random weights."""
    config = ModelConfig(size, 2, 64, 4, 2, 16, 96, context=64, mlp=mlp)
    model, generator = Transformer(config).eval(), torch.Generator().manual_seed(5)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.1, generator=generator)
    return model


@pytest.mark.parametrize("mlp", ["swiglu", "relu2"])
@pytest.mark.parametrize(("kind", "near"), [("f16", 0.005), ("q8_0", 0.04), ("q4_0", 0.04)])
def test_llama_cpp_gives_the_same_next_tokens(kind: str, near: float, mlp: str, tmp_path: Path) -> None:
    """To llama.cpp's precision: 16 bits, or 8 if weights are quantized."""
    tokenizer = train("bpe", TEXTS, VOCABULARY)
    model = some_model(mlp=mlp)
    path = tmp_path / "model.gguf"
    write_gguf(model, tokenizer, path, kind, "model")
    config, state, _ = read_gguf(path)
    ours = model_of(config, state, path)
    ids = [tokenizer.specials["<|bos|>"], *tokenizer.encode(TEXTS[0])][:40]
    with torch.inference_mode():
        wanted = ours(torch.tensor([ids])).log_softmax(-1)[0]
    server = served(path)
    for end in (1, 7, len(ids)):
        found = next_logprobs(server, ids[:end])
        finite = found.isfinite()
        assert finite.sum() >= VOCABULARY - 1
        assert (found - wanted[end - 1])[finite].abs().mean() < near


def llama_ids(server: Any, text: str, *, special: bool = False) -> list[int]:
    """Return llama.cpp's ids of a text without control tokens; with `special`, including the first token."""
    body = json.dumps({"content": text, "add_special": special, "parse_special": False}).encode()
    asked = urllib.request.Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        found: list[int] = json.load(answer)["tokens"]
    return found


def mixed() -> list[str]:
    """Return text of every kind: words, numbers, blanks, code, punctuation, scripts, emoji, and rare letters."""
    rng = random.Random(4)
    words = ["don't DON'T 'stone’s we’ll", "12345 1 3,456.78 ab1234", "  \n\n \t x  \r\n\r\n y \u00a0z\u3000w\n"]
    words += [
        "हिन्दी में e\u0301te\u0301 !\u0301 1\u0301",
        "🙂👩‍👩‍👧 漢字かな 한국어",
        "if x[3] != 'a': # $5 <b>|</b>",
        "ſs 'ſ Ⅳ ½",
    ]
    words += ["<|end|> is text", "\u2028a\u2029b\u0085c", "!!! ?? a+b=c^2 ~|", "x\n\n\n", "trailing  "]
    for start in (*range(0x80, 0x3000, 128), 0x4E00, 0xAC00, 0x1F300, 0x1F600):
        letters = (chr(start + rng.randrange(128)) for _ in range(60))
        words.append("".join(rng.choice(["", "", " ", "a", "1", "'"]) + letter for letter in letters))
    return words


@pytest.mark.filterwarnings("ignore")
def test_an_exported_demo_model_gives_the_same_ids(tmp_path: Path) -> None:
    """A model of the demo's shape with our tokenizer splits every text alike in llama.cpp."""
    tokenizer = train("bpe", [*TEXTS, *mixed()] * 2, 700)
    save_model(
        some_model(tokenizer.vocab_size, "relu2"), tokenizer, tmp_path / "life/models/aligned", {"stage": "aligned"}
    )
    export(Export("aligned", life=tmp_path / "life", to=tmp_path / "aligned.gguf"))
    server = served(tmp_path / "aligned.gguf")
    for text in mixed():
        assert llama_ids(server, text) == tokenizer.encode(text)
    again = gguf_tokenizer(GGUF(tmp_path / "aligned.gguf"))
    assert [again.encode(text) for text in mixed()] == [tokenizer.encode(text) for text in mixed()]
    assert llama_ids(server, "fox", special=True) == [tokenizer.specials["<|bos|>"], *tokenizer.encode("fox")]


def with_pre(source: Path, path: Path, name: str | None) -> None:
    """Copy a GGUF file with another pre-tokenizer name, or none, and without the settings of the first token."""
    import gguf

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(str(path), "qwen3")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "tokenizer.ggml.add_bos_token"):
            continue
        if field.name == "tokenizer.ggml.pre":
            if name:
                writer.add_tokenizer_pre(name)
            continue
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", [*CUTS, *DIGITS, *GPT2_SPLIT, "default", None])
def test_missing_settings_default_to_those_of_llama_cpp(name: str | None, tmp_path: Path) -> None:
    """For each pre-tokenizer name, texts have the same ids and the same first token."""
    tokenizer = train("bpe", [*TEXTS, "12 123 1234 42,000.5 x\n\ny ++ <<>> it's"] * 2, VOCABULARY)
    write_gguf(some_model(), tokenizer, tmp_path / "made.gguf", "f16", "model")
    with_pre(tmp_path / "made.gguf", tmp_path / "asked.gguf", name)
    server, ours = served(tmp_path / "asked.gguf"), gguf_tokenizer(GGUF(tmp_path / "asked.gguf"))
    for text in ("It's 12345 foxes,  don't!\n\n x", "42 1,234.5 $3 <b>a+b</b> \t\r\n", "e\u0301t é 漢字 🙂"):
        assert llama_ids(server, text) == ours.encode(text)
    assert (llama_ids(server, "fox", special=True) != llama_ids(server, "fox")) == ours.begins
