"""JSON from the log, which other programs may have written.

Hides what parsers allow beyond RFC 8259, and refuses it: NaN and infinities, which are no numbers
there, and a member that is there twice (section 4), of which two readers may see two values.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pydantic import ValidationError


def parse_object(data: bytes, max_bytes: int) -> dict[str, object]:
    """Return the members of a JSON object in UTF-8.

    Raises:
        ValueError: This is none, or longer than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    try:
        parsed = json.loads(
            data.decode(), object_pairs_hook=_once, parse_float=_finite, parse_constant=_refuse
        )
    except RecursionError as error:
        raise ValueError("too many levels") from error
    if not isinstance(parsed, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - as of all that is malformed
    return parsed


def first_problem(error: ValidationError) -> str:
    """Return the place and the kind of a model's first problem, without quoting the input."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is out of range")
    return number


def _refuse(_: str) -> NoReturn:
    raise ValueError("NaN and infinities are no numbers in JSON")
