"""Weights to next tokens: the cache, the picking of a token, and the engine that decodes many rows at once."""

from sayso.sample.cache import Cache
from sayso.sample.engine import Completion, generate, stream
from sayso.sample.pick import Picked, distribution, draw, pick
from sayso.sample.request import Request
from sayso.sample.sampling import Dry, Sampling

__all__ = [
    "Cache",
    "Completion",
    "Dry",
    "Picked",
    "Request",
    "Sampling",
    "distribution",
    "draw",
    "generate",
    "pick",
    "stream",
]
