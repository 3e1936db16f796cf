"""What a language model must beat: uniform, unigram and Kneser-Ney models, and a dictionary compressor."""

BASELINES = ("uniform", "unigram", "kn5", "xz")
