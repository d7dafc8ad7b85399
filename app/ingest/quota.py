"""Quotas: how many images, and bytes of them, one principal may have stored.

Hides what counts: the images that the catalog lists, and uploads that run, each as one image of as
many bytes as it may have, or has once it is received. So uploads at once do not pass a quota
together; those of other replicas are not known until they are listed. Where those that run leave
no room, the next one waits a little for them. An image that is deleted, or expires, makes room.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from app.catalog.catalog import Catalog

# As long as an upload takes whose image is developed and published by then.
_PATIENCE_SECONDS = 2.0


class Quota:
    """The quota of each principal; 0 stands for none.

    Args:
        catalog: Knows what is stored.
        images: How many images each may have.
        stored_bytes: How many bytes of them.
    """

    def __init__(self, catalog: Catalog, images: int = 0, stored_bytes: int = 0) -> None:
        self._catalog = catalog
        self._images = images
        self._stored_bytes = stored_bytes
        # Of the uploads that run, in their order.
        self._rooms: dict[str, list[_Room]] = {}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def room(self, owner: str, max_bytes: int) -> AsyncGenerator[Callable[[int], None], None]:
        """Keep room for an upload of at most so many bytes, within this context.

        Call what it yields with the bytes that came: the others of a batch need the rest.

        Raises:
            QuotaExceededError: There is none.
        """
        if not owner or not (self._images or self._stored_bytes):
            yield _keep_all
            return
        room = _Room(max_bytes)
        rooms = self._rooms.setdefault(owner, [])
        rooms.append(room)

        def keep(received_bytes: int) -> None:
            room.size_bytes = received_bytes
            self._wake()

        try:
            await self._require(owner, room)
            yield keep
        finally:
            rooms.remove(room)
            if not rooms:
                del self._rooms[owner]
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _require(self, owner: str, room: _Room) -> None:
        """Wait for room, as long as uploads run: one that is listed by now may be counted twice."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            changed, before = self._changed, self._before(owner, room)
            refusal = await self._refusal(owner, [*before, room])
            if refusal is None:
                return
            try:
                # Those that run may be why; without them it would be the same.
                if not before or await self._refusal(owner, [room]):
                    raise refusal
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                raise refusal from None

    def _before(self, owner: str, room: _Room) -> list[_Room]:
        rooms = self._rooms[owner]
        return rooms[: rooms.index(room)]

    async def _refusal(self, owner: str, rooms: list[_Room]) -> QuotaExceededError | None:
        """Return why there is no room for these uploads; None if there is."""
        uploads, upload_bytes = len(rooms), sum(each.size_bytes for each in rooms)
        usage = await self._catalog.usage(owner)
        if self._images and usage.images + uploads > self._images:
            return QuotaExceededError(
                f"You may have {self._images:,} images stored, and have {usage.images:,}, beside"
                " what is being uploaded."
            )
        if self._stored_bytes and usage.stored_bytes + upload_bytes > self._stored_bytes:
            return QuotaExceededError(
                f"You may have {self._stored_bytes:,} bytes stored, and have"
                f" {usage.stored_bytes:,}, beside what is being uploaded."
            )
        return None


@dataclass(eq=False, slots=True)
class _Room:
    """What an upload that runs may need."""

    size_bytes: int


def _keep_all(_received_bytes: int) -> None:
    pass
