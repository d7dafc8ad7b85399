"""Settings of access: where the keys are, and who may issue tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from app.imaging.info import Visibility
from app.section import SAFE_URL, Section, split_list

KEYS_NAME = "keys.json"
LINK_KEYS_NAME = "link-keys"

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Issuer(BaseModel):
    """Who may issue tokens, and for whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Without `#`, which ends it in the name of a principal.
    issuer: Annotated[str, StringConstraints(pattern=r"^https?://[^\s#]{1,500}$")]
    audience: Text
    # A URL or a file; empty: what OpenID Connect discovery names.
    jwks: Annotated[str, StringConstraints(max_length=1000)] = ""
    algorithms: Annotated[tuple[Literal["RS256", "ES256", "Ed25519"], ...], Field(min_length=1)] = (
        "RS256",
        "ES256",
        "Ed25519",
    )
    # Empty: `scope`, or else `scp`.
    scope_claim: Annotated[str, StringConstraints(max_length=200)] = ""

    @model_validator(mode="after")
    def _check_fetching(self) -> Issuer:
        place = self.jwks or self.issuer
        if place.startswith(("http:", "https:")) and not re.fullmatch(SAFE_URL, place):
            raise ValueError(
                f"should fetch keys by https, as {place} is not on loopback; jwks may be a file"
            )
        return self


class AccessSettings(Section):
    """Who may use the gateway."""

    keys_file: Path | None = Field(
        None,
        description="file of API keys, as `imagegate keys` writes it: where it is set, clients need"
        f" a credential. By default `{KEYS_NAME}` in the data folder",
    )
    link_keys_file: Path | None = Field(
        None,
        description="file of the keys that sign links, NAME:BASE64, one a line: the first signs,"
        f" any verifies. Gateways on one Kafka need the same; by default `{LINK_KEYS_NAME}` in the"
        " data folder, made at the first link",
    )
    issuers: tuple[Issuer, ...] = Field(
        (),
        max_length=20,
        description="issuers of tokens, as a list in JSON: see [Access](access.md#tokens)",
    )

    read: Visibility | None = Field(
        None,
        description="who may read an image whose upload does not say: `public`, `authenticated` or"
        " `owner`; by default `owner` where clients need a credential, else `public`",
    )
    visibilities: tuple[Visibility, ...] = Field(
        tuple(Visibility),
        description="visibilities that an upload may choose, separated by commas; that of"
        " `IMAGEGATE_ACCESS__READ` always",
    )

    @field_validator("visibilities", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        for name in (names := split_list(given)):
            if name not in set(Visibility):
                raise ValueError(f"{name[:50]!r} is not allowed; allowed: {', '.join(Visibility)}")
        return tuple(map(Visibility, names))

    @field_validator("issuers", mode="before")
    @classmethod
    def _parse(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return tuple(json.loads(given)) if given else ()
        except (ValueError, TypeError) as error:
            raise ValueError("should be a list of issuers in JSON") from error

    @field_validator("issuers")
    @classmethod
    def _check_once(cls, issuers: tuple[Issuer, ...]) -> tuple[Issuer, ...]:
        if len({each.issuer for each in issuers}) < len(issuers):
            raise ValueError("should name each issuer once")
        return issuers
