"""The act `align`: every loss, its references, its held-out data, and its errors."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sayso.align.pairs.preference import Preference, both_sides, term_of
from sayso.align.pairs.reference import Cached, Frozen, load_tables, reply_kl, save_tables, table_of
from sayso.align.pairs.sources import HELD_OUT, comparisons, hold_out_pairs, read_comparisons, write_comparisons
from sayso.base.errors import UserError
from sayso.base.files import read_json, sha256
from sayso.base.hold_out import HoldOut
from sayso.base.jsonl import BadRows, read_jsonl, write_jsonl
from sayso.base.life import Life
from sayso.base.log import read_log
from sayso.batch.batch import Batch
from sayso.batch.pairs import PairBatches
from sayso.batch.ratings import RatingBatch, RatingBatches
from sayso.cli.main import run
from sayso.loss.next_token import IGNORE
from sayso.model import ModelConfig, Transformer
from sayso.token.train import train as train_tokenizer
from sayso.weights.folder import save_model

CONFIG = ModelConfig(vocab_size=300, layers=1, width=16, heads=2, kv_heads=1, head_size=8, mlp_width=24, context=64)
PAIRS = [([1, 2, 3], [4, 5], [6]), ([7], [8, 9, 10, 11], [12]), ([13, 14], [15], [16, 17, 18])]
RATINGS = [([1, 2, 3], [4, 5], True), ([1, 2, 3], [6], False), ([7], [8, 9], True), ([7], [10] * 5, False)]
LOSSES = ("dpo", "ipo", "kto", "orpo", "simpo")
WORDS = [f"{first}{last}" for first in ("red", "blue", "grey", "pale") for last in ("fox", "hen", "cat", "dog", "owl")]


def model(seed: int) -> Transformer:
    """Random weights, none of them zero."""
    made = Transformer(CONFIG).initialize(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return made


def batches(loss: str, rows: int = 4) -> PairBatches | RatingBatches:
    """Return batches of the comparisons above, of the kind that a loss needs."""
    return RatingBatches(RATINGS, rows, 64, 0) if loss == "kto" else PairBatches(PAIRS, rows, 64, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_changes_nothing(loss: str) -> None:
    """Rows with more padding have the same loss and metrics."""
    made, term = batches(loss).batch(0), term_of(Preference(loss, 0.3, nll=0.5), Frozen(model(1)))
    width = 8  # of the longest row

    def cut(batch: Batch) -> Batch:
        kept = {name: getattr(batch, name)[:, :width] for name in ("ids", "targets", "documents")}
        rated = {"good": batch.good, "others": cut(batch.others)} if isinstance(batch, RatingBatch) else {}
        return type(batch)(**kept, **rated)

    wide, narrow = term(model(2), made), term(model(2), cut(made))
    assert made.ids.shape[1] > width
    assert wide.loss.item() == pytest.approx(narrow.loss.item(), rel=1e-6)
    for name, figure in wide.figures.items():
        assert torch.allclose(figure, narrow.figures[name], atol=1e-5), name


@pytest.mark.parametrize("loss", LOSSES)
def test_a_policy_that_is_its_reference_has_no_margins(loss: str) -> None:
    """For losses with a reference, rewards are 0 and the accuracy is one half."""
    term = term_of(Preference(loss, 0.3), Frozen(model(2)))(model(2), batches(loss).batch(0))
    if loss in ("orpo", "simpo"):
        assert term.figures["chosen_reward"].abs().min() > 0
    else:
        assert term.figures["chosen_reward"].abs().max() == 0
        assert term.figures["accuracy"].tolist() == [0.5] * term.items


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_cached_reference_equals_the_model_that_it_was_computed_with(loss: str) -> None:
    """For shuffled batches, the loss is that of the frozen copy."""
    made, frozen = batches(loss, rows=2), model(1)
    cached = Cached(table_of(frozen, map(both_sides, made.in_order())))
    preference = Preference(loss, 0.3)
    for step in range(3):
        batch = made.batch(step)
        found = [term_of(preference, reference)(model(2), batch).loss.item() for reference in (cached, Frozen(frozen))]
        assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_pairs_trained_tokens_are_those_of_both_replies() -> None:
    """The divisor of the loss is the number of pairs; trained tokens are counted separately."""
    batch, term = batches("dpo", rows=3).batch(0), term_of(Preference("simpo", 0.3), None)
    tokens = sum(len(reply) for _, *both in PAIRS for reply in both)
    assert (term(model(2), batch).items, term(model(2), batch).trained) == (3, tokens)
    assert sum(term(model(2), part).trained or 0 for part in batch.split(3)) == tokens


def test_a_table_of_other_inputs_is_refused(tmp_path: Path) -> None:
    """The error for other weights or comparisons has the hashes and the fix."""
    path, marks = tmp_path / "reference.safetensors", {"weights": "a" * 64, "comparisons": "b" * 64}
    save_tables(path, {"train": torch.zeros(3, 2)}, marks)
    assert load_tables(path, marks)["train"].shape == (3, 2)
    for name in marks:
        with pytest.raises(UserError, match=rf"other {name} \((a|b){{12}} then, c{{12}} now\).*remove the file"):
            load_tables(path, {**marks, name: "c" * 64})


@torch.no_grad()
def test_the_kl_of_replies_is_the_sum_over_the_vocabulary() -> None:
    """Equal to the formula with softmaxes at each position of a reply; 0 for the policy itself."""
    policy, reference = model(1).double(), model(2).double()
    replies = [([1, 2, 3], [4, 5]), ([7], [8])]
    total = 0.0
    for prompt, reply in replies:
        ids = torch.tensor([prompt + reply])
        p, r = (one(ids)[0].softmax(-1) for one in (policy, reference))
        for t in range(len(prompt) - 1, len(prompt) + len(reply) - 1):
            total += float((p[t] * (p[t] / r[t]).log()).sum())
    assert reply_kl(policy, Frozen(reference), replies) == pytest.approx(total / 2, rel=1e-5)
    assert reply_kl(policy, Frozen(policy), replies) == 0


def test_mismatched_replies_are_to_other_prompts_and_fit() -> None:
    """The mismatched reply answers another prompt; each part of a batch has those of all rows."""
    made = RatingBatches(RATINGS, 4, 7, 0)
    assert made.mismatched == [2, 2, 0, 0]
    batch = made.batch(0)
    parts = batch.split(3)
    assert all(isinstance(part, RatingBatch) and part.others is batch.others for part in parts)
    assert torch.equal(torch.cat([part.good for part in parts]), batch.good)
    for row, other in zip(batch.documents[:, 0].tolist(), batch.others.targets, strict=True):
        assert other[other != IGNORE].tolist() == RATINGS[made.mismatched[row]][1]


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([], "got 0 good and 0 bad"),
        ([([1], [2], True), ([3], [4], True)], "got 2 good and 0 bad"),
        ([([1], [2], True), ([1], [4], False)], "no such reply fits after the prompt of rating 0"),
        ([([1], [2], True), ([1], [], False)], "rating 1 has an empty one"),
        ([([1], [2] * 70, True), ([2], [3], False)], "rating 0 has 71"),
    ],
)
def test_invalid_ratings_are_refused(ratings: list, message: str) -> None:
    """Ratings of one kind, of one prompt, with an empty part, or too long."""
    with pytest.raises(UserError, match=message):
        RatingBatches(ratings, 2, 64, 0)


def test_held_out_pairs_share_no_prompt_with_training_pairs() -> None:
    """By default a sixteenth of the prompts, none of few, and only ratings of both kinds."""
    rows = [
        {"prompt": [{"role": "user", "content": str(n // 2)}], "chosen": "a", "rejected": str(n)} for n in range(400)
    ]
    train, held = hold_out_pairs(rows, HELD_OUT)
    assert len({row["prompt"][0]["content"] for row in held}) == 12
    assert len(held) == 24
    assert {row["prompt"][0]["content"] for row in train}.isdisjoint(row["prompt"][0]["content"] for row in held)
    assert hold_out_pairs(rows[:200], HELD_OUT) == (rows[:200], [])
    assert len(hold_out_pairs(rows, HoldOut(3))[1]) == 6
    good = [{"prompt": row["prompt"], "reply": "a", "good": True} for row in rows]
    assert hold_out_pairs(good, HELD_OUT) == (good, [])
    with pytest.raises(UserError, match=r"--held-out .* got 200, and there are 200 different prompts"):
        hold_out_pairs(rows, HoldOut(200))


def test_a_run_reads_the_comparisons_that_it_wrote_last(tmp_path: Path) -> None:
    """Files that a killed run left are not read by the next one."""
    pairs = [{"prompt": [], "chosen": "a", "rejected": "b"}], [{"prompt": [], "chosen": "c", "rejected": "d"}]
    ratings = [{"prompt": [], "reply": "a", "good": True}], [{"prompt": [], "reply": "b", "good": False}]
    for parts in (ratings, pairs, ratings):
        write_comparisons(tmp_path, parts)
        assert read_comparisons(tmp_path) == parts


@pytest.fixture(scope="module")
def parent_life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with a model of random weights, and a file of pairs in it."""
    life = Life(tmp_path_factory.mktemp("align") / "life")
    pairs = [{"prompt": f"What is {word}?", "chosen": f"It is {word}.", "rejected": "No."} for word in WORDS]
    write_jsonl(life.root / "pairs.jsonl", pairs)
    tokenizer = train_tokenizer("bpe", [pair["prompt"] + pair["chosen"] for pair in pairs] * 3, 300)
    config = ModelConfig(**{**vars(CONFIG), "vocab_size": tokenizer.vocab_size})
    save_model(Transformer(config).initialize(torch.Generator()), tokenizer, life.model("tuned"), {"stage": "tuned"})
    return life.root


def aligned(root: Path, *flags: str) -> int:
    """Align on the file of pairs, for a few steps."""
    held = [] if "--held-out" in flags else ["--held-out", "4"]
    given = ["--life", str(root), "--pairs", str(root / "pairs.jsonl"), "--rows", "4", "--rate", "1", "--device", "cpu"]
    return run(["align", *given, *held, "--processes", "1", *flags])


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns_and_keeps_the_best_weights(parent_life: Path, tmp_path: Path, loss: str) -> None:
    """The held-out loss falls; metrics and samples are logged; the weights of the best evaluation are kept."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path / "life")))
    assert aligned(life.root, "--loss", loss, "--epochs", "3") == 0
    log = read_log(life.run("align-aligned") / "run.jsonl")
    judged = {event["step"]: event for event in log if event["event"] == "val"}
    best = read_json(life.run("align-aligned") / "best" / "best.json")
    assert min(judged) == 0
    assert best["value"] == max(event["held_out_accuracy"] for event in judged.values())
    assert best["value"] > 0.5
    assert min(event["held_out_loss"] for event in judged.values()) < judged[0]["held_out_loss"]
    assert {"length", "ended", "held_out_accuracy"} <= judged[0].keys()
    assert ("kl" in judged[0]) == (loss in ("dpo", "ipo", "kto"))
    steps = [event for event in log if event["event"] == "step"]
    names = {"chosen_reward", "rejected_reward", "accuracy", "chosen_logprob", "rejected_logprob"}
    assert all(names <= set().union(*pair) for pair in pairwise(steps))  # a batch may have only bad ratings
    assert all(0 < event["mfu"] < 1 for event in steps)
    assert [event["step"] for event in log if event["event"] == "samples"][:1] == [0]
    lineage = read_json(life.model("aligned") / "sayso.json")
    assert lineage["config"]["preference"]["loss"] == loss


def test_a_cached_reference_yields_the_same_losses_as_a_copy(parent_life: Path, tmp_path: Path) -> None:
    """Up to rounding; a resumed run refuses the table of another model."""
    losses = []
    for number, reference in enumerate(("copy", "cache")):
        life = Life(Path(shutil.copytree(parent_life, tmp_path / str(number))))
        assert aligned(life.root, "--reference", reference) == 0
        losses.append(
            [event["loss"] for event in read_log(life.run("align-aligned") / "run.jsonl") if event["event"] == "step"]
        )
    assert losses[0] == pytest.approx(losses[1], abs=2e-5)
    folder = life.run("align-aligned")
    tables = load_tables(
        folder / "reference.safetensors", {"weights": sha256(life.model("tuned") / "model.safetensors")}
    )
    save_tables(folder / "reference.safetensors", tables, {"weights": "0" * 64, "comparisons": "0" * 64})
    shutil.rmtree(life.model("aligned"))
    assert aligned(life.root, "--reference", "cache") == 2


def test_kto_trains_on_single_ratings_of_a_file(parent_life: Path, tmp_path: Path, capsys) -> None:
    """Other losses refuse them; by default both classes are balanced."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path / "life")))
    rows = [{"prompt": f"What is {word}?", "reply": "Yes.", "good": n % 3 == 0} for n, word in enumerate(WORDS)]
    write_jsonl(life.root / "pairs.jsonl", rows)
    assert aligned(life.root) == 2
    assert "which require --loss kto" in capsys.readouterr().err
    assert aligned(life.root, "--loss", "kto") == 0
    train = list(read_jsonl(life.run("align-aligned") / "ratings.jsonl"))
    held = list(read_jsonl(life.run("align-aligned") / "held_out.jsonl"))
    assert len(train) + len(held) == len(rows)
    good = sum(row["good"] for row in train)
    weight = read_json(life.model("aligned") / "sayso.json")["config"]["preference"]["good_weight"]
    assert weight == pytest.approx((len(train) - good) / good)


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_file_may_be_held_out(parent_life: Path, tmp_path: Path, loss: str) -> None:
    """Its pairs, or for KTO their replies as ratings, are held out; none of its prompts is trained on."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path / "life")))
    rows = list(read_jsonl(life.root / "pairs.jsonl"))
    write_jsonl(tmp_path / "held.jsonl", rows[:3])
    assert aligned(life.root, "--loss", loss, "--held-out", str(tmp_path / "held.jsonl")) == 0
    ran = life.run("align-aligned")
    train = list(read_jsonl(ran / ("pairs.jsonl" if loss == "dpo" else "ratings.jsonl")))
    held = list(read_jsonl(ran / "held_out.jsonl"))
    assert [len(train), len(held)] == [(len(rows) - 3) * (1 + (loss == "kto")), 3 * (1 + (loss == "kto"))]
    assert not {str(row["prompt"]) for row in train} & {str(row["prompt"]) for row in held}


def test_a_file_of_all_prompts_leaves_nothing_to_train_on(
    parent_life: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an error."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path / "life")))
    assert aligned(life.root, "--held-out", str(life.root / "pairs.jsonl")) == 2
    assert "contains all prompts" in capsys.readouterr().err


def test_kto_uses_ratings_and_pairs_of_feedback(tmp_path: Path) -> None:
    """Ratings and both replies of pairs are deduplicated, then repeated by the weight; a file's rows are not."""
    prompt = [{"role": "user", "content": "What is red?"}]
    pair = {"prompt": prompt, "chosen": "A color.", "rejected": "No.", "source": "feedback"}
    thumb = {"prompt": prompt, "reply": "No.", "good": False, "source": "feedback"}
    write_jsonl(tmp_path / "pairs.jsonl", [pair])
    write_jsonl(tmp_path / "ratings.jsonl", [thumb, {**thumb, "reply": "Ugh."}])
    write_jsonl(tmp_path / "mine.jsonl", [{"prompt": "Why?", "reply": "So.", "good": True}])
    found = comparisons(tmp_path / "mine.jsonl", tmp_path, 2, list, BadRows(), ratings=True)
    assert [(row["reply"], row["good"]) for row in found] == [
        *[("No.", False)] * 2, *[("Ugh.", False)] * 2, *[("A color.", True)] * 2, ("So.", True)
    ]  # fmt: skip
    assert comparisons(None, tmp_path, 2, lambda: [pair], BadRows(), ratings=False) == [pair] * 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--loss", "dppo"], 'Did you mean "dpo"?'),
        (["--beta", "0"], "--beta must be above 0; got 0"),
        (["--margin", "1"], "--margin requires --loss simpo; got --loss dpo"),
        (["--loss", "simpo", "--reference", "cache"], "simpo does not need"),
        (["--lora-rank", "2", "--reference", "cache"], "LoRA does not need"),
        (["--robust"], "--robust requires --smoothing"),
        (["--smoothing", "0.5"], "below 0.5; got 0.5"),
        (["--held-out", "99"], "got 99, and there are 20 different prompts"),
    ],
)
def test_conflicting_options_are_refused(
    parent_life: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list, message: str
) -> None:
    """No model is written."""
    life = Life(Path(shutil.copytree(parent_life, tmp_path / "life")))
    assert aligned(life.root, *flags) != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert not life.model("aligned").exists()
