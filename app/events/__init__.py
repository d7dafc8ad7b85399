"""The events in the topic `image-events`."""
