"""Interpretability of predictions, from outside: the model's code does not depend on it."""

from sayso.lens.ablation import ablation
from sayso.lens.attention import attention_weights
from sayso.lens.corpus import read_corpus, trace_corpus
from sayso.lens.direct import Attribution, direct_attribution
from sayso.lens.frozen import LinearMap, linear_map
from sayso.lens.gradients import Integrated, gradient_x_input, integrated_gradients
from sayso.lens.heads import HeadScores, head_scores, repeated_ids, rollout, value_weighted
from sayso.lens.names import activation_names
from sayso.lens.patching import Places, attribution_patch, patch, rank_correlation
from sayso.lens.paths import path_patch
from sayso.lens.readout import LogitLens, logit_lens
from sayso.lens.targets import LogitDifference
from sayso.lens.tracing import Trace, trace

__all__ = [
    "Attribution",
    "HeadScores",
    "Integrated",
    "LinearMap",
    "LogitDifference",
    "LogitLens",
    "Places",
    "Trace",
    "ablation",
    "activation_names",
    "attention_weights",
    "attribution_patch",
    "direct_attribution",
    "gradient_x_input",
    "head_scores",
    "integrated_gradients",
    "linear_map",
    "logit_lens",
    "patch",
    "path_patch",
    "rank_correlation",
    "read_corpus",
    "repeated_ids",
    "rollout",
    "trace",
    "trace_corpus",
    "value_weighted",
]
