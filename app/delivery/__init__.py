"""The way out: an image from its id to the bytes of a response."""
