"""The records in the topic `images`, and the ids that are their addresses."""
