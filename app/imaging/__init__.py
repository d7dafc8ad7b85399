"""Image formats, limits, metadata and codecs: pure, synchronous, run inside the codec workers."""
