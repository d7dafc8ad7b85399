"""The answers of a worker, validated: nothing else of what it sends is believed.

Hides pydantic, which costs 7 MB in a process, and is loaded in the gateway alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from app.codec.frame import ERRORS, MAX_DETAIL, MAX_TRACE
from app.codec.said import printable
from app.codec.sandbox import Part
from app.errors import GatewayError, UnsupportedFormatError
from app.imaging.formats import ACCEPTED


class ForeignAnswerError(Exception):
    """A worker answered what no worker of ours answers: it may have been taken over."""


class WorkerTraceback(Exception):  # noqa: N818  # a cause to be printed, never raised
    """The place in the worker where an exception was raised."""


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ready(_Head):
    """The worker has loaded its codecs, and is confined by these parts."""

    kind: Literal["ready"]
    in_force: tuple[Part, ...]


class Done(_Head):
    """The job is done; what the properties may be depends on it."""

    kind: Literal["done"]
    properties: dict[str, Any] | None


class Failed(_Head):
    """The job raised an error."""

    kind: Literal["failed"]
    code: Literal[tuple(ERRORS)]  # type: ignore[valid-type]  # the table is the list
    detail: Annotated[str, StringConstraints(min_length=1, max_length=MAX_DETAIL)]
    trace: Annotated[str, StringConstraints(max_length=MAX_TRACE)]

    def error(self) -> GatewayError:
        """Return the error, with its place in the worker as its cause."""
        error_type, detail = ERRORS[self.code], printable(self.detail)
        if error_type is UnsupportedFormatError:
            accept = ", ".join(each.content_type for each in ACCEPTED)
            error: GatewayError = UnsupportedFormatError(detail, accept)
        else:
            error = error_type(detail)
        error.__cause__ = WorkerTraceback(printable(self.trace, keep="\n"))
        return error


_ANSWER: TypeAdapter[Ready | Done | Failed] = TypeAdapter(
    Annotated[Ready | Done | Failed, Field(discriminator="kind")]
)


def parse(head: bytes) -> Ready | Done | Failed:
    """Return an answer.

    Raises:
        ValueError: It is none.
    """
    return _ANSWER.validate_json(head)
