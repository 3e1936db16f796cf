"""Self-improvement: which of its own replies a model is tuned on, round by round."""
