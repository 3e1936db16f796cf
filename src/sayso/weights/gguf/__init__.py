"""GGUF, the one-file format of llama.cpp: facts, tokenizer and (often quantised) weights, in and out."""
