"""The numbers of the field: what plain counting and plain compression already reach."""
