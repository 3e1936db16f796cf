"""GGUF, the one-file format of llama.cpp: facts, tokenizer and (often quantized) weights, in and out."""
