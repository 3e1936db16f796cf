"""Lossless compression: what a model predicts well costs few bits."""

from sayso.law.compress.archive import Compressor, compress, decompress

__all__ = ["Compressor", "compress", "decompress"]
