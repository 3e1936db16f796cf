"""Evaluation of models: scores with confidence intervals."""
