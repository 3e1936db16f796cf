"""Act: quantize a model to 8- or 4-bit integers and measure the loss in quality.

Input: a plain model and, if the method needs it, text to calibrate on. Output: `models/NAME`, which every act that
generates text can open, and a comparison of size, speed, perplexity and task accuracy.
"""

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from sayso.base.device import pick_device
from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.jsonl import BadRows
from sayso.base.life import STAGES, Life
from sayso.base.lock import locked
from sayso.base.log import Progress, act_log, say
from sayso.base.made import check_apart, work_in
from sayso.base.ranges import Positive, Questions, Range, Share
from sayso.judge.calibration import rows_of, texts_of
from sayso.judge.cost import measure_cost, show_costs
from sayso.run.quantize_rasp import check_used, is_program, quantize_program
from sayso.run.results import Written
from sayso.text.rows import ReadsRows
from sayso.weights.folder import load_model, save_model
from sayso.weights.models import called, is_made, newest_model
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import usual_scheme
from sayso.weights.tensors import weights_file

OUTLIERS = 0.03
JUDGED_BYTES = 65_536


@dataclass(frozen=True)
class Quantize(ReadsRows):
    """Options of `sayso quantize`."""

    model: str = "aligned"
    """Model of the life, or path of a model folder. The default falls back to the latest stage that exists."""
    _: KW_ONLY
    bits: Literal[8, 4] = 8
    """Bits per weight in the blocks."""
    inputs: Literal[8] | None = None
    """Bits of the activations, scaled dynamically per token. Default: not quantized."""
    head: Literal[8, 0] = 8
    """Bits of the embedding and the output head; 0 = not quantized."""
    outliers: Share = OUTLIERS
    """Share of activation columns kept unquantized with --inputs: the largest in the calibration text; 0 = none."""
    method: Literal["gptq", "nearest"] | None = None
    """Rounding: gptq (error-compensating) or nearest. Default: gptq for 4 bits, nearest for 8 bits."""
    group: Annotated[int, Range(0, 65_536)] | None = None
    """Group size: weights of a row that share a scale. Default: 64 for 4 bits, the whole row for 8 bits."""
    text: str | None = None
    """Text for calibration and evaluation, any source `sayso prepare` accepts. Default: the prepared text."""
    tokens: Positive = 16_384
    """Number of calibration tokens."""
    n: Questions = 20
    """Evaluation questions per small-world task family; 0 = none."""
    name: str | None = None
    """Name of the new model. Default: MODEL-8bit and so on."""
    life: Path = Path("life")
    """Folder of the life."""
    replace: bool = False
    """Replace an existing model of this name."""
    device: str | None = None
    """Device: cpu, cuda or mps. Default: the best one available."""


def quantize(options: Quantize) -> Written:
    """Quantize a model to 8 or 4 bits and measure the loss in quality."""
    parent = newest_model(Life(options.life), options.model)
    usual = f"{called(parent)}-{options.bits}bit{'-inputs' if options.inputs else ''}"
    name = usual if options.name is None else options.name
    with locked(Life(options.life).model(name)):
        return _quantize(options, parent, name)


def _quantize(options: Quantize, parent: Path, name: str) -> Written:
    life, calibrated = Life(options.life), options.bits == 4 if options.method is None else options.method == "gptq"
    scheme = usual_scheme(options.bits, options.group, inputs8=bool(options.inputs), ends8=bool(options.head))
    method = QuantizeMethod(calibrated, options.outliers if options.inputs else 0.0)
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
        raise UserError(f"{', '.join(STAGES)} are reserved for trained models; choose another --name.")
    work_in(scores.parent)
    there = is_made(folder, lineage, replace=options.replace)
    if is_program(parent):
        check_used(options)
        done = there and scores.exists()
        with act_log(life, "quantize", name, options):
            figures = read_object(scores) if done else quantize_program(parent, folder, lineage, scheme, method)
            write_json(scores, figures, sealed=True)
        say(f"'{folder}' has already been quantized." if done else f"Saved {folder}.")
        return Written(folder, figures, finished_before=done)
    if there and scores.exists():
        say(f"The model '{name}' has already been quantized with these options.")
        costs = read_object(scores)
        show_costs(costs)
        return Written(folder, costs, finished_before=True)
    device = pick_device(options.device).kind
    texts = texts_of(life, options.text, JUDGED_BYTES, BadRows(options.bad_rows))
    with act_log(life, "quantize", name, options):
        if not there:
            model, tokenizer = load_model(parent, device, plain=True)
            rows = None
            if method.calibrates(scheme):
                if texts is None:
                    raise UserError(
                        f"Calibration needs text, but '{life.root}' has none: pass some with --text, such as --text "
                        "wiki, or use --method nearest."
                    )
                chats = None if options.text else life.data("chat")
                rows = rows_of(tokenizer, texts.learn, chats, model.config.context, options.tokens)
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
        say("Perplexity needs held-out text; pass some with --text, such as --text wiki.")
    return Written(folder, costs)
