"""Predict before training: how far the loss of a run is from what small runs said, before it began.

    make bench NAME=law_predict TEXT="train.jsonl val.jsonl --minutes 30"

On a text (rows with "text", or plain text; without a held-out file, its last tenth is held out), a sweep of small
models is trained, as `sayso law sweep` does, for each of three seeds of weights, order and resamples. A law is fitted,
the prediction for a run with 3 times the compute of the largest is written and its hash logged, and that run is
trained. `ours` is the largest relative error of the seeds, `peer` the bar, 0.015: less is better. In `details`: the
same from one schedule and one batch size for all horizons of a size, and the error of the mean of the seeds.

`--minutes` is the time for one seed. With `--work FOLDER`, all runs are kept there, and the same command resumes; one
with other minutes or another text is refused.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.harness import parser, result, save_picture, say, sized
from sayso import world
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import write_jsonl
from sayso.base.life import Life
from sayso.law.sweep import SweepPlan
from sayso.law.sweep_training import SweepText
from sayso.run.law_sweep import Sweep, Swept, carry_out, make_plan, sweep_text
from sayso.token.train import train as train_tokenizer

BAR = 0.015
ASKED = "asked.json"
VOCABULARY, TOKENIZER_BYTES, DOCUMENT = sized((1024, 4_000_000, 16_000), (300, 20_000, 1_000))
IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    """Sweep for each seed, and print the figures."""
    arguments = parser("law_predict", __doc__)
    arguments.add_argument("text", type=Path, nargs=sized(None, "?"), help="JSON Lines or plain text to train on")
    arguments.add_argument("held", type=Path, nargs="?", help="text to measure losses on; default: a tenth of the text")
    arguments.add_argument("--minutes", type=float, default=sized(30.0, 0.5), help="time for the runs of one seed")
    arguments.add_argument("--seeds", type=int, default=sized(3, 1))
    arguments.add_argument("--work", type=Path, help="folder to keep the runs in, and to resume from")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = given.work or Path(name)
        asked = {"minutes": given.minutes, **{name: hash_of(getattr(given, name)) for name in ("text", "held")}}
        check_asked(work, asked)
        life = prepare(given.text, given.held, work / "text")
        write_json(work / ASKED, asked)
        found = measure(life, work, given.minutes, given.seeds)
    errors = {seed: one.error for seed, one in found.items()}
    naive = {seed: one.naive.error(one.target.loss) for seed, one in found.items() if one.naive is not None}
    run, factor = found[0].target.run, found[0].target.run.compute / max(one.run.compute for one in found[0].runs)
    result(
        "law_predict", "largest relative error of the predicted loss", max(map(abs, errors.values())), BAR,
        errors=errors, one_schedule=naive, largest_with_one_schedule=max(map(abs, naive.values()), default=None),
        predicted={seed: [one.forecast.low, one.forecast.loss, one.forecast.high] for seed, one in found.items()},
        measured={seed: one.target.loss for seed, one in found.items()},
        error_of_the_means=statistics.fmean(one.forecast.loss for one in found.values())
        / statistics.fmean(one.target.loss for one in found.values()) - 1,
        laws={seed: one.forecast.law for seed, one in found.items()}, runs=len(found[0].runs), factor=factor,
        parameters=run.parameters, tokens=run.tokens, steps=run.steps, held_tokens=found[0].target.scores.tokens,
        sha256={seed: one.digest for seed, one in found.items()}, minutes_of_a_seed=given.minutes,
        vocabulary=VOCABULARY,
    )  # fmt: skip


def measure(life: Life, work: Path, minutes: float, seeds: int) -> dict[int, Swept]:
    """Return the sweep of each seed; all have the same plan, from the speed that is measured once."""
    options = Sweep(minutes=minutes, life=life.root, context=sized(256, 16), held_bytes=sized(200_000, 300))
    text = sweep_text(options)
    plan = stored_plan(options, work / "plan.json", text)
    found = {}
    for seed in range(seeds):
        place = work / f"seed-{seed}"
        one = found[seed] = carry_out(
            Sweep(minutes=minutes, life=place, context=options.context, seed=seed, resamples=sized(100, 2)), plan, text
        )
        say(f"seed {seed}: predicted {one.forecast.loss:.4f}, measured {one.target.loss:.4f}: {one.error:+.2%}")
    for name in ("sweep", "emergence"):
        save_picture(IMAGES / f"law-{name}.svg", (work / "seed-0/runs/law-sweep" / f"{name}.svg").read_text())
    return found


def hash_of(text: Path | None) -> str | None:
    """Return the SHA-256 of a file, if one is given."""
    return None if text is None else sha256(text)


def check_asked(work: Path, asked: Mapping[str, float | str | None]) -> None:
    """Exit if an earlier command asked for something else in the same folder."""
    if not (work / ASKED).exists():
        if (work / "plan.json").exists():
            raise SystemExit(f"'{work}' holds a sweep that does not say what it was asked for; give another --work.")
        return
    earlier = read_object(work / ASKED, *asked)
    if other := [name for name, value in asked.items() if earlier[name] != value]:
        names = " and ".join(other)
        raise SystemExit(f"'{work}' holds a sweep of other {names}: repeat those, or give another --work.")


def stored_plan(options: Sweep, path: Path, text: SweepText) -> SweepPlan:
    """Return the plan of an earlier command in the same folder, or a new one."""
    if not path.exists():
        tiny = sized({}, {"speed": lambda shape: shape.matmul_parameters * 3e-9, "shortest": 1})
        write_json(path, make_plan(options, text, **tiny).as_dict())
    return SweepPlan.from_dict(read_object(path, "runs", "target"))


def prepare(text: Path | None, held: Path | None, folder: Path) -> Life:
    """Return a life with documents and a tokenizer trained on some of them; one from an earlier command is kept."""
    life = Life(folder)
    if life.tokenizer.exists():
        return life
    documents = list(pieces(text))
    val = list(pieces(held)) if held else documents[-max(1, len(documents) // 10) :]
    kept = documents if held else documents[: len(documents) - len(val)]
    for split, some in (("train", kept), ("val", val)):
        rows = ({"text": one, "source": "bench"} for one in some)
        write_jsonl(life.data("text") / f"{split}-00000.jsonl", rows)
    step = max(1, sum(map(len, kept)) // TOKENIZER_BYTES)
    train_tokenizer("bpe", kept[::step], VOCABULARY).save(life.tokenizer)
    return life


def pieces(path: Path | None) -> Iterator[str]:
    """Yield a file's documents in pieces of at most `DOCUMENT` characters; without a file, small-world stories."""
    if path is None:
        whole = [world.story(0, index, "train") for index in range(60)]
    elif path.suffix == ".jsonl":
        whole = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").split("\n") if line]
    else:
        whole = [path.read_text(encoding="utf-8")]
    for one in whole:
        yield from (one[at : at + DOCUMENT] for at in range(0, len(one), DOCUMENT))


if __name__ == "__main__":
    main()
