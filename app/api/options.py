"""What an upload may ask for: how it is compressed, and what becomes of its metadata."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.errors import InvalidParameterError
from app.imaging import extras
from app.imaging.metadata import MetadataOption
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from app.settings import ImagingSettings

# Named in an Accept field, and not with a weight of zero (RFC 9110, 12.5.1).
_WEBP = re.compile(r"image/webp\s*(?:$|,|;(?!\s*q=0(?:\.0*)?\s*(?:,|$)))")


class Options:
    """The options that a client may name, in the query or as fields of the form, which win."""

    def __init__(self, imaging: ImagingSettings, accept: str) -> None:
        self._imaging = imaging
        self._accepts_webp = _WEBP.search(accept) is not None
        self._values = {
            "profile": imaging.profiles.split(","),
            "metadata": imaging.metadata.split(","),
        }
        self._chosen = {"profile": imaging.profile, "metadata": self._values["metadata"][0]}

    def take(self, name: str, value: str) -> None:
        """Note an option; other names are nobody's business.

        Raises:
            InvalidParameterError: It does not take this value here.
        """
        if name not in self._values:
            return
        if value not in self._values[name]:
            raise InvalidParameterError(
                f"{name}: {value[:50]!r} is not taken; it can be {' or '.join(self._values[name])}."
            )
        if value == Profile.ARCHIVE and not extras.is_installed("archive"):
            raise InvalidParameterError(
                "profile: 'archive' is not taken here: the extra archive is not installed."
            )
        self._chosen[name] = value

    def recipe(self) -> Recipe:
        """Return what is to be made of the upload."""
        return Recipe(
            Profile(self._chosen["profile"]),
            MetadataOption(self._chosen["metadata"]),
            webp=self._accepts_webp,
            avif=self._imaging.avif,
            measure=self._imaging.measure_quality,
        )
