"""Act: train a model on preferences with DPO, IPO, KTO, ORPO or SimPO.

Input: comparisons, which come from a checker's scores of the model's own replies, from ratings collected on the web
page, or from a file. Output: `models/aligned`.
"""

from sayso.align.pairs.alignment import Align, Alignment, check_align
from sayso.align.pairs.sources import PAIRS, RATINGS
from sayso.base.hold_out import held_out_file
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.run.results import Trained, trained
from sayso.train.session import open_session
from sayso.train.tune import tune
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file


@exclusive(model_output)
def align(options: Align) -> Trained:
    """Train a model on preferences: comparisons or ratings of replies."""
    check_align(options)
    life = Life(options.life)
    parent, feedback = resolve_model(life, options.parent), life.data("feedback")
    inputs = {"feedback": feedback / PAIRS, options.parent: weights_file(parent)}
    inputs |= {"ratings": feedback / RATINGS} if options.loss == "kto" else {}
    inputs |= {"pairs": options.pairs} if options.pairs else {}
    inputs |= {"text": life.data("text") / "manifest.json"} if options.replay else {}
    inputs |= {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    session = open_session(life, "align", options.name, options, inputs)
    new = tune(options, session, parent, lambda start: Alignment(start, options, feedback))
    return trained(life, "align", options.name, finished_before=not new)
