"""Act: train a model with reinforcement learning.

Input: prompts and rewards. Output: `models/aligned`.
"""

from pathlib import Path

from sayso.align.rl.reinforcement import Reinforcement
from sayso.align.rl.setup import Reinforce
from sayso.base.hold_out import held_out_file
from sayso.base.life import Life
from sayso.base.lock import exclusive, model_output
from sayso.run.results import Trained, trained
from sayso.train.session import open_session
from sayso.train.tune import tune
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file


@exclusive(model_output)
def reinforce(options: Reinforce) -> Trained:
    """Train a model with reinforcement learning on prompts whose replies are scored."""
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    inputs = {"prompts": Path(options.prompts), options.parent: weights_file(parent)}
    inputs |= {"held_out": file} if (file := held_out_file(options.held_out)) else {}
    session = open_session(life, "reinforce", options.name, options, inputs)
    new = tune(options, session, parent, lambda start: Reinforcement(start, options))
    return trained(life, "reinforce", options.name, finished_before=not new)
