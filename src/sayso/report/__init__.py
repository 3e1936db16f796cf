"""The report of a life: an HTML page and a JSON file, made from the life's files."""
