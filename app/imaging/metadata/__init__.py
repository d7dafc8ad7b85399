"""Metadata in images: the contents of each block, and the part of it that stays."""
