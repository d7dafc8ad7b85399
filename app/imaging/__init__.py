"""Image formats, limits, metadata and codecs: pure and synchronous.

Only codec workers decode and encode; `formats` also serves the gateway.
"""
