"""Interpretability of predictions, from outside: the model's code does not depend on it."""

from sayso.lens.ablation import ablation
from sayso.lens.attention import attention_weights
from sayso.lens.autoencoder import ActivationPlace, Quality, SparseAutoencoder, measure_autoencoder
from sayso.lens.autoencoder_files import load_autoencoder, save_autoencoder
from sayso.lens.autoencoder_training import (
    AutoencoderTraining,
    Step,
    activation_batches,
    fit_autoencoder,
    train_autoencoder,
)
from sayso.lens.circuits import Circuit, circuit
from sayso.lens.corpus import read_corpus, trace_corpus
from sayso.lens.direct import Attribution, direct_attribution
from sayso.lens.embedding_maps import EmbeddingChange, embedding_change, neighbor_map
from sayso.lens.embeddings import (
    Contexts,
    Map,
    Neighbors,
    analogy,
    nearest_tokens,
    principal_map,
    token_vectors,
    word_contexts,
)
from sayso.lens.examples import Examples, max_examples, top_places
from sayso.lens.frozen import LinearMap, TokenContributions, linear_map, token_contributions
from sayso.lens.gradients import Integrated, gradient_x_input, integrated_gradients
from sayso.lens.heads import HeadScores, head_scores, repeated_ids, rollout, value_weighted
from sayso.lens.lenses import JacobianLens, TunedLens, jacobian_lens, load_lens, save_lens, tuned_lens
from sayso.lens.names import activation_names
from sayso.lens.outliers import OutlierFeatures, Rounding, outlier_features, rounding_effect
from sayso.lens.patching import Places, attribution_patch, patch, rank_correlation
from sayso.lens.paths import path_patch
from sayso.lens.positions import (
    Dials,
    OrderEffect,
    learned_positions,
    order_effect,
    position_kinds,
    rotary_dials,
    scores_by_distance,
    sinusoidal_positions,
)
from sayso.lens.probes import LinearProbe, fit_probe
from sayso.lens.readout import Lens, LogitLens, logit_lens
from sayso.lens.steering import SteeringVector, steered, steering_vector
from sayso.lens.targets import LogitDifference
from sayso.lens.tracing import Trace, trace

__all__ = [
    "ActivationPlace",
    "Attribution",
    "AutoencoderTraining",
    "Circuit",
    "Contexts",
    "Dials",
    "EmbeddingChange",
    "Examples",
    "HeadScores",
    "Integrated",
    "JacobianLens",
    "Lens",
    "LinearMap",
    "LinearProbe",
    "LogitDifference",
    "LogitLens",
    "Map",
    "Neighbors",
    "OrderEffect",
    "OutlierFeatures",
    "Places",
    "Quality",
    "Rounding",
    "SparseAutoencoder",
    "SteeringVector",
    "Step",
    "TokenContributions",
    "Trace",
    "TunedLens",
    "ablation",
    "activation_batches",
    "activation_names",
    "analogy",
    "attention_weights",
    "attribution_patch",
    "circuit",
    "direct_attribution",
    "embedding_change",
    "fit_autoencoder",
    "fit_probe",
    "gradient_x_input",
    "head_scores",
    "integrated_gradients",
    "jacobian_lens",
    "learned_positions",
    "linear_map",
    "load_autoencoder",
    "load_lens",
    "logit_lens",
    "max_examples",
    "measure_autoencoder",
    "nearest_tokens",
    "neighbor_map",
    "order_effect",
    "outlier_features",
    "patch",
    "path_patch",
    "position_kinds",
    "principal_map",
    "rank_correlation",
    "read_corpus",
    "repeated_ids",
    "rollout",
    "rotary_dials",
    "rounding_effect",
    "save_autoencoder",
    "save_lens",
    "scores_by_distance",
    "sinusoidal_positions",
    "steered",
    "steering_vector",
    "token_contributions",
    "token_vectors",
    "top_places",
    "trace",
    "trace_corpus",
    "train_autoencoder",
    "tuned_lens",
    "value_weighted",
    "word_contexts",
]
