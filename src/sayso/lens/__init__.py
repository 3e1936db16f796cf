"""Interpretability of predictions, from outside: the model's code does not depend on it."""
