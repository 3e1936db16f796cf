"""Baselines of language models: uniform, unigram and Kneser-Ney models, and a dictionary compressor."""
