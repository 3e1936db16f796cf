"""Loss functions: logits to one number."""
