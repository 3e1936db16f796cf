"""Baselines of language models: uniform, unigram and Kneser-Ney models, and a dictionary compressor."""

BASELINES = ("uniform", "unigram", "kn5", "xz")
