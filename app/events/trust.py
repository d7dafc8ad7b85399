"""Which records are a gateway's own, and which a stranger's.

Hides the rule for records without a signature. Where this gateway has keys, a record with a
signature that none of them made is a stranger's, and so is one without any behind the place where
signing began. That place is a fact of the log, `SigningBegan`: the first one counts, as a later
copy would let strangers' records in between. Without keys, signatures mean nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from app.events.event import PoisonEventError
from app.log import EVENTS, IMAGES
from app.records.image import UnfitRecordError
from app.records.signature import NO_SIGNATURES, Signatures, Verdict

if TYPE_CHECKING:
    from app.events.event import SigningBegan
    from app.log import Position, StoredRecord
    from app.records.image import Head

_WRONG = "the signature is by none of our keys, or of another record"


@dataclass(frozen=True, slots=True)
class SigningStart:
    """The place where signing began.

    `sequence` is the offset of the event that says so, and `ends` are the offsets in `images`, by
    partition; a partition that is missing there was added later.
    """

    sequence: int
    ends: tuple[int, ...]

    def is_before(self, position: Position) -> bool:
        """Tell whether a record of `images` was stored before signing began."""
        return position.partition < len(self.ends) and (
            position.offset < self.ends[position.partition]
        )


class Trust:
    """Judges records by `signatures`, and by the place where signing began.

    Attributes:
        signatures: The keys of this gateway, perhaps none.
        start: Where signing began, as far as the events were read; None if it has not.
        lacks_keys: Whether an event says that signing began, and there are no keys to heed it.
    """

    def __init__(self, signatures: Signatures = NO_SIGNATURES) -> None:
        self.signatures = signatures
        self.start: SigningStart | None = None
        self.lacks_keys = False
        # A head is hashed once, however often it is served from memory.
        self._heads: WeakKeyDictionary[StoredRecord, Verdict] = WeakKeyDictionary()

    def signed(self, event: StoredRecord) -> bool:
        """Tell whether a record of `image-events` is signed.

        Raises:
            PoisonEventError: It is a stranger's.
        """
        if not self.signatures:
            return False
        verdict = self.signatures.verdict(EVENTS, event)
        if verdict is Verdict.WRONG:
            raise PoisonEventError(_WRONG)
        started = self.start is not None and event.position.offset > self.start.sequence
        if verdict is Verdict.UNSIGNED and started:
            raise PoisonEventError("there is no signature, and signing began before")
        return verdict is Verdict.SIGNED

    def begin(self, sequence: int, event: SigningBegan, *, signed: bool) -> None:
        """Note where signing began, unless that is known.

        Raises:
            PoisonEventError: Nobody who has a key says so.
        """
        if not self.signatures:
            self.lacks_keys = True
            return
        if not signed:
            raise PoisonEventError("that signing began is not signed")
        self.start = self.start or SigningStart(sequence, event.ends)

    def check_head(self, record: StoredRecord, head: Head) -> None:
        """Check that a head is a gateway's.

        Raises:
            UnfitRecordError: It is a stranger's.
        """
        if not self.signatures:
            return
        if (verdict := self._heads.get(record)) is None:
            verdict = self._heads[record] = self.signatures.verdict(IMAGES, record)
        if verdict is Verdict.WRONG:
            raise UnfitRecordError(_WRONG)
        # An unsigned head must not name records that strangers could have written since, either.
        if verdict is Verdict.UNSIGNED and self.start is not None:
            for position in (record.position, *head.chunks):
                if not self.start.is_before(position):
                    raise UnfitRecordError("there is no signature, and signing began before")
