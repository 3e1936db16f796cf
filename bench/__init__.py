"""Benchmarks: ours and a peer in turn, in one run, on the same machine and the same data."""
