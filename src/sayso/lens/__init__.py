"""Interpretability of predictions, from outside: the model's code does not depend on it."""

from sayso.lens.attention import attention_weights
from sayso.lens.names import activation_names
from sayso.lens.tracing import Trace, trace

__all__ = [
    "Trace",
    "activation_names",
    "attention_weights",
    "trace",
]
