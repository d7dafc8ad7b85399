"""imagegate: images in over HTTP, stored in Apache Kafka, streamed back out."""

__version__ = "0.1.0"
