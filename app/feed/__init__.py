"""The background consumer, its progress, and the waiting for it."""
