"""The worker processes in which images are decoded and encoded."""
