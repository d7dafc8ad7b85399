"""Who may read an image, and what an upload may choose.

Hides the server's rule: it is for images without a visibility of their own, and by default it
depends on whether clients need a credential at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.access.scopes import Scope
from app.imaging.info import Visibility

if TYPE_CHECKING:
    from app.access.access import Access
    from app.access.principal import Principal
    from app.access.settings import AccessSettings


class ReadRule:
    """The rule that `settings` name, or else the one that fits `access`; None where nobody asks."""

    def __init__(self, settings: AccessSettings, access: Access | None) -> None:
        self._settings = settings
        self._access = access

    @property
    def default(self) -> Visibility:
        """The visibility of an image that has none of its own."""
        if self._settings.read is not None:
            return self._settings.read
        is_on = self._access is not None and self._access.is_on
        return Visibility.OWNER if is_on else Visibility.PUBLIC

    @property
    def choices(self) -> tuple[Visibility, ...]:
        """What an upload may choose; the default always."""
        allowed = {self.default, *self._settings.visibilities}
        return tuple(each for each in Visibility if each in allowed)

    def is_public(self, visibility: Visibility | None) -> bool:
        """Tell whether an image of this visibility needs no credential."""
        return (visibility or self.default) is Visibility.PUBLIC

    def allows(self, reader: Principal, owner: str, visibility: Visibility | None) -> bool:
        """Tell whether `reader` may read an image of this owner and visibility."""
        if self.is_public(visibility):
            return True
        if not reader.may(Scope.READ):
            return False
        return (visibility or self.default) is Visibility.AUTHENTICATED or reader.owns(owner)

    def for_upload(self, chosen: Visibility | None) -> Visibility | None:
        """Return the visibility to store with an image whose upload chose this, or nothing.

        A default that is not public is stored: the image stays closed to readers that know no
        rule, and where the rule becomes a wider one.
        """
        if chosen is not None or self.default is Visibility.PUBLIC:
            return chosen
        return self.default
