"""Training on what RASP programs compute: takes a program and a kind of input, returns a model that learned it."""
