"""The command line: parses arguments, runs a command, returns an exit code."""
