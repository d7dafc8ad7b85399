"""The options of an upload: how it is stored, who may read it and how long, where it is from."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.api.given import is_given
from app.errors import InvalidParameterError
from app.imaging import extras
from app.imaging.info import Visibility
from app.imaging.names import source_of
from app.imaging.profiles import Profile, Recipe
from app.ingest.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.access.read_rule import ReadRule
    from app.imaging.settings import ImagingSettings
    from app.ingest.settings import UploadSettings

# Named in an Accept field, and not with a weight of zero (RFC 9110, 12.5.1).
_ACCEPTED = r"\s*(?:$|,|;(?!\s*q=0(?:\.0*)?\s*(?:,|$)))"
_WEBP = re.compile(rf"image/webp{_ACCEPTED}")
_SECONDS = re.compile(r"[1-9][0-9]{0,11}")
_HEIC = re.compile(rf"image/hei[cf]{_ACCEPTED}")


class Dedupe(StrEnum):
    """Which uploads are not stored again."""

    NONE = "none"
    EXACT = "exact"  # the same upload with the same options, by the same principal


class Options:
    """The options of one upload, from the query and from the form, whose fields win."""

    def __init__(
        self, imaging: ImagingSettings, rule: ReadRule, kept: UploadSettings, accept: str
    ) -> None:
        self._is_fixed = False
        self._named: dict[str, str] = {}
        self._allowed: Mapping[str, tuple[StrEnum, ...]] = {
            "profile": imaging.profiles,
            "metadata": imaging.metadata,
            "visibility": rule.choices,
        }
        self._rule = rule
        self._visibility: Visibility | None = None
        self._longest_seconds = kept.longest_seconds
        self._expires_in = kept.default_expires_in
        self._source = ""
        self._dedupe = Dedupe.NONE
        self.recipe = Recipe(
            imaging.profile,
            imaging.metadata[0],
            webp=_WEBP.search(accept) is not None,
            heic=_HEIC.search(accept) is not None,
            avif=imaging.avif,
            measure=imaging.measure_quality,
        )

    def fix(self) -> None:
        """Allow no other choice from here on: a link has signed these options, and the defaults."""
        self._is_fixed = True

    def choose(self, name: str, value: str) -> None:
        """Apply an option; any other name is ignored, and so is an option that is empty.

        Raises:
            InvalidParameterError: The value is not allowed here.
        """
        if not is_given(value):
            return
        match name:
            case "expires_in":
                self._choose_expiry(value)
            case "source":
                self._choose_source(value)
            case "dedupe":
                self._choose_dedupe(value)
            case _ if name in self._allowed:
                self._choose_among(name, value, self._allowed[name])
            case _:
                return
        # Another dictionary: images of a batch begin with a copy of these options.
        self._named = self._named | {name: value}

    def _choose_among(self, name: str, value: str, allowed: tuple[StrEnum, ...]) -> None:
        if self._is_fixed and value != (current := self._current(name)):
            raise InvalidParameterError(f"{name}: the link is for {current.value!r} alone.")
        if value not in allowed:
            raise InvalidParameterError(
                f"{name}: {value[:50]!r} is not allowed here; allowed: {', '.join(allowed)}."
            )
        if value == Profile.ARCHIVE and not extras.is_installed("archive"):
            raise InvalidParameterError(
                "profile: 'archive' is not allowed here: the extra archive is not installed."
            )
        if name == "visibility":
            self._visibility = Visibility(value)
            return
        chosen: Any = {name: allowed[allowed.index(value)]}
        self.recipe = replace(self.recipe, **chosen)

    def _current(self, name: str) -> StrEnum:
        if name == "visibility":
            return self._visibility or self._rule.default
        current: StrEnum = getattr(self.recipe, name)
        return current

    def _choose_expiry(self, value: str) -> None:
        if not _SECONDS.fullmatch(value) or int(value) > self._longest_seconds:
            raise InvalidParameterError(
                f"expires_in: {value[:50]!r} is not allowed here; allowed: seconds, from 1 to"
                f" {self._longest_seconds}."
            )
        if self._is_fixed and int(value) != self._expires_in:
            raise InvalidParameterError("expires_in: the link is for another.")
        self._expires_in = int(value)

    def _choose_source(self, value: str) -> None:
        try:
            source = source_of(value)
        except ValueError as error:
            raise InvalidParameterError(f"source: {value[:50]!r} {error}.") from error
        if self._is_fixed and source != self._source:
            raise InvalidParameterError("source: the link is for another.")
        self._source = source

    def _choose_dedupe(self, value: str) -> None:
        if value not in list(Dedupe):
            raise InvalidParameterError(
                f"dedupe: {value[:50]!r} is not allowed here; allowed: {', '.join(Dedupe)}."
            )
        # Who has a link need not learn what the owner has stored.
        if self._is_fixed and value != Dedupe.NONE:
            raise InvalidParameterError("dedupe: the link is for none.")
        self._dedupe = Dedupe(value)

    def upload(self, data: bytes, filename: str | None) -> Upload:
        """Return the upload of a file with these options."""
        visibility = self._rule.for_upload(self._visibility)
        named = tuple(sorted(self._named.items()))
        return Upload(
            data,
            filename,
            self.recipe,
            visibility,
            self._expires_in,
            self._source,
            dedupe=self._dedupe is Dedupe.EXACT,
            options=named,
        )
