"""Times in options: a moment, or how long ago it was."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SEQUENCE = re.compile(r"[0-9]{1,15}")
# For the help of options.
FORM = "2026-11-26T10:00:00Z, 2026-11-26 (UTC), or 90s, 15m, 2h, 7d, 4w ago"


def moment(text: str) -> datetime:
    """Return the time in an option; one without a zone is of UTC."""
    try:
        if found := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        given = datetime.fromisoformat(text)
        at = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
        # So that it has a place on every clock.
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text[:50]!r} is no time such as {FORM}") from error


def moment_or_sequence(text: str) -> datetime | int:
    """Return the time, or the sequence number, in an option."""
    if _SEQUENCE.fullmatch(text):
        return int(text)
    try:
        return moment(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, and no sequence number") from error
