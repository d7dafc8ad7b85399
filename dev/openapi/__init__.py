"""The descriptions in openapi/: linters, the schemas of events, and a generator of clients."""
