"""File formats as containers, a file each: the parts of a picture, and its metadata."""
