"""How a model behaves in conversations, as far as a program can check: refusals, giving in, loops, language."""
