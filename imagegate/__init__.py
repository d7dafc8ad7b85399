"""Images out of Kafka, for any program: the public API of imagegate.

    from imagegate import ImageReader

    async with ImageReader(bootstrap_servers="127.0.0.1:9092", group_id="labels") as images:
        async for image in images:
            print(image.id, image.content_type, len(await image.bytes()))

It needs no running gateway. `docs/reader.md` describes it. Everything else in this distribution,
the package `app`, may change with any release.
"""

from app.errors import (
    ConfigurationError,
    DigestMismatchError,
    GatewayError,
    ImageGoneError,
    KeyUnavailableError,
    LogUnavailableError,
    NewerVersionError,
    RecordDamagedError,
    TurnLostError,
)
from app.reader.image import Image
from app.reader.options import KafkaOptions, SealingOptions, Start
from app.reader.reader import ImageReader, ReadOptions

__all__ = [
    "ConfigurationError",
    "DigestMismatchError",
    "GatewayError",
    "Image",
    "ImageGoneError",
    "ImageReader",
    "KafkaOptions",
    "KeyUnavailableError",
    "LogUnavailableError",
    "NewerVersionError",
    "ReadOptions",
    "RecordDamagedError",
    "SealingOptions",
    "Start",
    "TurnLostError",
]
