"""The way in: an upload from a client to acknowledged records."""
