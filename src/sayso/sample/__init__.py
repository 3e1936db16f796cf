"""Weights to next tokens: the cache, the picking of a token, and the engine that decodes many rows at once."""

from sayso.sample.cache import Cache
from sayso.sample.engine import Completion, generate, stream
from sayso.sample.pick import Sampling, pick

__all__ = ["Cache", "Completion", "Sampling", "generate", "pick", "stream"]
