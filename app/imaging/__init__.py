"""Image formats, limits, metadata and codecs: pure and synchronous.

What decodes or encodes runs in the codec workers alone; `formats` also serves the gateway.
"""
