"""Self-improvement: sampling, selecting and fine-tuning on a model's own replies, in rounds."""
