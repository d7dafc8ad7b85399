"""Metadata in images: what a block says, and which part of it stays."""
