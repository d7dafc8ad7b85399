"""File formats as containers, a file each: what a picture needs, and what is metadata."""
