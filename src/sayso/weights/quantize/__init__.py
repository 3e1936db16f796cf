"""Quantization of weights to 8- or 4-bit integers."""
