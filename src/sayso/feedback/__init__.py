"""Feedback to data: conversations, their ratings, and the training files made from them."""
