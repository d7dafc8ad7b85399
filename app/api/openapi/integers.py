"""Formats of the integers in the document.

Typed languages take an integer without one for 32 bits, which a sequence or a size outgrows.
"""

from __future__ import annotations

from typing import Any

_INT32_MAX = 2**31 - 1
_BOUNDS = ("minimum", "maximum")


def give_formats(node: object) -> None:
    """Give every integer schema in a part of the document its format, and whole bounds.

    It is `int32` where a bound says that 32 bits are enough, otherwise `int64`.
    """
    if isinstance(node, dict):
        if node.get("type") == "integer":
            _give_format(node)
        for inner in node.values():
            give_formats(inner)
    elif isinstance(node, list):
        for inner in node:
            give_formats(inner)


def _give_format(schema: dict[str, Any]) -> None:
    # FastAPI has bounds as floating-point numbers.
    schema.update({name: int(schema[name]) for name in _BOUNDS if name in schema})
    is_small = schema.get("maximum", _INT32_MAX + 1) <= _INT32_MAX
    schema.setdefault("format", "int32" if is_small else "int64")
