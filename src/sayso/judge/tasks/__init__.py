"""Evaluation tasks: reading their rows, building prompts, scoring answers, and the suites that they form."""
