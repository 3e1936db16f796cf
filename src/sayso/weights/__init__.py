"""A model to files and back: the Hugging Face folder, its names, its card and its lineage."""
