"""Parameters that a client may send empty, which is as good as not at all.

HTML forms send every field, and some generated clients every option. An `EventSource` that has seen
no event may send an empty `Last-Event-ID`.
"""

from __future__ import annotations

from pydantic import BeforeValidator


def is_given(value: str) -> bool:
    """Tell whether a parameter says anything."""
    return bool(value.strip())


def or_default(default: object = None) -> BeforeValidator:
    """Return the step of validation that takes an empty parameter for its default.

    It stands after the parameter's bounds, which would not apply to None otherwise.
    """

    def replaced(value: object) -> object:
        return default if isinstance(value, str) and not is_given(value) else value

    return BeforeValidator(replaced)
