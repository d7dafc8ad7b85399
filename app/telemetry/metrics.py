"""Every metric of the process, with its meaning.

Metrics belong to the process, so they are module constants.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

# Prometheus has no use for the start times of counters, and they double what it scrapes.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
# The Prometheus library adds `_total` to the names of counters.
IMAGES_STORED = Counter("imagegate_images_stored", "Images that were acknowledged.")
UPLOADS_REPLAYED = Counter(
    "imagegate_uploads_replayed",
    "Uploads that were answered with the image that their idempotency key had stored before.",
)
IMAGES_SWEPT = Counter(
    "imagegate_images_swept", "Images that this gateway deleted as they had expired."
)
PROBLEMS = Counter("imagegate_problems", "Answers that were problems, by their code.", ["code"])
REQUESTS_REFUSED = Counter(
    "imagegate_requests_refused",
    "Requests that were refused for who sent them, and by which rule.",
    ["reason"],
)
REQUESTS_LIMITED = Counter(
    "imagegate_requests_limited",
    "Requests that were refused because their client was at a limit, and which.",
    ["limit"],
)
CONNECTIONS_CLOSED = Counter(
    "imagegate_connections_closed",
    "Connections that the gateway closed on clients, and why.",
    ["reason"],
)
HANDSHAKES_FAILED = Counter(
    "imagegate_tls_handshakes_failed", "Handshakes of TLS that failed, or took too long."
)
CERTIFICATE_EXPIRES = Gauge(
    "imagegate_tls_certificate_expires_seconds",
    "When the gateway's certificate expires, in seconds since 1970; 0 without one.",
)
PICTURES_DROPPED = Counter(
    "imagegate_live_pictures_dropped",
    "Pictures taken away from watchers that had not read them when the memory was needed.",
)
DEAD_LETTERS = Counter(
    "imagegate_dead_letters", "Records of image-events that could not be processed."
)
UNFIT_IMAGES = Counter(
    "imagegate_unfit_images", "Images whose records are none that imagegate wrote."
)
KEYS_UNAVAILABLE = Counter(
    "imagegate_keys_unavailable",
    "Times that the key of an encrypted image, or of one to be encrypted, could not be had.",
)
BROKEN_SEALS = Counter(
    "imagegate_broken_seals", "Images that are not, or no longer, as they were encrypted."
)
LOCKED_IMAGES = Gauge(
    "imagegate_locked_images",
    "Listed images without a file name, and not served, as their key cannot be had here.",
)
KEYS_ERASED = Counter(
    "imagegate_keys_erased", "Keys of deleted images for which this gateway wrote a tombstone."
)
KEYS_SWEPT = Counter(
    "imagegate_keys_swept",
    "Of these, keys that no image needed: of deletions that were cut short, and of lost uploads.",
)
DAMAGED_BATCHES = Counter(
    "imagegate_kafka_damaged_batches", "Batches that the leader sent with a wrong CRC.", ["topic"]
)
PRODUCERS_REPLACED = Counter(
    "imagegate_kafka_producers_replaced", "Producers that failed and were replaced.", ["lane"]
)
CODEC_WORKERS_REPLACED = Counter(
    "imagegate_codec_workers_replaced", "Codec workers that were replaced, and why.", ["reason"]
)
PACKINGS_GIVEN_UP = Counter(
    "imagegate_packings_given_up",
    "Images that were stored as they were before they were to be packed better, and why.",
    ["reason"],
)
CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition() -> bytes:
    """Return every metric, memory and CPU of the process included, in Prometheus' text format."""
    return generate_latest()
