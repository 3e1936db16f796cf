"""Reward models in the Hugging Face layout: `...ForSequenceClassification` with one label and `score.weight`.

These classes have no bias, so ours is stored as `score_bias` in config.json: the score is the output of `transformers`
plus that number. The language-model head is omitted.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sayso.base.errors import UserError
from sayso.base.files import read_object
from sayso.model import ModelConfig, Transformer
from sayso.model.score import set_score
from sayso.weights.families.family import HubConfig, StateDict
from sayso.weights.names import to_hub, to_hub_config

SCORE, BIAS = "score.weight", "score_bias"
LM_HEAD = "unembed.weight"


def score_to_hub(state: StateDict, config: ModelConfig) -> tuple[StateDict, HubConfig]:
    """Return the tensors and the config.json of a reward model, given its weights under our names."""
    rest = {name: x for name, x in state.items() if name not in (LM_HEAD, SCORE, "score.bias")}
    facts = to_hub_config(config)
    kind = facts["architectures"][0].removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    facts |= {
        "architectures": [f"{kind}ForSequenceClassification"],
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "problem_type": "regression",
        BIAS: float(state["score.bias"]),
    }
    return to_hub(rest, config) | {SCORE: state[SCORE].contiguous()}, facts


def score_from_hub(found: StateDict) -> tuple[StateDict, Tensor | None]:
    """Return a file's weights without heads, and the scalar head; the weights unchanged and None without one."""
    if SCORE not in found:
        return found, None
    return {name: x for name, x in found.items() if name not in (SCORE, "lm_head.weight")}, found[SCORE]


def is_reward_model(folder: Path) -> bool:
    """Return whether a model folder holds a reward model, by its config.json."""
    path = folder / "config.json"
    names = read_object(path).get("architectures") if path.is_file() else None
    return isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)


def put_score(model: Transformer, weight: Tensor, facts: dict[str, Any], source: Path) -> None:
    """Replace a model's head by the scalar head of a file; `source` is the file of the weights, for errors.

    Raises `UserError` for several labels, or a bias that is not a number.
    """
    bias = facts.get(BIAS, 0.0)
    if weight.shape != (1, model.config.width) or not isinstance(bias, int | float):
        raise UserError(
            f"A reward model needs one score: a weight [1, {model.config.width}] and a number as {BIAS}; "
            f"'{source}' has {list(weight.shape)} and {bias!r}: choose a model with one label."
        )
    set_score(model, weight.to(torch.float32), torch.tensor([float(bias)]))
