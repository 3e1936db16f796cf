"""Weights as whole numbers of 8 or 4 bits: how they are found, computed with, and written."""
