"""The background consumer, how far it has come, and the waiting for it."""
