"""Sayso: the whole life of a language model in one package, on your say-so.

Each folder is a stage and imports only stages to its left: see the tree in the README. Nothing is imported here, so
that `import sayso` and `sayso --help` cost nothing.
"""

__version__ = "0.1.0"
