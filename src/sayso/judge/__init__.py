"""Evaluation: replies and predictions to scores with their uncertainty."""
