"""Evaluation and report: from the files of a tiny life to scores.json, report.json and report.html."""

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from sayso import world
from sayso.base.errors import UserError
from sayso.base.files import read_json, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import STAGES, Life
from sayso.base.log import RunLog, read_log
from sayso.cli.main import run
from sayso.judge.bits import bits_per_byte
from sayso.judge.held_out import held_out, training_texts
from sayso.model import ModelConfig, Transformer
from sayso.report.baselines import baseline_verdict
from sayso.report.draw import scale, smooth
from sayso.report.facts import TRAINED, curve, read_facts
from sayso.report.learning import learning
from sayso.report.lives import FIVE_LIVES, lives
from sayso.report.page import SECTIONS
from sayso.report.page import page as page_of
from sayso.report.run_status import status
from sayso.report.samples import samples
from sayso.run.compare import Compare, compare
from sayso.run.evaluate import Evaluate, evaluate
from sayso.run.report import Report, report
from sayso.token.train import train
from sayso.weights.folder import load_model, save_model

REAL = [f"The {a} river runs past the {b} town and into the sea." for a in ("old", "long", "grey") for b in "abcdefgh"]
VOID = {"meta", "br"}  # elements that have no end tag


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Return a tiny life: prepared text, a trained tokenizer, random models, logs of the acts, all stages evaluated."""
    life = Life(tmp_path_factory.mktemp("lives") / "tiny & small")
    write_text(life)
    texts = list(training_texts(life.data("text"), 0))
    tokenizer = train("bpe", texts, 400)
    tokenizer.save(life.tokenizer)
    shape = ModelConfig(tokenizer.vocab_size, 2, 16, 2, 1, 8, 32, context=256)
    for number, stage in enumerate(STAGES):
        torch.manual_seed(number)
        story: dict[str, Any] = {"stage": stage, "parent": None, "seed": 0, "data": ["text 12"]}
        story |= {"parent": STAGES[number - 1]} if number else {"config": {"conversations": 0.5}}
        model = Transformer(shape)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        save_model(model, tokenizer, life.model(stage), {**story, "metrics": {"steps": 3, "tokens": 96}})
        log = RunLog(life.run(f"{TRAINED[stage]}-{stage}") / "run.jsonl")
        log.write("start", act=TRAINED[stage])
        for step in (1, 2, 3):
            log.write("step", step=step, steps=3, loss=6.0 / step, lr=1.0, tokens=32 * step, seconds=step / 10)
        log.write("end", seconds=0.5, peak_memory_mb=100.0 + number)
        evaluate(Evaluate(life=life.root, model=stage, n=1, text_bytes=600))
    write_json(
        life.run("verify") / "scores.json",
        {
            "resume": {"identical": True, "killed_after": 5, "steps": 12},
            "export": {"max_logit_difference": 3e-6},
        },
    )
    report(Report(life=life.root))
    return life


def write_text(life: Life) -> None:
    """Write documents and a manifest of two sources, as prepare does."""
    for split, some in (("train", REAL[:18]), ("val", REAL[18:])):
        rows = [{"text": text, "source": "river"} for text in some]
        rows += [world.document(0, index, split) for index in range(12)]
        write_jsonl(life.data("text") / f"{split}-00000.jsonl", rows)
    for split in ("train", "test"):
        talks = [world.conversation(0, index, split) for index in range(3)]
        write_jsonl(life.data("chat") / f"{split}.jsonl", talks)
    kept = {"documents": 12, "bytes": 900}
    source = {
        "name": "smallworld",
        "licence": "Apache-2.0",
        "in": kept,
        "dropped": {"too_short": 2},
        "generated": True,
        "out": dict.fromkeys(("train", "val", "test"), kept),
    }
    totals = {"out": source["out"]}
    river = {**source, "name": "a/river.txt", "licence": "CC0", "generated": False}
    write_json(life.data("text") / "manifest.json", {"sources": [source, river], "totals": totals})


def test_evaluate_writes_the_bits_per_byte_of_the_held_out_documents(life: Life) -> None:
    """scores.json has the same value as `bits_per_byte` on the same documents."""
    scores = read_json(life.run("evaluate-tuned") / "scores.json")
    sample = held_out(life.data("text"), "val", 600)["real"]
    own = bits_per_byte(*load_model(life.model("tuned")), list(sample.texts))
    assert scores["bpb"]["real"]["mean"] == pytest.approx(own.mean, rel=1e-6)
    assert scores["bpb"]["real"]["bytes"] == sum(sample.sizes)
    assert set(scores["families"]) == set(world.FAMILIES)


def test_models_and_baselines_read_the_same_documents(life: Life) -> None:
    """The difference between a model and a baseline is that of their means, so it is over the same bytes."""
    baselines = read_json(life.run("baselines") / "scores.json")
    for stage in STAGES:
        bpb = read_json(life.run(f"evaluate-{stage}") / "scores.json")["bpb"]
        for kind in ("real", "smallworld"):
            for name in ("uniform", "unigram", "kn5"):
                expected = bpb[kind]["mean"] - baselines[name][kind]["bpb"]["mean"]
                assert bpb[kind]["above"][name]["mean"] == pytest.approx(expected, abs=1e-3)


def test_an_evaluated_model_is_not_evaluated_again(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """The same weights, text and questions are evaluated only once."""
    path = life.run("evaluate-base") / "scores.json"
    before = path.stat().st_mtime_ns
    capsys.readouterr()
    evaluate(Evaluate(life=life.root, model="base", n=1, text_bytes=600))
    assert path.stat().st_mtime_ns == before
    assert "already" in capsys.readouterr().out


def test_report_json_has_the_documented_keys(life: Life) -> None:
    """Every figure has a fixed name and the value that the acts wrote."""
    found = read_json(life.report_json)
    assert set(found) == {"pretrain", "finetune", "align", "baselines", "resume", "export", "acts", "lineage"}
    assert set(found["pretrain"]["val_bpb"]) == {"real", "smallworld"}
    assert set(found["baselines"]) == {"uniform", "unigram", "kn5", "xz"}
    assert set(found["baselines"]["xz"]) == {"real", "smallworld"}
    assert set(found["align"]["families"]["where"]) == {"mean", "se", "n"}
    scores = read_json(life.run("evaluate-aligned") / "scores.json")
    story = [scores["families"][family]["mean"] for family in world.STORY_FAMILIES]
    assert found["align"]["smallworld_accuracy"] == pytest.approx(sum(story) / len(story))
    assert found["resume"]["identical"] is True
    assert found["export"]["max_logit_difference"] == 3e-6
    assert found["acts"]["pretrain"] == {"seconds": 0.5, "peak_memory_mb": 100.0}
    assert [link["what"] for link in found["lineage"]] == ["data", "tokenizer", *STAGES]


class Page(HTMLParser):
    """Parser that records open tags, links and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an opening tag."""
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        assert tag not in ("script", "link", "img", "iframe")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore a self-closing tag."""

    def handle_endtag(self, tag: str) -> None:
        """Check that a closing tag matches the latest open one."""
        assert self.open.pop() == tag


def test_stages_are_compared_on_what_they_were_evaluated_on(life: Life) -> None:
    """Every family of small-world tasks and the held-out conversations, by the scores in their records."""
    found = compare(Compare(("base", "aligned"), life=life.root))["aligned"]["tasks"]
    assert {*found} == {*world.FAMILIES, "short replies"}
    base, aligned = (read_facts(life).scores[stage]["families"]["words"]["values"] for stage in ("base", "aligned"))
    assert found["words"]["difference"]["mean"] == pytest.approx(aligned[0] - base[0])


def test_the_page_is_standalone(life: Life) -> None:
    """Every section is present, every tag is closed, and nothing is loaded."""
    text = life.report.read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.links == []
    assert "url(" not in text
    assert "@import" not in text
    assert page.ids == [
        *(
            "baselines",
            "scores",
            "lives",
            "talks",
            "leaderboard",
            "samples",
            "learning",
            "inside",
            "tokenizers",
            "data",
            "lineage",
            "cost",
        ),
        "verification",
    ]
    assert "tiny &amp; small" in text


def test_figures_on_the_page_are_those_in_the_files(life: Life) -> None:
    """The page shows the bits per byte of each stage from scores.json."""
    text = life.report.read_text()
    for stage in STAGES:
        scores = read_json(life.run(f"evaluate-{stage}") / "scores.json")
        assert f"{scores['bpb']['real']['mean']:.3f}" in text


def test_replies_are_escaped(life: Life, tmp_path: Path) -> None:
    """A reply with a script element is shown as text."""
    facts = read_facts(life)
    scores = json.loads(json.dumps(facts.scores["aligned"]))
    scores["samples"][-1]["reply"] = "<script>alert(1)</script>\n\n& so"
    shown = samples(replace(facts, scores={"aligned": scores}))
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;<br>&amp; so" in shown


def test_the_report_of_an_empty_life_names_the_commands_to_run(tmp_path: Path) -> None:
    """Each section names its command, and report.json has no figures."""
    Life(tmp_path / "new").root.mkdir()
    found = report(Report(life=tmp_path / "new"))
    text = (tmp_path / "new" / "report.html").read_text()
    commands = {"evaluate", "pretrain", "tokenizer compare", "prepare", "demo", "verify"}
    assert commands <= set(re.findall(r"<code>sayso ([a-z ]+)</code>", text))
    assert found == {"acts": {}, "lineage": []}


def test_a_missing_life_is_a_user_error(tmp_path: Path) -> None:
    """The life's folder must exist."""
    with pytest.raises(UserError, match="no life"):
        report(Report(life=tmp_path / "nowhere"))


def test_the_verdict_on_baselines_depends_on_intervals(life: Life) -> None:
    """A win needs an interval below zero, a loss one above; an interval that includes zero is neither."""
    facts = read_facts(life)
    own = facts.scores["base"]["bpb"]["real"]
    gaps = {"uniform": (-1.0, -0.9), "unigram": (-0.2, 0.1), "kn5": (0.1, 0.3)}
    own["above"] = {name: {"mean": (low + high) / 2, "low": low, "high": high} for name, (low, high) in gaps.items()}
    facts.baselines["xz"]["real"]["bpb"]["mean"] = own["mean"] - 0.25
    verdict = baseline_verdict(facts, "base", "real")
    assert "it beats uniform guessing" in verdict
    assert "loses to the 5-gram model (by 0.20) and xz (by 0.25)" in verdict
    assert "does not differ significantly from the unigram model" in verdict


def test_a_resumed_run_counts_each_step_once(tmp_path: Path) -> None:
    """A repeated step has its latest value, and the times of both parts are added up."""
    life = Life(tmp_path)
    log = RunLog(life.run("pretrain-base") / "run.jsonl")
    log.write("start", act="pretrain")
    for step, loss in ((1, 5.0), (2, 4.0), (3, 9.9)):
        log.write("step", step=step, steps=4, loss=loss, lr=1.0, tokens=step, seconds=float(step))
    log.write("start", act="pretrain")
    for step, loss in ((3, 3.0), (4, 2.0)):
        log.write("step", step=step, steps=4, loss=loss, lr=1.0, tokens=step, seconds=float(step - 2))
    log.write("val", step=4, val_bpb=1.5)
    log.write("val", step=4, held_out_loss=0.7)
    log.write("val", step=2, val_bpb=2.0, induction=0.125)
    log.write("val", step=4, val_bpb=1.5, induction=0.75)
    log.write("end", seconds=2.5, peak_memory_mb=10.0)
    facts = read_facts(life)
    assert facts.curves["pretrain"].losses == (5.0, 4.0, 3.0, 2.0)
    assert facts.curves["pretrain"].held_out == ((2, 2.0), (4, 1.5))
    assert facts.curves["pretrain"].heads == ((2, 0.125), (4, 0.75))
    drawn = learning(facts)
    assert "0.12 at step 2, and 0.75 at the end" in drawn
    axis = drawn[drawn.index("Strongest induction head by step") :]
    assert ">0</i>" in axis
    assert ">1</i>" in axis
    assert facts.curves["pretrain"].replies == ((4, 0.7),)
    assert facts.acts[0].seconds == 5.5


def test_an_act_that_was_run_again_counts_once(tmp_path: Path) -> None:
    """The time of an act that was repeated after its end is that of the latest run."""
    log = RunLog(Life(tmp_path).run("evaluate-base") / "run.jsonl")
    for seconds in (30.0, 4.0):
        log.write("start", act="evaluate")
        log.write("end", seconds=seconds, peak_memory_mb=1.0)
    assert read_facts(Life(tmp_path)).acts[0].seconds == 4.0


def test_held_out_is_a_sample_by_content(tmp_path: Path) -> None:
    """The sample does not depend on the order of documents, has about the requested size, and separates the kinds."""
    rows = [
        {"text": f"Document number {i}, about {i * i}.", "source": ("wiki", "chat", "smallworld")[i % 3]}
        for i in range(90)
    ]
    write_jsonl(tmp_path / "a" / "val-00000.jsonl", rows)
    write_jsonl(tmp_path / "b" / "val-00000.jsonl", rows[::-1][:40])
    write_jsonl(tmp_path / "b" / "val-00001.jsonl", rows[::-1][40:])
    a, b = held_out(tmp_path / "a", "val", 500), held_out(tmp_path / "b", "val", 500)
    assert a == b
    assert set(a["real"].sources) == {"wiki", "chat"}
    assert 500 <= sum(a["real"].sizes) < 540
    assert a["smallworld"].digest() != a["real"].digest()


def test_training_text_above_the_limit_is_sampled(tmp_path: Path) -> None:
    """Above the limit the baselines are trained on a uniform sample, below it on all documents."""
    rows = [{"text": f"{i} " * 40, "source": "x"} for i in range(1000)]
    write_jsonl(tmp_path / "train-00000.jsonl", rows)
    total = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    assert len(list(training_texts(tmp_path, 0))) == len(list(training_texts(tmp_path, total))) == 1000
    assert 200 < len(list(training_texts(tmp_path, total // 4))) < 300


@pytest.mark.parametrize(("field", "value"), [("n", -1), ("text_bytes", 0), ("split", "train")])
def test_invalid_options_are_refused(life: Life, field: str, value: object) -> None:
    """The error names the option."""
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')}"):
        evaluate(replace(Evaluate(life=life.root), **{field: value}))


def test_axes_have_round_numbers() -> None:
    """An axis covers its data, with ticks at multiples of 1, 2, 2.5 or 5 times a power of ten."""
    found = scale(0.31, 7.62)
    assert (found.low, found.high, found.ticks) == (0, 8, (0, 2, 4, 6, 8))
    assert scale(1.0, 1.0).at(1.0) == 50
    assert found.at(4) == 50


def test_smoothing_has_no_bias_at_the_start() -> None:
    """A constant is unchanged from the first value on; a step is followed slowly."""
    assert smooth([3.0] * 5, 10) == pytest.approx([3.0] * 5)
    risen = smooth([0.0] * 50 + [1.0] * 10, 10)
    assert 0.3 < risen[-1] < 1


def test_a_reinforcement_run_is_reported(life: Life, tmp_path: Path) -> None:
    """Metrics get charts, warnings a sentence and replies a table; markup in them is escaped."""
    copy = reinforced(life, tmp_path)
    report(Report(life=copy.root))
    page = (copy.root / "report.html").read_text()
    part = page.split('id="alignment"')[1].split("</section>")[0]
    titles = re.findall(r"<h4>(.*?)</h4>", part)
    kl, no_signal = "KL to the reference, nats per reply", "groups with equal rewards"
    assert titles == ["score on held-out prompts", "reward", kl, no_signal, "reward right"]
    assert "Reinforcement: aligned" in part
    assert "The KL runs &lt;away&gt;." in part
    assert "&lt;b&gt;2+2=&lt;/b&gt;" in part
    assert part.index("<th>step 0") < part.index("<th>step 3")
    shown = status("reinforce-aligned", read_log(copy.run("reinforce-aligned") / "run.jsonl")).plain
    assert "reward 0.6667, kl 0.5" in shown
    assert 'id="alignment"' not in (life.root / "report.html").read_text()


def reinforced(life: Life, folder: Path) -> Life:
    """Return a copy of a life with a run of reinforcement."""
    shutil.copytree(life.root, folder / "life")
    copy = Life(folder / "life")
    log = RunLog(copy.run("reinforce-aligned") / "run.jsonl")
    log.write("start", act="reinforce")
    row = {"prompt": "<b>2+2=</b>", "reply": "5", "tokens": 2, "ended": False, "score": 0.0}
    log.write("samples", step=0, rows=[row])
    for step in (1, 2, 3):
        common = {"loss": 0.1, "lr": 1.0, "gradient_norm": 0.2, "tokens": 9, "tokens_per_second": 90, "seconds": 0.1}
        log.write(
            "iteration", step=step - 1, iteration=step - 1, no_signal=0.25, reward_right=0.5, sampling_seconds=9.0
        )
        log.write("step", step=step, steps=3, **common, reward=step / 3, kl=0.5, entropy=math.nan)
    log.write("val", step=3, score=0.75, held_out_interval=math.nan)
    log.write("warning", step=3, problem="The KL runs <away>.")
    log.write("samples", step=3, rows=[{**row, "reply": "4", "ended": True, "score": 1.0}])
    log.write("end", seconds=0.5, peak_memory_mb=100.0)
    return copy


def test_the_report_is_accessible(
    life: Life, tmp_path: Path, browser: Any, accessibility_faults: Callable[[Any], list[str]]
) -> None:
    """axe-core finds no fault, and labels fit: with all sections or none, on a screen, on a phone in dark, in print."""
    complete, empty = reinforced(life, tmp_path), Life(tmp_path / "empty")
    assert run(["tokenizer", "compare", "--life", str(complete.root), "--vocab-size", "300"]) == 0
    towns = [
        {"title": f"{a}{b}", "text": f"{a}{b} is a town in Peru."} for a in ("Bel", "Kar") for b in ("ona", "ivar")
    ]
    write_jsonl(tmp_path / "towns.jsonl", towns)
    about = ["--suite", "knowledge", "--data", str(tmp_path / "towns.jsonl"), "--samples", "2", "--device", "cpu"]
    assert run(["evaluate", "tuned", "--life", str(complete.root), *about]) == 0
    empty.root.mkdir()
    for each in (complete, empty):
        report(Report(life=each.root))
    names = set(re.findall(r'<section id="(\w+)"', complete.report.read_text()))
    assert names == {section.__name__ for section in SECTIONS}
    page = browser.new_context().new_page()
    views = [
        (complete, 1100, "light", "screen"),
        (complete, 390, "dark", "screen"),
        (complete, 800, "light", "print"),
        (empty, 390, "light", "screen"),
    ]
    faults = set()
    for each, width, scheme, medium in views:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(media=medium, color_scheme=scheme)
        page.goto(each.report.as_uri())
        wide = page.evaluate(
            "[...document.querySelectorAll('.baseline .who')].filter(one => one.scrollWidth > one.clientWidth)"
            ".map(one => one.textContent + ' touches its bar')"
        )
        faults |= {f"{scheme}, {width} wide, {medium}: {fault}" for fault in [*wide, *accessibility_faults(page)]}
    page.context.close()
    assert not faults, "\n".join(sorted(faults))


@pytest.mark.parametrize(
    ("keys", "losses", "held_out"),
    [
        ({}, (5.0, 5.0), ((2, 1.5),)),
        ({"document_loss": 3.0, "reply_loss": 2.0}, (3.0, 3.0), ((2, 1.5),)),
        ({"own_loss": 2.0, "replay_loss": 3.0}, (2.0, 2.0), ()),
    ],
)
def test_the_curve_of_a_run_on_two_kinds_of_data_is_that_of_its_own(
    tmp_path: Path, keys: dict[str, float], losses: tuple[float, ...], held_out: tuple[tuple[int, float], ...]
) -> None:
    """The sum of both losses has no unit; bits of replayed documents are not on the scale of the replies' loss."""
    steps = [{"event": "step", "step": step, "loss": 5.0, "tokens": 10 * step, **keys} for step in (1, 2)]
    write_jsonl(tmp_path / "run.jsonl", [*steps, {"event": "val", "step": 2, "val_bpb": 1.5}])
    found = curve(tmp_path / "run.jsonl")
    assert found is not None
    assert (found.losses, found.held_out, found.tokens) == (losses, held_out, 20)


def test_five_measured_lives_stand_beside_a_demo(life: Life) -> None:
    """All five, this life's own scores, and nothing for a life that is not a demo's."""
    facts = read_facts(life)
    shown = lives(facts)
    assert shown.count('class="dot five"') == 20
    assert "94–96" in shown
    values = facts.scores["aligned"]["families"]["self"]["values"]
    assert f'<span class="n">{sum(values) * 100 / len(values):.0f}<small>' in shown.split(">self<")[1]
    assert lives(replace(facts, scores={"base": facts.scores["base"]})) == ""
    assert lives(replace(facts, models={**facts.models, "base": {**facts.models["base"], "config": {}}})) == ""


PLACES = """(rows) => rows.map((row) => {
    const middle = (node) => {
        const at = node.getBoundingClientRect();
        return [(at.left + at.right) / 2, (at.top + at.bottom) / 2];
    };
    const { left, right } = row.querySelector(".whs").getBoundingClientRect();
    const five = [...row.querySelectorAll(".five")].map(middle);
    return { left, right, five, own: middle(row.querySelector(".wh .dot")) };
})"""


@pytest.mark.parametrize("width", [1100, 390])
def test_the_marks_of_five_lives_stand_on_the_scale(life: Life, tmp_path: Path, browser: Any, width: int) -> None:
    """Where their numbers are between 0 and 100 %, at the height of this life's dot, on a phone too."""
    (tmp_path / "report.html").write_text(page_of(read_facts(life)), encoding="utf-8")
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto((tmp_path / "report.html").as_uri())
    rows = page.locator("#lives .row:not(.top)").evaluate_all(PLACES)
    assert len(rows) == len(FIVE_LIVES)
    for row, values in zip(rows, FIVE_LIVES.values(), strict=True):
        left, right = row["left"], row["right"]
        assert right - left > 200
        expected = [pytest.approx([left + value * (right - left), row["own"][1]], abs=1.5) for value in values]
        assert row["five"] == expected


def test_the_five_lives_of_the_report_are_those_that_were_measured() -> None:
    path = Path(__file__).parents[1] / "bench" / "RESULTS.md"
    table = path.read_text(encoding="utf-8").split("## Lives of the demo")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 5
    found = [(float(row[1].split(",")[2]), *(float(row[n]) for n in (3, 4, 5))) for row in rows]
    assert [*zip(*FIVE_LIVES.values(), strict=True)] == found
