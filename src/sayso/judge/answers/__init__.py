"""Scores of generated answers by rules that a program checks: words, numbers, instructions, running code."""
