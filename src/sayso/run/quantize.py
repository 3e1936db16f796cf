"""Act: a model of the life in whole numbers of 8 or 4 bits.

A plain model enters, and text to calibrate on where the method asks for it; `models/NAME` leaves, which every act that
lets a model talk opens, and a table of what it costs: size, speed, perplexity, tasks.
"""

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import Tensor

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import STAGES, Life
from sayso.base.lock import locked
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_apart, work_in
from sayso.base.ranges import Positive, Questions, Range, Share
from sayso.judge.calibration import Texts, rows_of, texts_of
from sayso.judge.cost import measure_cost, show_costs
from sayso.run.results import Written
from sayso.text.rows import ReadsRows
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import load_model, save_model
from sayso.weights.models import called, is_made, newest_model
from sayso.weights.quantize.integers import Grid
from sayso.weights.quantize.quantize import Method, quantize_model
from sayso.weights.quantize.scheme import Scheme
from sayso.weights.tensors import weights_file

GROUP = 64
OUTLIERS = 0.03
JUDGED_BYTES = 65_536


@dataclass(frozen=True)
class Quantize(ReadsRows):
    """Options of `sayso quantize`."""

    model: str = "aligned"
    """A model of the life or the path of a model folder; without an aligned one the newest earlier stage."""
    _: KW_ONLY
    bits: Literal[8, 4] = 8
    """Bits of a weight of a block."""
    inputs: Literal[8] | None = None
    """Bits of what the weights are multiplied with, scaled anew for each token; left as they are when not given."""
    head: Literal[8, 0] = 8
    """Bits of embedding and head; 0 leaves them as they are."""
    outliers: Share = OUTLIERS
    """Share of the columns of 8-bit inputs that are kept apart: the largest in the calibration text; 0 for none."""
    method: Literal["gptq", "nearest"] | None = None
    """How weights are rounded: so that later ones make up for it, or to the nearest; gptq for 4 bits if not given."""
    group: Annotated[int, Range(0, 65_536)] | None = None
    """Weights of a row that share a scale in 4 bits; 64 when not given."""
    text: str | None = None
    """What to calibrate and judge on, a source as `sayso prepare` takes it; the life's own text when not given."""
    tokens: Positive = 16_384
    """How many tokens of it to calibrate on."""
    n: Questions = 20
    """Questions of each family of tasks that both models are asked; 0 for none."""
    name: str | None = None
    """What the new model is called; MODEL-8bit and the like when not given."""
    life: Path = Path("life")
    """The folder of the life."""
    replace: bool = False
    """Replace another model that has this name already."""
    device: str | None = None
    """cpu, cuda or mps; the best one here when not given."""


def quantize(options: Quantize) -> Written:
    """Quantise a model to 8 or 4 bits, and measure what that costs."""
    parent = newest_model(Life(options.life), options.model)
    usual = f"{called(parent)}-{options.bits}bit{'-inputs' if options.inputs else ''}"
    name = usual if options.name is None else options.name
    with locked(Life(options.life).model(name)):
        return _quantize(options, parent, name)


def _quantize(options: Quantize, parent: Path, name: str) -> Written:
    life, scheme, method = Life(options.life), scheme_of(options), method_of(options)
    folder = life.model(name)
    check_apart([folder], [parent])
    lineage: dict[str, Any] = {
        "stage": "quantised",
        "parent": f"{parent.name} {sha256(weights_file(parent))[:12]}",
        "data": [],
        "config": {"quantised": {**asdict(scheme), **asdict(method)}, "text": options.text, "tokens": options.tokens},
        "seed": None,
    }
    scores = life.run(f"quantize-{name}") / "scores.json"
    if name in STAGES:
        raise UserError(f"{', '.join(STAGES)} are the models that a life makes itself; choose another --name.")
    work_in(scores.parent)
    there = is_made(folder, lineage, replace=options.replace)
    if there and scores.exists():
        say(f"The model '{name}' is quantised already with these options.")
        costs = read_object(scores)
        show_costs(costs)
        return Written(folder, costs, finished_before=True)
    device = pick_device(options.device).kind
    texts = texts_of(life, options.text, JUDGED_BYTES, BadRows(options.bad_rows))
    with act_log(life, "quantize", name, options):
        if not there:
            model, tokenizer = load_model(parent, device, plain=True)
            rows = _rows(options, texts, tokenizer, model.config.context) if method.calibrates(scheme) else None
            with Progress(model.config.layers, "block") as line:
                numbers = quantize_model(model, scheme, method, rows, line.update)
            save_model(model, tokenizer, folder, lineage, numbers)
            say(f"Saved {folder}.")
            del model
        judge = texts.judge if texts else ()
        costs = {path.name: measure_cost(path, device, judge, options.n) for path in (parent, folder)}
        write_json(scores, costs, sealed=True)
    show_costs(costs)
    if not judge:
        say("Perplexity needs held-out text; name some with --text, such as --text wiki.")
    return Written(folder, costs)


def scheme_of(options: Quantize) -> Scheme:
    """Return how weights and inputs are kept. Raises `UserError` for options that do not go together."""
    if options.bits == 8:
        grid = Grid(8, options.group or 0)
    else:
        grid = Grid(4, GROUP if options.group is None else options.group, symmetric=False)
    return Scheme(grid, bool(options.inputs), bool(options.head))


def method_of(options: Quantize) -> Method:
    """Return how whole numbers are found."""
    calibrated = options.bits == 4 if options.method is None else options.method == "gptq"
    return Method(calibrated, options.outliers if options.inputs else 0.0)


def _rows(options: Quantize, texts: Texts | None, tokenizer: Tokenizer, context: int) -> Tensor:
    if texts is None:
        raise UserError(
            f"This calibrates on text, and the life '{options.life}' has none: name some with --text, such as "
            "--text wiki, or choose --method nearest."
        )
    chats = None if options.text else Life(options.life).data("chat") / "train.jsonl"
    return rows_of(tokenizer, texts.learn, chats, context, options.tokens)
