"""The progress of a command on a terminal; elsewhere there is none.

Hides the library that draws it, which is loaded on a terminal only, and may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Shows how much of how much is done, and says something about it.
Show = Callable[[int, int, str], None]


@contextmanager
def shown() -> Iterator[Show]:
    """Provide what shows progress on standard error."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    try:
        from rich.console import Console  # noqa: PLC0415 - on a terminal only
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield _nothing
        return
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, text: str) -> None:
            progress.update(task, completed=done, total=total, description=text)

        yield show


def _nothing(_done: int, _total: int, _text: str) -> None:
    pass
