"""The command line: words from a person in, an act run, an exit code out."""
