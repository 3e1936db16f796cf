"""Batches of two streams: shares, loss, and what replaying documents and mixing in conversations do to a model."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sayso.base.files import write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.chat import ChatBatches
from sayso.batch.mixed import SHORTEST_ROW, MixedBatches, second_size, trained_tokens, with_documents
from sayso.batch.shards import Shards, write_shards
from sayso.cli.main import run
from sayso.judge.held_out import held_out_bits
from sayso.loss.mixed import MixedLoss
from sayso.loss.next_token import batch_loss
from sayso.model import ModelConfig, Transformer
from sayso.token.load import load
from sayso.token.train import train
from sayso.weights.folder import load_model

CONFIG = ModelConfig(vocab_size=50, layers=1, width=32, heads=2, kv_heads=2, head_size=16, mlp_width=64, context=256)
LOSS = MixedLoss(batch_loss, ("own_loss", "replay_loss"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Documents of random ids, of many lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 90, (80,), generator=generator).tolist()
    documents = [torch.randint(50, (length,), generator=generator).tolist() for length in lengths]
    write_shards(folder := tmp_path_factory.mktemp("mixed") / "shards", documents, 50, tokenizer="test")
    return Shards.open(folder)


def chats(rows: int, context: int) -> ChatBatches:
    """Conversations of counting ids, half of them trained."""
    talks = [([*range(size)], [place * 2 > size for place in range(size)]) for size in range(6, 40)]
    return ChatBatches(talks, rows, context, seed=0)


def untrained() -> Transformer:
    """A model of random weights, whose output layers are not zero."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    for weight in model.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.parametrize(("share", "rows", "context"), [(0.25, 4, 512), (0.5, 4, 256), (0.75, 3, 256), (0.1, 4, 512)])
def test_documents_have_their_share_of_the_tokens(shards: Shards, share: float, rows: int, context: int) -> None:
    """Rows of documents fit the context, and are not so short that they would cut every document."""
    mixed = with_documents(chats(rows, 512), shards, share, context, 0, trained_tokens).batch(0)
    second = mixed.second.ids
    assert second.numel() / (second.numel() + mixed.first.ids.numel()) == pytest.approx(share, rel=0.05)
    assert SHORTEST_ROW <= second.shape[1] <= context


def test_the_loss_is_a_weighted_sum_of_two_means(shards: Shards) -> None:
    """Whatever the number of targets of each stream, the weights are those of the share."""
    model, share = untrained(), 0.3
    batch = with_documents(chats(2, 64), shards, share, 256, 0, trained_tokens).batch(3)
    with torch.no_grad():
        term, own, replay = LOSS(model, batch), batch_loss(model, batch.first), batch_loss(model, batch.second)
    means = float(own.loss) / own.items, float(replay.loss) / replay.items
    assert means[0] != pytest.approx(means[1], rel=0.01)
    assert float(term.loss) / term.items == pytest.approx(means[0] + share / (1 - share) * means[1], rel=1e-5)
    assert [float(term.figures[name].mean()) for name in LOSS.names] == pytest.approx(means, rel=1e-5)
    assert term.seen == batch.first.ids.numel() + batch.second.ids.numel()
    assert term.trained == own.items + replay.items


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_a_split_batch_has_the_loss_and_gradient_of_the_whole(shards: Shards, parts: int) -> None:
    """Some parts have no row of documents."""
    batch = with_documents(chats(4, 64), shards, 0.5, 256, 0, trained_tokens).batch(0)
    assert len(batch.second.ids) < 4
    sums, gradients = [], []
    for some in ([batch], batch.split(parts)):
        model = untrained()
        terms = [LOSS(model, part) for part in some]
        for term in terms:
            term.loss.backward()
        trained = [term.items if term.trained is None else term.trained for term in terms]
        counts = sum(term.items for term in terms), sum(term.seen for term in terms), sum(trained)
        sums.append([sum(float(term.loss.detach()) for term in terms), *counts])
        gradients.append([weight.grad for weight in model.parameters()])
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    for whole, split in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-4)


def test_a_batch_depends_on_the_step_alone(shards: Shards) -> None:
    """A batch is the same in whatever order batches are requested, and each step has its own documents."""
    mixed = with_documents(chats(4, 64), shards, 0.5, 256, 0, trained_tokens)
    first = [mixed.batch(step) for step in range(4)]
    for step in (3, 0, 2):
        assert torch.equal(mixed.batch(step).second.ids, first[step].second.ids)
        assert torch.equal(mixed.batch(step).ids, first[step].first.ids)
    assert not any(torch.equal(one.second.ids, other.second.ids) for one, other in pairwise(first))


def test_rows_of_conversations_are_added_to_those_of_documents() -> None:
    """With a share of a half there are as many; a small share has one row at least."""
    assert [second_size(8, share) for share in (0.01, 0.25, 0.5, 0.75)] == [1, 3, 8, 24]
    mixed = MixedBatches(chats(8, 64), chats(second_size(8, 0.25), 64), 0.25, trained_tokens).batch(0)
    assert (len(mixed.first.ids), len(mixed.second.ids)) == (8, 3)


TEXTS = ["The fox went to the hill and found two red apples. " * 3, "The owl sat in the wood and saw the moon. " * 4]
FLAGS = ["--rows", "4", "--device", "cpu", "--processes", "1"]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life with a base model that has read two texts, and conversations that have nothing to do with them."""
    life = Life(tmp_path_factory.mktemp("replay") / "life")
    rows = [{"text": text, "source": "test"} for text in TEXTS * 8]
    write_jsonl(life.data("text") / "train-00000.jsonl", rows)
    write_jsonl(life.data("text") / "val-00000.jsonl", rows[:2])
    write_json(life.data("text") / "manifest.json", {"sources": []})
    words = [f"{number}{number}" for number in range(40)]
    talks = [[{"role": "user", "content": word}, {"role": "assistant", "content": word * 3}] for word in words]
    write_jsonl(life.data("chat") / "train.jsonl", [{"messages": talk, "source": "numbers"} for talk in talks])
    train("bpe", TEXTS + words, 300).save(life.tokenizer)
    flags = ["--depth", "1", "--context", "64", "--steps", "60", *FLAGS]
    assert run(["pretrain", "--life", str(life.root), *flags]) == 0
    return life


def last(life: Life, run_name: str, event: str = "val") -> dict:
    """The last event of a kind in a run's log."""
    return [one for one in read_log(life.run(run_name) / "run.jsonl") if one["event"] == event][-1]


def bits(life: Life, model: str) -> float:
    """Bits per byte of a model on the text."""
    measure = held_out_bits(life.data("text"), load(life.tokenizer), 20_000)
    assert measure is not None
    return measure(load_model(life.model(model), "cpu")[0])["val_bpb_real"]


def test_replay_keeps_what_fine_tuning_would_forget(read: Life) -> None:
    """The same run without replay loses most of what was read; both losses and the held-out bits are logged."""
    flags = ["--life", str(read.root), "--steps", "30", "--row-tokens", "64", "--rate", "1", "--held-out", "4", *FLAGS]
    assert run(["finetune", "--name", "plain", *flags]) == 0
    assert run(["finetune", "--name", "kept", "--replay", "0.5", *flags]) == 0
    base, plain, kept = (bits(read, name) for name in ("base", "plain", "kept"))
    assert kept - base < 0.2 * (plain - base)
    assert {"own_loss", "replay_loss"} <= last(read, "finetune-kept", "step").keys()
    assert last(read, "finetune-kept")["val_bpb_real"] == pytest.approx(kept, abs=0.05)
    assert last(read, "finetune-kept")["held_out_loss"] < 1.5 * last(read, "finetune-plain")["held_out_loss"]


def test_alignment_replays_as_well(read: Life, tmp_path: Path) -> None:
    """The documents come on top of the pairs, and their bits are logged."""
    pairs = [{"prompt": f"{n}", "chosen": "yes", "rejected": "no"} for n in range(16)]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    flags = ["--life", str(read.root), "--parent", "base", "--pairs", str(tmp_path / "pairs.jsonl"), "--held-out", "4"]
    assert run(["align", *flags, "--epochs", "4", "--rate", "0.5", "--replay", "0.5", *FLAGS]) == 0
    step = last(read, "align-aligned", "step")
    assert {"own_loss", "replay_loss", "margin"} <= step.keys()
    assert last(read, "align-aligned")["val_bpb_real"] < bits(read, "base") + 0.3


def test_pretraining_reads_conversations(read: Life) -> None:
    """A base model that was trained on both learns to reply, and reads no fewer documents."""
    flags = ["--life", str(read.root), "--depth", "1", "--context", "64", "--steps", "60", *FLAGS]
    assert run(["pretrain", "--name", "both", "--conversations", "0.5", *flags]) == 0
    first, end = last(read, "pretrain-base", "step"), last(read, "pretrain-both", "step")
    assert end["tokens"] == 2 * first["tokens"]
    assert end["reply_loss"] < 1.0
    assert end["document_loss"] < first["loss"] + 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "--name", "x", "--mix", "numbers=0.5"], "--mix requires --conversations"),
        (["pretrain", "--name", "x", "--conversations", "0.5", "--mix", "none=0.5"], "--mix has no source 'none'"),
        (["pretrain", "--name", "x", "--conversations", "1"], "--conversations must be from 0 to 0.9"),
        (["finetune", "--name", "x", "--replay", "0.95"], "--replay must be from 0 to 0.9"),
    ],
)
def test_options_that_cannot_work_are_refused(
    read: Life, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says what is wrong."""
    assert run([words[0], "--life", str(read.root), *words[1:]]) == 2
    assert message in capsys.readouterr().err


def test_replay_needs_documents(read: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A life without prepared text says how to get some."""
    talks = tmp_path / "talks.jsonl"
    talks.write_text((read.data("chat") / "train.jsonl").read_text())
    words = ["--life", str(tmp_path / "new"), "--parent", str(read.model("base")), "--data", str(talks)]
    assert run(["finetune", *words, "--replay", "0.5", "--steps", "1", *FLAGS]) == 2
    assert "create it with: sayso prepare" in capsys.readouterr().err
