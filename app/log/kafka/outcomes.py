"""The outcomes of records that were handed to aiokafka.

Hides what the state of a future proves: once there is one, the record may be in the log, whatever
the error. The error is that of the last attempt alone, and an earlier attempt may have succeeded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import BrokerResponseError

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import Position

if TYPE_CHECKING:
    from app.errors import GatewayError


def positions(futures: list[asyncio.Future[Any] | None]) -> list[Position]:
    """Return the positions if every record was acknowledged.

    Args:
        futures: The result of `Lane.send` for each record, in order; None where it was refused.

    Raises:
        NotWrittenError: No record was handed over.
        OutcomeUnknownError: At least one was handed over, and is not acknowledged.
    """
    outcomes = [_outcome(future) for future in futures]
    acknowledged = [outcome for outcome in outcomes if isinstance(outcome, Position)]
    if len(acknowledged) == len(outcomes):
        return acknowledged
    if all(isinstance(outcome, NotWrittenError) for outcome in outcomes):
        raise NotWrittenError("Kafka did not accept the records.")
    pending = [future for future in futures if future is not None and not future.done()]
    if pending:
        raise OutcomeUnknownError(
            "Kafka did not acknowledge the records in time.", outcomes, _all_done(pending)
        )
    causes = (each.__cause__ for each in outcomes if not isinstance(each, Position))
    cause = next(filter(None, causes), None)
    raise OutcomeUnknownError("Kafka reported an error for the records.", outcomes) from cause


def is_acknowledged(future: asyncio.Future[Any]) -> bool:
    """Tell whether the record is in the log for certain."""
    return future.done() and future.exception() is None


def is_stuck(future: asyncio.Future[Any]) -> bool:
    """Tell whether the connection may be the reason why a record was not acknowledged.

    A broker that refuses a record for good (too large, not allowed) works as it should.
    """
    if is_acknowledged(future):
        return False
    error = future.exception() if future.done() else None
    return not (isinstance(error, BrokerResponseError) and not error.retriable)


def _outcome(future: asyncio.Future[Any] | None) -> Position | GatewayError:
    if future is None:
        return NotWrittenError("Kafka did not accept the record.")
    if not future.done():
        return OutcomeUnknownError("Kafka did not acknowledge the record in time.")
    if (error := future.exception()) is not None:
        unknown = OutcomeUnknownError("Kafka reported an error for the record.")
        unknown.__cause__ = error
        return unknown
    return Position(future.result().partition, future.result().offset)


def _all_done(pending: list[asyncio.Future[Any]]) -> asyncio.Future[None] | None:
    if not pending:
        return None

    async def wait() -> None:
        await asyncio.wait(pending)

    return asyncio.ensure_future(wait())
