"""GGUF, the single-file format of llama.cpp: metadata, tokenizer and (often quantized) weights, read and written."""
