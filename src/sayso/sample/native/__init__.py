"""The forward pass in C++ for decoding on a CPU: compiled at first use and checked against torch, the fallback."""

from sayso.sample.native.check import why_not
from sayso.sample.native.choose import runner_for
from sayso.sample.native.runner import NativeRunner

__all__ = ["NativeRunner", "runner_for", "why_not"]
