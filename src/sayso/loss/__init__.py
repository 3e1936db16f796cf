"""Logits to one number: what training makes small."""
