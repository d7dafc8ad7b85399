"""The options of an upload: its compression profile, and which metadata stays."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import InvalidParameterError
from app.imaging import extras
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

    from app.imaging.settings import ImagingSettings

# Named in an Accept field, and not with a weight of zero (RFC 9110, 12.5.1).
_WEBP = re.compile(r"image/webp\s*(?:$|,|;(?!\s*q=0(?:\.0*)?\s*(?:,|$)))")


class Options:
    """The options of one upload, from the query and from the form, whose fields win."""

    def __init__(self, imaging: ImagingSettings, accept: str) -> None:
        self._is_fixed = False
        self._allowed: Mapping[str, tuple[StrEnum, ...]] = {
            "profile": imaging.profiles,
            "metadata": imaging.metadata,
        }
        self.recipe = Recipe(
            imaging.profile,
            imaging.metadata[0],
            webp=_WEBP.search(accept) is not None,
            avif=imaging.avif,
            measure=imaging.measure_quality,
        )

    def fix(self) -> None:
        """Allow no other choice from here on: a link has signed these options, and the defaults."""
        self._is_fixed = True

    def choose(self, name: str, value: str) -> None:
        """Apply an option to the recipe; any other name is ignored.

        Raises:
            InvalidParameterError: The value is not allowed here.
        """
        allowed = self._allowed.get(name)
        if allowed is None:
            return
        if self._is_fixed and value != getattr(self.recipe, name):
            raise InvalidParameterError(
                f"{name}: the link is for {getattr(self.recipe, name).value!r} alone."
            )
        if value not in allowed:
            raise InvalidParameterError(
                f"{name}: {value[:50]!r} is not allowed here; allowed: {', '.join(allowed)}."
            )
        if value == Profile.ARCHIVE and not extras.is_installed("archive"):
            raise InvalidParameterError(
                "profile: 'archive' is not allowed here: the extra archive is not installed."
            )
        chosen: Any = {name: allowed[allowed.index(value)]}
        self.recipe = replace(self.recipe, **chosen)
