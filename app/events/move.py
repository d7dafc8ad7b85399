"""The move of an image from another log, as events say it.

Hides how ids and times are written. An image that is moved has another address, so another id; the
ids that it had stay its own, in every log that it comes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from app.errors import ImageNotFoundError
from app.records import address

# One for each log that an image has been in before. 1,056 bytes of an event.
MAX_FORMER_IDS = 32
# RFC 3339 in UTC, to the millisecond, which is the unit of a record's timestamp.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Move:
    """The ids that an image had in other logs, the last one last, and when it was first stored.

    `created_at_ms` is by the clock of the first of these logs, in Unix milliseconds.
    """

    former_ids: tuple[str, ...]
    created_at_ms: int

    def members(self) -> dict[str, object]:
        """Return the members of the event."""
        return {
            "imagegateformerids": write_ids(self.former_ids),
            "imagegatecreatedat": write_time(self.created_at_ms),
        }


def write_ids(ids: tuple[str, ...]) -> str:
    """Return ids as a member."""
    return ",".join(ids)


def parse_ids(member: str, subject: str) -> tuple[str, ...]:
    """Return the former ids of the image `subject`; none if the member is empty.

    Raises:
        ValueError: They are no ids, too many, or not distinct.
    """
    ids = tuple(member.split(",")) if member else ()
    try:
        for each in ids:
            address.parse(each)
    except ImageNotFoundError as error:
        raise ValueError("imagegateformerids: not an image id") from error
    if len(ids) > MAX_FORMER_IDS or len({subject, *ids}) <= len(ids):
        raise ValueError("imagegateformerids: too many, or one of them twice")
    return ids


def write_time(at_ms: int) -> str:
    """Return a time in Unix milliseconds as RFC 3339 writes it, in UTC."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(member: str) -> int:
    """Return a time that `write_time` has written, in Unix milliseconds.

    Raises:
        ValueError: It has not, or the time is before 1970.
    """
    if not _TIME.fullmatch(member):
        raise ValueError("imagegatecreatedat: not a time in UTC to the millisecond")
    since = datetime.fromisoformat(member) - _EPOCH
    if since.days < 0:
        raise ValueError("imagegatecreatedat: before 1970")
    return round(since.total_seconds() * 1000)
