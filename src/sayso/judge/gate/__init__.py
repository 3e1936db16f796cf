"""The gate: what a candidate must meet to replace the current model, and what was found about it."""
