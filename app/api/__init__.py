"""HTTP, and nothing else: parse, call, respond."""
