"""Weights to next tokens: the paged cache, sampling, and the engine that decodes many rows at once."""

from sayso.sample.beams import Beam, beam_search
from sayso.sample.engine import Engine
from sayso.sample.generate import Completion, generate, stream
from sayso.sample.pick import Picked, distribution, draw, pick
from sayso.sample.request import Request
from sayso.sample.sampling import Sampling

__all__ = [
    "Beam",
    "Completion",
    "Engine",
    "Picked",
    "Request",
    "Sampling",
    "beam_search",
    "distribution",
    "draw",
    "generate",
    "pick",
    "stream",
]
