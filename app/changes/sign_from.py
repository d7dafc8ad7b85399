"""The beginning of signing: an event from which on unsigned records are strangers'.

Hides that the ends of `images` are read before the event is appended. A record in between is judged
as one behind it, so every gateway has to sign already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.errors import ConfigurationError
from app.events.event import MAX_BYTES, SigningBegan, encode
from app.log import EVENTS, IMAGES
from app.section import variable

if TYPE_CHECKING:
    from app.log import Log
    from app.records.signature import Signatures


async def begin_signing(log: Log, signatures: Signatures) -> int:
    """Append that signing begins; return the offset of the event.

    Raises:
        ConfigurationError: There are no keys, or too many partitions for one event.
        LogUnavailableError, NotWrittenError, OutcomeUnknownError: The log does not work.
    """
    if not signatures:
        raise ConfigurationError(f"Nothing signs records: set {variable('kafka', 'signing_keys')}.")
    bounds = await asyncio.gather(
        *(log.bounds(IMAGES, each) for each in range(log.partitions(IMAGES)))
    )
    event = signatures.sign(EVENTS, encode(SigningBegan(tuple(each.end for each in bounds))))
    if len(event.value or b"") > MAX_BYTES:
        raise ConfigurationError(f"{IMAGES} has too many partitions: one event names all ends.")
    [position] = await log.append(EVENTS, [event])
    return position.offset
