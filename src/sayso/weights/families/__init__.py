"""The model families of the Hugging Face hub that Sayso supports."""
