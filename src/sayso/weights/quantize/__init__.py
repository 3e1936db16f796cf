"""Weights as 8- or 4-bit integers: rounding, computing and saving."""
