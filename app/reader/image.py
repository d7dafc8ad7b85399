"""An image, as a reader hands it out."""

from __future__ import annotations

import hashlib
import io
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.errors import ConfigurationError, DigestMismatchError, GatewayError
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    # `bytes` is a method here.
    import builtins
    from collections.abc import AsyncGenerator

    from PIL import Image as PillowImage

    from app.catalog.images import CatalogImage
    from app.delivery.stored_image import StoredImage
    from app.reader.view import View


class Image:
    """An image that was stored, with what is known of it.

    Attributes:
        id: Its id, for ever.
        former_ids: The ids that it had in other logs, from which it was moved.
        sequence: Its place in the order of all events.
        created_at: When it was stored, by the log's clock; of a moved image, by that of its first.
        owner: Who uploaded it; empty where no credential was needed.
        visibility: Who may read it: `public`, `authenticated`, `owner`, or None for the server's
            rule.
        content_type: Its content type, such as `image/jpeg`.
        content_length: Its size in bytes.
        digest: The SHA-256 of its bytes, in hex.
        width, height: Its size in pixels, as displayed.
        frame_count: 1 unless it is animated.
        filename: The name of the uploaded file, without folders, or None; also where it is
            encrypted, and its key was not here when the reader came to it, until its bytes are
            read.
        profile: The profile of the upload.
        source: The camera or device that it is from, as its upload said; empty if it said none.
    """

    def __init__(self, view: View, listed: CatalogImage, found: StoredImage | GatewayError) -> None:
        info = listed.info
        self._view = view
        self._found = found
        self._info = info
        self.id = listed.id
        self.former_ids = listed.former_ids
        self.sequence = listed.sequence
        self.created_at = datetime.fromtimestamp(listed.created_at_ms / 1000, UTC)
        self.owner = info.owner
        self.visibility = None if info.visibility is None else str(info.visibility)
        self.content_type = info.content_type
        self.content_length = info.content_length
        self.digest = info.digest
        self.width, self.height = info.width, info.height
        self.frame_count = info.frame_count
        self.filename = info.filename
        self.profile = info.profile
        self.source = info.source

    def __repr__(self) -> str:
        return f"<Image {self.id} {self.content_type} {self.width}x{self.height}>"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that is known of it, for JSON."""
        known = self._info.as_dict() | {"metadata_removed": list(self._info.metadata_removed)}
        place = {
            "id": self.id,
            "former_ids": list(self.former_ids),
            "sequence": self.sequence,
            "created_at": self.created_at.isoformat(),
        }
        return place | known | {"visibility": self.visibility}

    async def chunks(self) -> AsyncGenerator[builtins.bytes, None]:
        """Yield its bytes in pieces, as they are read; none of them is kept.

        Raises:
            DigestMismatchError: At the end: what came before is not the image.
            ImageGoneError: It was deleted, or left the log, just now.
            KeyUnavailableError: It is encrypted, and its key is not here.
            RecordDamagedError: A record of it is damaged on every replica, or not as it was
                encrypted.
            LogUnavailableError: The log does not answer now.
        """
        if isinstance(self._found, GatewayError):
            raise self._found
        found = await self._view.unlocked(self._found)
        if found.seal is not None:
            # It may have been listed without its name, before its key came.
            self.filename = found.info.filename
            self._info = replace(self._info, filename=self.filename)
        digest = hashlib.sha256()
        async with aclosing(await self._view.bytes_of(found)) as pieces:
            async for piece in pieces:
                digest.update(piece)
                yield piece
        if digest.hexdigest() != self.digest:
            raise DigestMismatchError(f"The bytes of {self.id} are not those of its digest.")

    async def bytes(self) -> builtins.bytes:
        """Return its bytes, whole, as a gateway serves them.

        Raises:
            GatewayError: As `chunks`.
        """
        return b"".join([piece async for piece in self.chunks()])

    async def open(self) -> PillowImage.Image:
        """Return it as an image of Pillow, which decodes it when its pixels are needed.

        Raises:
            GatewayError: As `chunks`.
            ConfigurationError: Pillow, or `pillow-heif` for HEIC, is not installed.
        """
        try:
            from PIL import Image as Pillow  # noqa: PLC0415 - loaded by those who use it

            if self.content_type == ImageFormat.HEIC.content_type:
                from pillow_heif import register_heif_opener  # noqa: PLC0415

                register_heif_opener()
        except ImportError as error:
            raise ConfigurationError(f"{error.name} is not installed.") from error
        return Pillow.open(io.BytesIO(await self.bytes()))
