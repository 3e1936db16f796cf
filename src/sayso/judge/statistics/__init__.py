"""Estimates with intervals, tests of differences, power, and what they mean in a sentence."""
