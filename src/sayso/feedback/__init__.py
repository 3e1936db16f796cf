"""Conversations, their ratings, and the training data made from them."""
