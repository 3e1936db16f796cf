"""The families of models on the Hugging Face hub that are ours too: a file for each kind of them."""
