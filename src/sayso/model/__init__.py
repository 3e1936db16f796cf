"""Batches to logits: one Transformer whose frozen config covers what Sayso trains and brings in."""

from sayso.model.config import ModelConfig
from sayso.model.transformer import Transformer

__all__ = ["ModelConfig", "Transformer"]
