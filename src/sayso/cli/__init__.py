"""The command line: takes words, runs a command, returns an exit code."""
