"""A model to files and back: the Hugging Face folder, and checkpoints that resume exactly."""
