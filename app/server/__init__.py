"""The server process, and the limits on a connection."""
