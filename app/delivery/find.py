"""Images found by their address.

Hides that no index stands between an id and its record: the id is decoded, the record is read, and
its key must show the cookie of the id. Only for an image that was moved here from another log the
catalog knows which id it has now. And it hides what is told to those who may not read an image:
neither whether there is one, nor that it is deleted.

Where this gateway has keys, an image must also be announced by an event: a signature cannot hold
the record's offset, and a copy of a signed head, at another offset, has another id. So must one
that is sealed, for the same reason, and one that was uploaded by a link, which may have been used
up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from app.access.principal import ANONYMOUS
from app.access.scopes import Scope
from app.delivery.retained import Retained
from app.delivery.stored_image import StoredImage
from app.delivery.unfit import UnfitRecords
from app.errors import (
    CredentialRequiredError,
    ImageGoneError,
    ImageNotFoundError,
    InsufficientScopeError,
    KeyUnavailableError,
    RecordDamagedError,
    RecordGoneError,
    RecordMissingError,
)
from app.events.trust import Trust
from app.records import address
from app.records.image import Head, UnfitRecordError
from app.records.image_keys import ImageKeys
from app.sealing.envelope import BrokenSealError

if TYPE_CHECKING:
    from app.access.principal import Principal
    from app.access.read_rule import ReadRule
    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage, Ownership
    from app.delivery.cache import RecordCache
    from app.feed.expiry import Expiry
    from app.feed.feed import Feed
    from app.imaging.info import Visibility
    from app.log import ReadableLog, StoredRecord
    from app.records.address import Address

# Whether an image of this owner and visibility is told of.
_May = Callable[[str, "Visibility | None"], bool]


class Finder:
    """Finds images in `log` that `trust` accepts, and describes them from `catalog`.

    `rule` says who may read them, and `keys` open those that are sealed.
    """

    def __init__(
        self,
        log: ReadableLog,
        cache: RecordCache,
        catalog: Catalog,
        feed: Feed,
        expiry: Expiry,
        rule: ReadRule,
        trust: Trust | None = None,
        keys: ImageKeys | None = None,
    ) -> None:
        self._cache = cache
        self._catalog = catalog
        self._feed = feed
        self._expiry = expiry
        self._retained = Retained(log, expiry)
        self._rule = rule
        self._trust = trust or Trust()
        self._keys = keys or ImageKeys(log)
        self._unfit = UnfitRecords()

    async def find(self, image_id: str, reader: Principal) -> StoredImage:
        """Find an image that `reader` may read, and unlock it.

        Raises:
            ImageNotFoundError: There is none with this id that it may know of.
            CredentialRequiredError, InsufficientScopeError: As well, for a reader who may read
                public images alone.
            ImageGoneError: It was deleted, or a part of it has left the log.
            LogUnavailableError, NotReadyError: The gateway cannot tell now.
            KeyUnavailableError, RecordDamagedError: As `unlocked`.
        """
        try:
            image = await self._find(image_id, reader, self._may_read(image_id, reader))
        except ImageNotFoundError as error:
            if reader is ANONYMOUS:
                raise CredentialRequiredError from error
            if not reader.may(Scope.READ):
                raise InsufficientScopeError(Scope.READ) from error
            raise
        return await self.unlocked(image)

    async def unlocked(self, image: StoredImage) -> StoredImage:
        """Return an image with what is sealed in its head, and the seal of its parts.

        Raises:
            KeyUnavailableError: Its key cannot be had now.
            ImageGoneError: Its key was erased.
            RecordDamagedError: The head is not the one that was sealed.
        """
        sealing = image.head.sealing
        if sealing is None or image.seal is not None:
            return image
        listed = await self._catalog.seal_of(image.image_id)
        # It may have been wrapped again since.
        key = await self._keys.unwrap(listed.key if listed and listed.key else sealing.key)
        if listed is not None and listed.is_locked:
            # Opening it is a matter of time: the key is there.
            error = KeyUnavailableError("The image's event could not be opened yet.")
            error.is_away = True
            raise error
        try:
            filename = sealing.open_fields(key).filename
        except (BrokenSealError, ValueError) as error:
            raise self.broken(image.address) from error
        head = replace(image.head, info=replace(image.info, filename=filename))
        return replace(image, head=head, seal=head.seal(key))

    async def find_own(self, image_id: str, owner: Principal) -> StoredImage:
        """Find an image of `owner`, for which no key is needed; see `find`.

        Raises:
            GatewayError: As `find`.
        """
        return await self._find(image_id, owner, lambda whose, _: owner.owns(whose))

    async def describe(self, image_id: str, owner: Principal) -> CatalogImage:
        """Return the catalog's entry of an image of `owner`.

        Raises:
            GatewayError: As `find`.
        """
        found = await self.find_own(image_id, owner)
        if (image := await self._catalog.image(found.image_id)) is None:
            # Another replica may have acknowledged it just now.
            await self._feed.caught_up()
            image = await self._catalog.image(found.image_id)
        if image is None:
            raise ImageNotFoundError
        return image

    async def _find(self, image_id: str, reader: Principal, may: _May) -> StoredImage:
        """Find an image whose owner and visibility `may` accepts, for `reader`.

        One that it does not accept is looked for as an unknown one is: nothing tells them apart.
        """
        if not self._feed.is_stopped:
            self._feed.require_caught_up()
        # Before the catalog is asked: an id that is none is not looked for.
        address.parse(image_id)
        id_now, known, is_own = await self._known(image_id, may)
        tells_gone = is_own or may("", None)
        if not (tells_gone or reader.may(Scope.READ)):
            # Strangers do not make the gateway read records. The catalog has every public image,
            # once it has what another replica may have acknowledged just now.
            if known is None:
                await self._feed.caught_up()
                id_now, known, is_own = await self._known(image_id, may)
            if not is_own:
                raise ImageNotFoundError(is_foreign=known is not None)
            tells_gone = True
        where = address.parse(id_now)
        is_cached = self._cache.holds(where.position)
        record = await self._read(where, tells_gone=tells_gone, is_known=known is not None)
        try:
            head = self._cache.head(record)
            self._trust.check_head(record, head)
            if not (is_own or known is None) or not may(head.info.owner, head.info.visibility):
                raise ImageNotFoundError(is_foreign=True)
            if head.info.is_expired(time.time()):
                raise ImageGoneError("The image has expired.")
            was_asked = await self._require_retained(where, head, is_cached=is_cached)
            await self._require_announced(id_now, head)
        except UnfitRecordError as error:
            raise self.unfit(where, error) from error
        is_public = self._rule.is_public(head.info.visibility)
        return StoredImage(where, record, head, is_public, was_asked=was_asked)

    def _may_read(self, image_id: str, reader: Principal) -> _May:
        if reader.grant is not None and reader.grant.image_id == image_id:
            # Who made the link could read it.
            return lambda _owner, _visibility: True
        return partial(self._rule.allows, reader)

    async def _known(self, image_id: str, may: _May) -> tuple[str, Ownership | None, bool]:
        """Return what the catalog knows of an image, and whether that is one that `may` accepts.

        First comes the id that it has in this log, the given one if the catalog knows no other.

        Raises:
            ImageGoneError: It is such a one, and deleted.
            NotReadyError: The catalog cannot tell now.
        """
        found = await self._catalog.known(image_id)
        known = found.ownership
        is_own = known is not None and may(known.owner, known.visibility)
        if known is not None and known.is_deleted and is_own:
            raise ImageGoneError("The image was deleted.")
        # Again: the catalog that answered may be an empty one, which has just replaced another.
        self._feed.require_listed(is_own)
        return found.image_id, known, is_own

    async def _read(self, where: Address, *, tells_gone: bool, is_known: bool) -> StoredRecord:
        """Read the head of an image; where it is gone, say so if `tells_gone` allows it.

        Of a record that was erased, nobody knows the cookie any more: only the catalog knows whose
        id was a real one.
        """
        try:
            record = await self._cache.read(
                where.position, lambda remembered: where.opens(remembered.key)
            )
        except RecordMissingError as error:
            raise ImageNotFoundError from error
        except RecordGoneError as error:
            if tells_gone and (is_known or not error.is_erased):
                raise self.gone() from error
            raise ImageNotFoundError from error
        if not where.opens(record.key):
            raise ImageNotFoundError
        return record

    def gone(self) -> ImageGoneError:
        """Return the error for an image that has left the log; it may still be listed."""
        self._expiry.ask()
        return ImageGoneError("The image is no longer in the log.")

    async def require_retained(self, image: StoredImage) -> None:
        """Check that the log has all chunks of an image that was found, if it was not asked then.

        Raises:
            ImageGoneError: It does not.
            UnfitRecordError, LogUnavailableError: As `Retained.now`.
        """
        if not (image.was_asked or await self._retained.now(image.head)):
            raise self.gone()

    async def _require_retained(self, where: Address, head: Head, *, is_cached: bool) -> bool:
        """Check that no part of an image left the log; tell whether the log was asked for that."""
        is_whole = self._retained.lately(where.position, head) if is_cached else None
        was_asked = is_whole is None
        if is_whole is None:
            is_whole = await self._retained.now(head)
        if not is_whole:
            raise self.gone()
        return was_asked

    def unfit(self, where: Address, reason: UnfitRecordError) -> ImageNotFoundError:
        """Return the error for an id that leads to records of another program; report it once."""
        self._unfit.report(where.position, str(reason))
        return ImageNotFoundError()

    def broken(self, where: Address) -> RecordDamagedError:
        """Return the error for an image that is not as it was sealed; report it once."""
        self._unfit.report_broken(where.position)
        return RecordDamagedError(
            "The stored image is not the one that was encrypted.", where.position.offset
        )

    async def _require_announced(self, image_id: str, head: Head) -> None:
        """Check that the catalog has the event of an image, where the head alone says too little.

        That is where there are keys, where it is sealed, and where it has a claim, which may not
        count.
        """
        is_needed = self._trust.signatures or head.sealing or head.claim
        if not is_needed or await self._is_announced(image_id, head):
            return
        # Another replica may have acknowledged it just now, or deleted it.
        await self._feed.caught_up()
        if await self._catalog.is_deleted(image_id):
            raise ImageGoneError("The image was deleted.")
        if await self._is_announced(image_id, head):
            return
        if head.claim is not None:
            raise ImageNotFoundError
        raise UnfitRecordError("no event announces an image there")

    async def _is_announced(self, image_id: str, head: Head) -> bool:
        if head.sealing is not None:
            return await self._catalog.seal_of(image_id) is not None
        known = await self._catalog.known(image_id)
        if known.image_id != image_id:
            return await self._catalog.is_listed(image_id)
        return known.ownership is not None and not known.ownership.is_deleted
