"""People and production -> data: what was said, what people thought of it, and the training files made of that."""
