"""The background consumer: it follows `image-events` and fills the catalog."""
