"""The encryption of images: keys of their own, and the keys that wrap those."""
