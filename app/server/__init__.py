"""The server process, and the bounds on its connections."""
