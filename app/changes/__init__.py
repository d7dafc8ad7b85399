"""Changes to stored images: events that take effect once they are applied."""
