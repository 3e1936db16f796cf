"""Replies and predictions to scores: estimates with their uncertainty."""
