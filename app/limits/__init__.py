"""The limits of clients: how much each may use, in this process."""
