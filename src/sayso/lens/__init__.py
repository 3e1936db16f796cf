"""Looking inside a prediction, from outside: the model's code knows nothing of it."""
