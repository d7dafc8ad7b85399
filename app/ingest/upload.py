"""An upload: the client that sends it, the contents, and the stored image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection

    from app.budget import Reservation
    from app.catalog.images import CatalogImage
    from app.imaging.formats import ImageFormat
    from app.imaging.info import ImageInfo, Visibility
    from app.imaging.profiles import Recipe
    from app.records.claim import Claim


@dataclass(frozen=True, slots=True)
class Upload:
    """The bytes that a client sent, the file name that it gave, cleaned, and its options.

    `visibility` is None where the server's rule is to say who may read the image, `expires_in`
    where it is kept for ever; otherwise that is in seconds from when it is stored. `source` is the
    camera or device, empty if it has none. With `dedupe` it is not stored if it was uploaded
    before. `options` are those that the client named, as it wrote them.
    """

    data: bytes
    filename: str | None
    recipe: Recipe
    visibility: Visibility | None = None
    expires_in: int | None = None
    source: str = ""
    dedupe: bool = False
    options: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """A client that is about to send an upload."""

    @property
    def client(self) -> str:
        """The client, as `app.client` names it."""
        ...

    @property
    def owner(self) -> str:
        """The principal that will own the image; empty without authentication."""
        ...

    @property
    def max_bytes(self) -> int:
        """The most that it may send: the length that it announced, or the limit."""
        ...

    @property
    def formats(self) -> Collection[ImageFormat]:
        """The formats that it may send."""
        ...

    @property
    def claim(self) -> Claim | None:
        """The use of the link by which it sends; None without a link."""
        ...

    @property
    def token(self) -> str | None:
        """The token of its idempotency key (`app.events.idempotency`); None without a key."""
        ...

    async def receive(self, reservation: Reservation) -> Upload:
        """Receive the upload; the reservation grows with it."""
        ...

    async def left(self) -> NoReturn:
        """Wait until the client has left, and raise an error that says so.

        It is called once everything is received.
        """
        ...


class BatchImage(Source, Protocol):
    """An image of a batch that may come; it does not watch whether the client leaves."""

    @property
    def received(self) -> asyncio.Future[int]:
        """Done when all of it has come, with its bytes."""
        ...

    @property
    def exists(self) -> bool:
        """Whether its part has begun. After the last one there is none."""
        ...


class BatchSource(Protocol):
    """A client that is about to send a batch, to be received image by image."""

    @property
    def client(self) -> str:
        """See `Source.client`."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether any of it was read."""
        ...

    @property
    def broken(self) -> Exception | None:
        """The reason why nothing more can be received, if it is not that all of it came."""
        ...

    def may_have_more(self) -> bool:
        """Tell whether another image may come, as far as is known without reading on."""
        ...

    def next(self) -> BatchImage:
        """Return the next image; the one before it was received or passed over."""
        ...

    async def pass_over(self, image: BatchImage) -> None:
        """Read the rest of an image that is refused, and keep none of it; see `broken`."""
        ...

    async def finish(self) -> None:
        """Read the rest of the body, and keep none of it; see `broken`."""
        ...

    async def left(self) -> NoReturn:
        """See `Source.left`."""
        ...


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload that is stored. `listed` is None if the catalog does not have the image yet.

    It is not new if the same upload was there before: then that is the image. It is replayed if its
    idempotency key has stored the image before.
    """

    image_id: str
    info: ImageInfo
    listed: CatalogImage | None
    is_new: bool = True
    is_replayed: bool = False
