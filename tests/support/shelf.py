"""Images stored in a log as a gateway stores them, without a gateway."""

import asyncio
import hashlib

from app.events.event import ImageDeleted, ImageStored, encode
from app.log import EVENTS, IMAGES
from app.records import address
from app.records.image import encoded_chunks, head_record
from app.records.value import ValueEncoding
from tests.support.facts import info


class Shelf:
    """Stores images in `log`; knows the bytes of those that are still there."""

    def __init__(self, log):
        self.log = log
        self.stored = {}

    async def put(self, data, chunk_bytes=0, **options):
        """Store an image, and announce it; return its id."""
        event = await self.put_silently(data, chunk_bytes, **options)
        await self.announce(event)
        self.stored[event.image_id] = data
        return event.image_id

    async def put_silently(
        self, data, chunk_bytes=0, *, claim=None, encoding=ValueEncoding.RAW, **changes
    ):
        """Store the records of an image, in chunks if it is larger than one; return its event."""
        digest = hashlib.sha256(data).hexdigest()
        about = info(**{"content_length": len(data), "digest": digest} | changes)
        cookie, view, size = address.new_cookie(), memoryview(data), chunk_bytes or len(data)
        chunks = await self.log.append(IMAGES, [*encoded_chunks(cookie, view, size, encoding)])
        head = head_record(cookie, view, about, size, chunks, claim, encoding)
        [place] = await self.log.append(IMAGES, [head])
        where = str(address.Address(place, cookie))
        return ImageStored(where, about, size if chunks else 0, tuple(chunks), claim)

    async def announce(self, event):
        await self.log.append(EVENTS, [encode(event)])

    async def put_many(self, pictures, chunk_bytes=0, at_once=64):
        """Store images, some at once; those over `chunk_bytes` in chunks."""
        turns = asyncio.Semaphore(at_once)

        async def put(data):
            async with turns:
                return await self.put(data, chunk_bytes if len(data) > chunk_bytes else 0)

        return await asyncio.gather(*map(put, pictures))

    async def delete(self, image_id, **said):
        await self.log.append(EVENTS, [encode(ImageDeleted(image_id, **said))])
        self.stored.pop(image_id, None)
