"""The acts of a life, one file each: options in, files of the life out."""
