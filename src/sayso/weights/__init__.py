"""Saving and loading models: Hugging Face folders, GGUF, adapters, quantization, model cards and lineage."""
