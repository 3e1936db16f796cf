"""Weights to next tokens: the paged cache, the picking of a token, and the engine that decodes many rows at once."""

from sayso.sample.engine import Engine
from sayso.sample.generate import Completion, generate, stream
from sayso.sample.pick import pick
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

__all__ = ["Completion", "Engine", "Request", "Sampling", "generate", "pick", "stream"]
