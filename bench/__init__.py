"""Benchmarks: Sayso and a peer take turns in one run, on the same machine and data."""
