"""The acts, one file per command: each takes options and writes files into the life."""
