"""The Python API: `sayso.load` opens a model, and the methods of `sayso.Life` are the acts."""
