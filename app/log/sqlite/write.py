"""A write: a change to the database on its way through the writer."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from app.errors import NotWrittenError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class Write(Generic[Result]):
    """A change to make within the next transaction.

    `apply` is called in the writer's thread, and once more if the transaction had to be repeated.
    With `scrubs`, `done` is resolved only when the bytes have left the write-ahead log, too.
    """

    apply: Callable[[sqlite3.Connection], Result]
    size_bytes: int = 0
    scrubs: bool = False
    done: Future[Result] = field(default_factory=Future)

    def refuse(self) -> None:
        """Resolve `done` with the error of a log that has stopped."""
        self.done.set_exception(NotWrittenError("The log stopped before it wrote this."))
