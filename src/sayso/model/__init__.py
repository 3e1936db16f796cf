"""Batches to logits: one Transformer whose frozen config covers all models that Sayso trains and imports."""

from sayso.model.config import ModelConfig
from sayso.model.transformer import Transformer

__all__ = ["ModelConfig", "Transformer"]
