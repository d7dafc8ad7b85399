"""Quotas: how many images, and bytes of them, one principal may have stored.

Hides what counts: the images that the catalog lists, and uploads that run, each as one image of as
many bytes as it may have, or has once it is received. So uploads at once do not pass a quota
together; those of other replicas are not known until they are listed. An image that is deleted, or
expires, makes room.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from app.catalog.catalog import Catalog


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
        # Of the uploads that run.
        self._uploads: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

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
        kept_bytes = max_bytes

        def keep(received_bytes: int) -> None:
            nonlocal kept_bytes
            self._bytes[owner] += received_bytes - kept_bytes
            kept_bytes = received_bytes

        self._uploads[owner] += 1
        self._bytes[owner] += max_bytes
        try:
            await self._require(owner)
            yield keep
        finally:
            self._uploads[owner] -= 1
            self._bytes[owner] -= kept_bytes
            if not self._uploads[owner]:
                del self._uploads[owner], self._bytes[owner]

    async def _require(self, owner: str) -> None:
        usage = await self._catalog.usage(owner)
        if self._images and usage.images + self._uploads[owner] > self._images:
            raise QuotaExceededError(
                f"You may have {self._images:,} images stored, and have {usage.images:,}, beside"
                " what is being uploaded."
            )
        if self._stored_bytes and usage.stored_bytes + self._bytes[owner] > self._stored_bytes:
            raise QuotaExceededError(
                f"You may have {self._stored_bytes:,} bytes stored, and have"
                f" {usage.stored_bytes:,}, beside what is being uploaded."
            )


def _keep_all(_received_bytes: int) -> None:
    pass
