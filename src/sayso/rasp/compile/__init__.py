"""The compiler of RASP: takes a program, returns an ordinary Transformer whose weights compute it."""
