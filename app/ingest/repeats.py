"""Uploads that repeat one before, of which the image is there: `dedupe=exact`.

Hides when an upload is the same: the same bytes, file name and options, by the same principal. And
when its image counts as there: its event and its records can be read now. An image that another
gateway has acknowledged before this looks is found; of two uploads at the same time each may find
none, and both are stored.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from app.errors import GatewayError
from app.imaging.formats import ImageFormat
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.feed.feed import Feed
    from app.imaging.info import ImageInfo
    from app.ingest.upload import Source, Upload

# Images of one upload that differ in their options alone. One more is stored again.
_MOST = 100


class Repeats:
    """Finds the images of uploads that are repeated.

    Args:
        catalog: It knows the digests of the uploads.
        feed: Says when it knows them all.
        read: Reads an image as far as it needs to be known that it is there; raises if it is not.
    """

    def __init__(
        self, catalog: Catalog, feed: Feed, read: Callable[[str], Awaitable[object]]
    ) -> None:
        self._catalog = catalog
        self._feed = feed
        self._read = read

    async def find(
        self, upload: Upload, source: Source, image_format: ImageFormat
    ) -> CatalogImage | None:
        """Return the newest image of the same upload; None if there is none.

        Raises:
            NotReadyError, LogUnavailableError: That cannot be known now.
            CatalogDamagedError: The file of the catalog is damaged.
        """
        digest = (await asyncio.to_thread(hashlib.sha256, upload.data)).hexdigest()
        await self._feed.caught_up()
        for each in await self._catalog.of_upload(source.owner, digest, _MOST):
            if _is_of(each.info, upload, image_format) and await self._is_there(each.id):
                return each
        return None

    async def _is_there(self, image_id: str) -> bool:
        try:
            await self._read(image_id)
        except GatewayError:
            # Gone, damaged, or locked: the upload is to be stored.
            return False
        return True


def _is_of(info: ImageInfo, upload: Upload, image_format: ImageFormat) -> bool:
    """Tell whether an image was made with the file name and the options of an upload."""
    recipe = upload.recipe
    made = (info.filename, info.profile, info.metadata, info.visibility, info.expires_in)
    options = (upload.filename, recipe.profile, recipe.metadata, upload.visibility)
    return (
        made == (*options, upload.expires_in)
        and info.source == upload.source
        and _is_accepted(info.content_type, upload, image_format)
    )


def _is_accepted(content_type: str, upload: Upload, image_format: ImageFormat) -> bool:
    """Tell whether the client of an upload accepts an image of this type for it."""
    recipe = upload.recipe
    if content_type == ImageFormat.HEIC.content_type:
        return recipe.heic or recipe.profile not in (Profile.BALANCED, Profile.SMALL)
    if content_type == ImageFormat.WEBP.content_type:
        return recipe.webp or image_format is ImageFormat.WEBP or recipe.profile is Profile.SMALL
    return True
